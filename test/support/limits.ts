/**
 * Requests that are counted in for as long as a Scope is open, as the gateway does it.
 */
import { Effect, Option, Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import { CounterStore } from "../../src/limits/CounterStore.ts"
import { type Admitted, KeyLimits } from "../../src/limits/KeyLimits.ts"

/** A request that uses what it was counted with. Its end is waited for where the counters are shared, as nobody else does. */
export const admit = (who: Caller, tokens = 0): Effect.Effect<Admitted, never, KeyLimits | Scope.Scope> =>
  Effect.gen(function* () {
    const limits = yield* KeyLimits
    const store = Option.getOrNull(yield* Effect.serviceOption(CounterStore))
    const entered = yield* limits.enter(who, tokens)
    const leave = Effect.suspend(() => {
      limits.leave(who, entered, tokens)
      return store === null || entered.place === null ? Effect.void : Effect.ignore(store.leave([entered.place]))
    })
    yield* Scope.addFinalizer(yield* Effect.scope, leave)
    return entered
  })
