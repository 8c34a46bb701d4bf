/**
 * Limits of one key: requests a minute, and requests in flight.
 *
 * @since 0.1.0
 */
import { Context, type Effect, Schema, type Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"

/** What the answer's headers say about limits; "none" shows nothing. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface LimitView {
  readonly requests: { readonly limit: number; readonly remaining: number; readonly resetAt: number } | null
  readonly tokens: { readonly limit: number; readonly remaining: number; readonly resetAt: number } | null
}

/** @category errors @since 0.1.0 */
export class LimitExceeded extends Schema.TaggedError<LimitExceeded>()("LimitExceeded", {
  limit: Schema.Literals([
    "requests_per_minute",
    "requests_per_day",
    "tokens_per_minute",
    "tokens_per_day",
    "tokens_per_month",
    "concurrency",
    "burst"
  ]),
  message: Schema.String,
  retryAfterMs: Schema.Number
}) {}

/** @category services @since 0.1.0 */
export class KeyLimits extends Context.Service<
  KeyLimits,
  {
    /**
     * Counts the request in, until the Scope closes for what is in flight. `view` is filled also when it is refused.
     * Our own trouble (Redis away) never refuses.
     */
    readonly admit: (
      caller: Caller,
      estimatedTokens: number
    ) => Effect.Effect<{ readonly view: LimitView; readonly refused: LimitExceeded | null }, never, Scope.Scope>
    /** Corrects the tokens after the request, by actual minus estimated. Never waits. */
    readonly correct: (caller: Caller, difference: number) => Effect.Effect<void>
  }
>()("sluice/limits/KeyLimits") {}
