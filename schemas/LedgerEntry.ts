/**
 * The ledger's words: entries, balances, and what can go wrong.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import type { Money } from "./Money.ts"
import { MoneyFromUsd, toUsd } from "./Money.ts"

/** @category schemas @since 0.1.0 */
export const EntryKind = Schema.Literals(["topup", "allowance", "charge", "refund", "expiry", "adjust"])
export type EntryKind = typeof EntryKind.Type

/** One line of an account's story, as the API shows it: `amount_usd` is signed and the sum of the other two. @category schemas @since 0.1.0 */
export const LedgerEntry = Schema.Struct({
  id: Schema.String,
  kind: EntryKind,
  request_id: Schema.NullOr(Schema.String),
  model: Schema.NullOr(Schema.String),
  provider: Schema.NullOr(Schema.String),
  amount_usd: Schema.String,
  allowance_usd: Schema.String,
  purchased_usd: Schema.String,
  reference: Schema.NullOr(Schema.String),
  created_at: Schema.String
})
export type LedgerEntry = typeof LedgerEntry.Type

/** An account's credits. `available = allowance + purchased − held`. @category models @since 0.1.0 */
export interface Balance {
  readonly allowance: Money
  readonly purchased: Money
  readonly held: Money
  readonly available: Money
}

/** A balance as the API shows it. @category schemas @since 0.1.0 */
export const EncodedBalance = Schema.Struct({
  allowance_usd: Schema.String,
  purchased_usd: Schema.String,
  held_usd: Schema.String,
  available_usd: Schema.String
})

/** @category encoding @since 0.1.0 */
export const encodeBalance = (balance: Balance): typeof EncodedBalance.Type => ({
  allowance_usd: toUsd(balance.allowance),
  purchased_usd: toUsd(balance.purchased),
  held_usd: toUsd(balance.held),
  available_usd: toUsd(balance.available)
})

/** The money is not there. `required` is what the request may cost at most, `available` what could be held. @category errors @since 0.1.0 */
export class InsufficientCredits extends Schema.TaggedClass<InsufficientCredits>()("InsufficientCredits", {
  required: MoneyFromUsd,
  available: MoneyFromUsd
}) {}

/** The account's spending of one UTC day would pass its cap. @category errors @since 0.1.0 */
export class DailyCapReached extends Schema.TaggedClass<DailyCapReached>()("DailyCapReached", {
  cap: MoneyFromUsd,
  required: MoneyFromUsd
}) {}

/** Our own trouble: nothing is known of the caller's money. @category errors @since 0.1.0 */
export class LedgerUnavailable extends Schema.TaggedClass<LedgerUnavailable>()("LedgerUnavailable", {
  message: Schema.String
}) {}

/** @category errors @since 0.1.0 */
export class AccountNotFound extends Schema.TaggedClass<AccountNotFound>()("AccountNotFound", {
  accountId: Schema.String
}) {}

/** @category errors @since 0.1.0 */
export class LedgerError extends Schema.TaggedError<LedgerError>()("LedgerError", {
  reason: Schema.Union([InsufficientCredits, DailyCapReached, LedgerUnavailable, AccountNotFound])
}) {
  override get message(): string {
    return this.reason._tag
  }
}

/** The result of proving the invariants over the whole database. @category schemas @since 0.1.0 */
export const LedgerCheck = Schema.Struct({
  ok: Schema.Boolean,
  accounts: Schema.Number,
  entries: Schema.Number,
  violations: Schema.Array(Schema.Struct({ invariant: Schema.String, account: Schema.NullOr(Schema.String), detail: Schema.String }))
})
export type LedgerCheck = typeof LedgerCheck.Type
