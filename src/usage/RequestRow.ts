/**
 * One request as it is written down and as the API shows it.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as Money from "../../schemas/Money.ts"

/** How a request may end. @category schemas @since 0.1.0 */
export const RequestOutcome = Schema.Literals(["ok", "cached", "cancelled", "rejected", "refunded", "lost"])

const Attempt = Schema.Struct({
  provider: Schema.String,
  model: Schema.String,
  status: Schema.NullOr(Schema.Number),
  error: Schema.NullOr(Schema.String),
  latency_ms: Schema.Number
})

/** What is known of some requests only; kept as one value. @category schemas @since 0.1.0 */
export const RequestDetails = Schema.Struct({
  /** What a router decided, and why; null where the caller named the model. */
  routing: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)),
  /** What guardrails found, where they found something. */
  guardrails: Schema.optionalKey(Schema.Array(Schema.String))
})
export type RequestDetails = typeof RequestDetails.Type

/** A request as the API shows it. Amounts are decimal strings in USD, times milliseconds and ISO-8601. @category schemas @since 0.1.0 */
export const RequestRow = Schema.Struct({
  id: Schema.String,
  client_request_id: Schema.NullOr(Schema.String),
  key_id: Schema.String,
  requested_model: Schema.String,
  model: Schema.NullOr(Schema.String),
  provider: Schema.NullOr(Schema.String),
  attempts: Schema.Array(Attempt),
  tokens: Schema.Struct({
    input: Schema.Number,
    cached_read: Schema.Number,
    cache_write: Schema.Number,
    output: Schema.Number,
    reasoning: Schema.Number
  }),
  usage_source: Schema.Literals(["provider", "estimated"]),
  cost_usd: Schema.String,
  latency_ms: Schema.Number,
  time_to_first_chunk_ms: Schema.NullOr(Schema.Number),
  status: Schema.Number,
  outcome: RequestOutcome,
  ...RequestDetails.fields,
  stream: Schema.Boolean,
  created_at: Schema.String
}).annotate({ identifier: "Request" })
export type RequestRow = typeof RequestRow.Type

/** A request as the database has it. @category schemas @since 0.1.0 */
export const StoredRequest = Schema.Struct({
  id: Schema.String,
  client_request_id: Schema.NullOr(Schema.String),
  key_id: Schema.String,
  requested_model: Schema.String,
  model: Schema.NullOr(Schema.String),
  provider: Schema.NullOr(Schema.String),
  attempts: Schema.fromJsonString(Schema.Array(Attempt)),
  input: Schema.NumberFromString,
  cached_read: Schema.NumberFromString,
  cache_write: Schema.NumberFromString,
  output: Schema.NumberFromString,
  reasoning: Schema.NumberFromString,
  usage_source: RequestRow.fields.usage_source,
  cost: Schema.BigIntFromString,
  latency_ms: Schema.Number,
  first_chunk_ms: Schema.NullOr(Schema.Number),
  status: Schema.Number,
  outcome: RequestOutcome,
  details: Schema.fromJsonString(RequestDetails),
  stream: Schema.Boolean,
  created_at: Schema.String
})

/** What a {@link StoredRequest} is selected by. @category schemas @since 0.1.0 */
export const storedColumns = `r.id, r.client_request_id, r.key_id, r.requested_model, r.model, r.provider, r.attempts,
  r.input::text AS input, r.cached_read::text AS cached_read, r.cache_write::text AS cache_write, r.output::text AS output,
  r.reasoning::text AS reasoning, r.usage_source, r.cost::text AS cost, r.latency_ms, r.first_chunk_ms, r.status, r.outcome, r.details, r.stream,
  to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at`

/** @category conversions @since 0.1.0 */
export const toRow = (stored: typeof StoredRequest.Type): RequestRow => ({
  id: stored.id,
  client_request_id: stored.client_request_id,
  key_id: stored.key_id,
  requested_model: stored.requested_model,
  model: stored.model,
  provider: stored.provider,
  attempts: stored.attempts,
  tokens: {
    input: stored.input,
    cached_read: stored.cached_read,
    cache_write: stored.cache_write,
    output: stored.output,
    reasoning: stored.reasoning
  },
  usage_source: stored.usage_source,
  cost_usd: Money.toUsd(Money.make(stored.cost)),
  latency_ms: stored.latency_ms,
  time_to_first_chunk_ms: stored.first_chunk_ms,
  status: stored.status,
  outcome: stored.outcome,
  ...stored.details,
  stream: stored.stream,
  created_at: stored.created_at
})
