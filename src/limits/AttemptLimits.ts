/**
 * Limits of what people do seldom: logging in, registering, making keys. Windows slide: each attempt counts for as long as
 * the window is, whenever it came.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { CounterStore } from "./CounterStore.ts"

/** @category errors @since 0.1.0 */
export class TooManyAttempts extends Schema.TaggedError<TooManyAttempts>()("TooManyAttempts", {
  what: Schema.String,
  limit: Schema.Number,
  windowMs: Schema.Number,
  retryAfterMs: Schema.Number
}) {}

const MINUTE = 60_000

const windows = {
  login: { what: "logins from one address", limit: 10, windowMs: 15 * MINUTE },
  register: { what: "registrations from one address", limit: 3, windowMs: 60 * MINUTE },
  key: { what: "new keys of one account", limit: 10, windowMs: 60 * MINUTE }
} as const

/** @category services @since 0.1.0 */
export class AttemptLimits extends Context.Service<
  AttemptLimits,
  {
    /** Counts an attempt of somebody (an address, an account), or refuses it. A store that cannot be asked refuses nobody. */
    readonly attempt: (kind: keyof typeof windows, who: string) => Effect.Effect<void, TooManyAttempts>
  }
>()("sluice/limits/AttemptLimits") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const store = yield* CounterStore
      const random = yield* SecureRandom.SecureRandom
      return AttemptLimits.of({
        attempt: Effect.fnUntraced(function* (kind, who) {
          const { limit, what, windowMs } = windows[kind]
          // A place that nobody gives back is free again after the window: that is a window that slides.
          const place = {
            key: `attempts:${kind}:${who}`,
            by: 1,
            limit,
            ttlMs: windowMs,
            kind: "place" as const,
            member: yield* random.uuidV7()
          }
          const counted = yield* Effect.orElseSucceed(store.raise([place]), () => null)
          if (counted === null || counted.refused.length === 0) return
          return yield* new TooManyAttempts({ what, limit, windowMs, retryAfterMs: counted.freeInMs ?? windowMs })
        })
      })
    })
  )
}
