/**
 * Circuit breakers: one actor per provider.
 *
 * @since 0.1.0
 */
import { Context, type Effect } from "effect"

/** @category models @since 0.1.0 */
export interface BreakerState {
  readonly provider: string
  readonly state: "closed" | "open" | "half_open"
  /** Consecutive. */
  readonly failures: number
  /** ISO-8601; null unless open or half open. */
  readonly opened_at: string | null
  /** ISO-8601; null unless open. */
  readonly retry_at: string | null
}

/** Leave to call a provider. Tell the outcome once; a probe's permit must be told something, also when the caller left. @category models @since 0.1.0 */
export interface Permit {
  readonly provider: string
  readonly probe: boolean
  /** `ignored` says nothing about the provider and frees a probe's place. Never waits. */
  readonly tell: (outcome: "success" | "failure" | "ignored") => Effect.Effect<void>
}

/** @category services @since 0.1.0 */
export class Breakers extends Context.Service<
  Breakers,
  {
    /** Null when the circuit is open, or half open with its one probe under way. Never waits. */
    readonly permit: (provider: string) => Effect.Effect<Permit | null>
    readonly states: Effect.Effect<ReadonlyArray<BreakerState>>
    readonly reset: (provider: string) => Effect.Effect<void>
  }
>()("sluice/providers/Breakers") {}
