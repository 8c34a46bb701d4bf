/**
 * Money that comes in: purchases, each granted once, their refunds, the plans that subscriptions pay for.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import * as Money from "../../schemas/Money.ts"
import { Accounts } from "../identity/Accounts.ts"
import { Ledger } from "../ledger/Ledger.ts"
import type { PaymentAction } from "./PaymentEvent.ts"

/** An action that cannot be carried out, now or ever. @category errors @since 0.1.0 */
export class PurchaseError extends Schema.TaggedError<PurchaseError>()("PurchaseError", { message: Schema.String }) {}

/** A first purchase of at least this brings the reward to both. */
const REFERRAL_LEAST = Money.usd("10")
const REFERRAL_REWARD = Money.usd("10")

/** @category services @since 0.1.0 */
export class Purchases extends Context.Service<
  Purchases,
  {
    /** Carries an action out, once; part of the caller's transaction. Gives what was done, in words. */
    readonly apply: (action: PaymentAction) => Effect.Effect<string, unknown>
  }
>()("sluice/billing/Purchases") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

const Referrers = Schema.Array(Schema.Struct({ referred_by: Schema.NullOr(Schema.String) }))
const Paid = Schema.Array(Schema.Struct({ account: Schema.String }))
const Sum = Schema.Tuple([Schema.Struct({ sum: Schema.BigIntFromString })])

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const ledger = yield* Ledger
  const accounts = yield* Accounts

  const topUp = (accountId: string, amount: Money.Money, reference: string) =>
    ledger.grant({ accountId, kind: "topup", allowance: Money.zero, purchased: amount, reference })

  /** The first purchase ends a trial, and rewards who brought the user. */
  const first = Effect.fnUntraced(function* (user: string, amount: Money.Money) {
    const now = new Date(yield* Clock.currentTimeMillis).toISOString()
    const rows = yield* sql`UPDATE users SET first_purchase_at = ${now}::text::timestamptz
      WHERE id = ${user} AND first_purchase_at IS NULL RETURNING referred_by`
    const [row] = yield* Schema.decodeUnknownEffect(Referrers)(rows)
    if (row === undefined) return
    const { plan } = yield* accounts.get(user)
    if (plan === "trial") yield* accounts.setPlan(user, "dev")
    if (row.referred_by === null || amount < REFERRAL_LEAST) return
    yield* topUp(user, REFERRAL_REWARD, `referral:${user}`)
    yield* topUp(row.referred_by, REFERRAL_REWARD, `referral:${user}`)
  })

  const purchase = Effect.fnUntraced(function* (action: Extract<PaymentAction, { _tag: "Purchase" }>) {
    if (action.amount === 0n) return "nothing was paid"
    yield* accounts.get(action.user)
    yield* topUp(action.user, action.amount, `stripe:${action.payment}`)
    yield* first(action.user, action.amount)
    return `${Money.toUsd(action.amount)} USD for ${action.user}`
  })

  const refund = Effect.fnUntraced(function* (action: Extract<PaymentAction, { _tag: "Refund" }>) {
    const found = yield* sql`SELECT account FROM entries WHERE kind = 'topup' AND reference = ${`stripe:${action.payment}`} LIMIT 1`
    const [paid] = yield* Schema.decodeUnknownEffect(Paid)(found)
    // Its purchase may still be on the way.
    if (paid === undefined) return yield* new PurchaseError({ message: `no purchase ${action.payment} was granted` })
    const taken = yield* sql`SELECT coalesce(-sum(d_purchased), 0)::text AS sum FROM entries
      WHERE account = ${paid.account} AND kind = 'adjust' AND starts_with(reference, ${`stripe refund:${action.charge}:`})`
    const [{ sum }] = yield* Schema.decodeUnknownEffect(Sum)(taken)
    const { available, purchased } = yield* ledger.balance(paid.account)
    // What was spent already cannot be taken back: a balance is never below zero.
    const owed = Money.make(action.refunded - sum)
    const amount = Money.min(owed, Money.min(purchased, available))
    if (amount <= 0n) return owed <= 0n ? "taken back before" : `${Money.toUsd(owed)} USD were spent already`
    const reference = `stripe refund:${action.charge}:${action.refunded}`
    yield* ledger.grant({
      accountId: paid.account,
      kind: "adjust",
      allowance: Money.zero,
      purchased: Money.make(-amount),
      reference
    })
    return `${Money.toUsd(amount)} USD taken back from ${paid.account}`
  })

  const apply = (action: PaymentAction): Effect.Effect<string, unknown> => {
    switch (action._tag) {
      case "Purchase":
        return purchase(action)
      case "Refund":
        return refund(action)
      case "Plan":
        return Effect.as(accounts.setPlan(action.user, action.plan), `${action.user} has plan ${action.plan}`)
      case "Ignore":
        return Effect.succeed(action.why)
      case "Refuse":
        return Effect.fail(new PurchaseError({ message: action.why }))
    }
  }
  return Purchases.of({ apply })
})
