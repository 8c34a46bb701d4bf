/**
 * Requests that are counted in for as long as a Scope is open, as the gateway does it.
 */
import { Effect, Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import { type Admitted, KeyLimits } from "../../src/limits/KeyLimits.ts"

/** A request that uses what it was counted with. */
export const admit = (who: Caller, tokens = 0): Effect.Effect<Admitted, never, KeyLimits | Scope.Scope> =>
  Effect.gen(function* () {
    const limits = yield* KeyLimits
    const entered = yield* limits.enter(who, tokens)
    yield* Scope.addFinalizer(
      yield* Effect.scope,
      Effect.sync(() => limits.leave(who, entered, tokens))
    )
    return entered
  })
