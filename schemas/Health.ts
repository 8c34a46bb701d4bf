/**
 * How models and providers are, and what went wrong with them.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

/** @category schemas @since 0.1.0 */
export const HealthState = Schema.Literals(["healthy", "degraded", "down"])
export type HealthState = typeof HealthState.Type

/** By failures in a row: 10, 5, 3, fewer. @category schemas @since 0.1.0 */
export const Severity = Schema.Literals(["critical", "high", "medium", "low"])
export type Severity = typeof Severity.Type

/** A time in which a model failed at a provider; open while `resolved_at` is null. Times are ISO-8601 in UTC. @category schemas @since 0.1.0 */
export const Incident = Schema.Struct({
  id: Schema.String,
  provider: Schema.String,
  model: Schema.String,
  /** The worst that it came to. */
  severity: Severity,
  status: Schema.Literals(["open", "resolved"]),
  /** Failures in a row, the most that were counted. */
  failures: Schema.Number,
  /** How the latest call failed. */
  error: Schema.NullOr(Schema.String),
  opened_at: Schema.String,
  updated_at: Schema.String,
  resolved_at: Schema.NullOr(Schema.String),
  /** `no_news`: nobody asked the model for a day. */
  resolution: Schema.NullOr(Schema.Literals(["recovered", "no_news"]))
}).annotate({ identifier: "Incident" })
export type Incident = typeof Incident.Type
