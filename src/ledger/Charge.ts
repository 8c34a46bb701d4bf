/**
 * The Scope that holds the credits of one request.
 *
 * @since 0.1.0
 */
import { Effect, type Exit, Scope } from "effect"
import type { LedgerError } from "../../schemas/LedgerEntry.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { type Money, zero } from "../../schemas/Money.ts"
import type { Usage } from "../../schemas/Usage.ts"
import { type Hold, type HoldRequest, type Holds, Ledger, type Settlement } from "./Ledger.ts"
import * as Pricing from "./Pricing.ts"

/** How a request ends: a settlement, or nothing owed and nobody at fault. @category models @since 0.1.0 */
export type ChargeEnd = Settlement | { readonly _tag: "Release" }

/**
 * One request's money: held once, ended once. Whoever makes one has to see that `close` runs, whatever happens.
 *
 * @category models
 * @since 0.1.0
 */
export class Charge {
  /** What is held, at most what was asked for. */
  held: Money = zero
  private hold: Hold | null = null
  private isOpen = false
  private readonly ledger: Holds
  private readonly abandoned: (exit: Exit.Exit<unknown, unknown>) => ChargeEnd

  constructor(ledger: Holds, abandoned: (exit: Exit.Exit<unknown, unknown>) => ChargeEnd) {
    this.ledger = ledger
    this.abandoned = abandoned
  }

  /** Holds the most that the request can cost. */
  open(request: HoldRequest): Effect.Effect<void, LedgerError> {
    return Effect.suspend(() => {
      const atOnce = this.ledger.tryHold(request)
      if (atOnce === null) return Effect.uninterruptible(Effect.map(this.ledger.hold(request), (hold) => this.take(hold)))
      this.take(atOnce)
      return Effect.void
    })
  }

  /** Of a request that has no account, because whatever it does costs nothing: there is only an end to be told. */
  openFree(): void {
    this.isOpen = true
  }

  /** Ends the charge and waits until the end is durable. The first call decides; later ones do nothing. */
  end(how: ChargeEnd): Effect.Effect<void> {
    return Effect.suspend(() => this.endNow(how))
  }

  /** Whoever has not ended it by now is settled as `abandoned` says. */
  close(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return this.isOpen ? this.endNow(this.abandoned(exit)) : Effect.void
  }

  private take(hold: Hold): void {
    this.hold = hold
    this.held = hold.amount
    this.isOpen = true
  }

  private endNow(how: ChargeEnd): Effect.Effect<void> {
    if (!this.isOpen) return Effect.void
    this.isOpen = false
    if (this.hold === null) return Effect.void
    if (how._tag === "Release") {
      this.ledger.releaseNow(this.hold)
      return Effect.void
    }
    const durable = this.ledger.settleNow(this.hold, how)
    return durable === null ? Effect.void : Effect.uninterruptible(durable)
  }
}

/** A charge that is open until the Scope closes: whatever happened, the hold ends once. @category constructors @since 0.1.0 */
export const open = Effect.fnUntraced(function* (
  request: HoldRequest,
  abandoned: (exit: Exit.Exit<unknown, unknown>) => ChargeEnd
): Effect.fn.Return<Charge, LedgerError, Ledger | Scope.Scope> {
  const charge = new Charge(yield* Ledger, abandoned)
  yield* Scope.addFinalizerExit(yield* Effect.scope, (exit) => charge.close(exit))
  yield* charge.open(request)
  return charge
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
