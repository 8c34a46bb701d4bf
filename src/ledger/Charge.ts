/**
 * The Scope that holds the credits of one request.
 *
 * @since 0.1.0
 */
import { Effect, type Exit, Scope } from "effect"
import type { LedgerError } from "../../schemas/LedgerEntry.ts"
import type { Candidate } from "../../schemas/Model.ts"
import type { Money } from "../../schemas/Money.ts"
import * as MoneyValue from "../../schemas/Money.ts"
import type { Usage } from "../../schemas/Usage.ts"
import { type Hold, type HoldRequest, Ledger, type Settlement } from "./Ledger.ts"
import * as Pricing from "./Pricing.ts"

/** How a request ends: a settlement, or nothing owed and nobody at fault. @category models @since 0.1.0 */
export type ChargeEnd = Settlement | { readonly _tag: "Release" }

/** One request's hold. @category models @since 0.1.0 */
export interface Charge {
  readonly rid: string
  /** What is held, at most what was asked for. */
  readonly held: Money
  /** Ends the charge and waits until the end is durable. The first call decides; later ones do nothing. */
  readonly end: (end: ChargeEnd) => Effect.Effect<void>
}

/**
 * Holds the most a request can cost until the Scope closes. Whoever has not called `end` by then is settled as
 * `abandoned` says: whatever happened, the hold ends once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = Effect.fnUntraced(function* (
  request: HoldRequest,
  abandoned: (exit: Exit.Exit<unknown, unknown>) => ChargeEnd
): Effect.fn.Return<Charge, LedgerError, Ledger | Scope.Scope> {
  const ledger = yield* Ledger
  let ended = false
  const end = (held: Hold, decide: () => ChargeEnd): Effect.Effect<void> =>
    Effect.uninterruptible(
      Effect.suspend(() => {
        if (ended) return Effect.void
        ended = true
        const how = decide()
        return how._tag === "Release" ? ledger.release(held) : ledger.settle(held, how)
      })
    )
  const scope = yield* Effect.scope
  const hold = yield* Effect.uninterruptible(
    Effect.tap(ledger.hold(request), (held) => Scope.addFinalizerExit(scope, (exit) => end(held, () => abandoned(exit))))
  )
  return { rid: hold.rid, held: hold.amount, end: (how) => end(hold, () => how) }
})

/**
 * The charge of a request that has no account, because whatever it does costs nothing. Whoever has not called `end` is told
 * to `abandoned` all the same.
 *
 * @category constructors
 * @since 0.1.0
 */
export const openFree = Effect.fnUntraced(function* (
  rid: string,
  abandoned: (exit: Exit.Exit<unknown, unknown>) => ChargeEnd
): Effect.fn.Return<Charge, never, Scope.Scope> {
  let ended = false
  yield* Scope.addFinalizerExit(yield* Effect.scope, (exit) =>
    Effect.sync(() => {
      if (!ended) abandoned(exit)
    })
  )
  const end = Effect.sync(() => {
    ended = true
  })
  return { rid, held: MoneyValue.zero, end: () => end }
})

/** What is owed for what was used, at the price of the provider that answered. @category constructors @since 0.1.0 */
export const forUsage = (candidate: Candidate, used: Usage) => {
  const usage = Pricing.billable(candidate.pricing, used)
  return {
    _tag: "Charge" as const,
    cost: Pricing.cost(candidate.pricing, usage),
    model: candidate.model.id,
    provider: candidate.provider,
    pricing: Pricing.holding(candidate.pricing, usage),
    usage
  }
}
