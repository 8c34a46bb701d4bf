/**
 * The credit ledger: holds in memory, money in Postgres.
 *
 * @since 0.1.0
 */
import { Context, type Effect } from "effect"
import type { AccountId } from "../../schemas/Account.ts"
import type { Balance, LedgerCheck, LedgerEntry, LedgerError } from "../../schemas/LedgerEntry.ts"
import type { Pricing } from "../../schemas/Model.ts"
import type { Money } from "../../schemas/Money.ts"
import type { Usage } from "../../schemas/Usage.ts"

/** What to set aside for one request. @category models @since 0.1.0 */
export interface HoldRequest {
  readonly accountId: AccountId
  /** The server's id of the request: one charge at most, whoever retries. */
  readonly rid: string
  /** The most the request can cost. */
  readonly amount: Money
  /** The least that will do; less than `amount` when the caller gave no bound and the hold may be clamped. */
  readonly minimum: Money
  /** Spending allowed in one UTC day; the day's spending and the holds count against it. */
  readonly dailyUsd: Money | "none"
}

/** Money set aside: between `minimum` and `amount`. Ends once, by settle or release. @category models @since 0.1.0 */
export interface Hold {
  readonly accountId: AccountId
  readonly rid: string
  readonly amount: Money
}

/** How a held request ends in the book. @category models @since 0.1.0 */
export type Settlement =
  | {
      /** The caller owes `cost`, charged as far as the balance goes. */
      readonly _tag: "Charge"
      readonly cost: Money
      readonly model: string
      readonly provider: string
      /** Kept on the entry, so that the charge can be recomputed. */
      readonly pricing: Pricing
      readonly usage: Usage
    }
  | {
      /** The provider's fault: a refund entry with zero deltas names the request. */
      readonly _tag: "Refund"
      readonly model: string
      readonly provider: string | null
      readonly why: string
    }

/** Money coming in, or taken by an operator. The same reference is applied once. @category models @since 0.1.0 */
export interface Grant {
  readonly accountId: AccountId
  readonly kind: "topup" | "allowance" | "adjust" | "expiry"
  readonly allowance: Money
  readonly purchased: Money
  readonly reference: string
}

/** @category services @since 0.1.0 */
export class Ledger extends Context.Service<
  Ledger,
  {
    /** Makes the account's row; does nothing when it stands. */
    readonly open: (accountId: AccountId) => Effect.Effect<void, LedgerError>
    readonly hold: (request: HoldRequest) => Effect.Effect<Hold, LedgerError>
    /** Writes the end of a request, once per rid; done when it is durable. Resolves also when it was secured otherwise (see `ledger_unsecured_total`). */
    readonly settle: (hold: Hold, settlement: Settlement) => Effect.Effect<void>
    /** Gives a hold back without an entry: nothing was served and nobody is at fault. */
    readonly release: (hold: Hold) => Effect.Effect<void>
    readonly grant: (grant: Grant) => Effect.Effect<LedgerEntry, LedgerError>
    readonly balance: (accountId: AccountId) => Effect.Effect<Balance, LedgerError>
    /** Newest first; `cursor` is what the page before gave as `next`. */
    readonly entries: (
      accountId: AccountId,
      page: { readonly limit: number; readonly cursor: string | null }
    ) => Effect.Effect<{ readonly data: ReadonlyArray<LedgerEntry>; readonly next: string | null }, LedgerError>
    /** Proves the invariants over the whole database. */
    readonly check: Effect.Effect<LedgerCheck, LedgerError>
  }
>()("sluice/ledger/Ledger") {}
