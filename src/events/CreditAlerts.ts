/**
 * When an account is told of its credits.
 *
 * The database tells of what crosses a bound (see `EventsSchema`). What it cannot see is an account that has a little left
 * and is refused: not even the smallest request could be paid. Such an account has none either.
 *
 * @since 0.1.0
 */
import { Context, Effect, Latch, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import * as Money from "../../schemas/Money.ts"
import { messageOf } from "../database/Failures.ts"
import { type Outcome, Outcomes } from "../usage/Outcomes.ts"

/** The database did not answer, or there is no such account. @category errors @since 0.1.0 */
export class CreditAlertsError extends Schema.TaggedError<CreditAlertsError>()("CreditAlertsError", { message: Schema.String }) {}

/** @category services @since 0.1.0 */
export class CreditAlerts extends Context.Service<
  CreditAlerts,
  {
    /** The balance below which `credits.low` is told. */
    readonly threshold: (account: AccountId) => Effect.Effect<Money.Money, CreditAlertsError>
    /** Null is the usual one. A balance that is below a new threshold and was not below the old one crosses it now. */
    readonly setThreshold: (account: AccountId, threshold: Money.Money | null) => Effect.Effect<Money.Money, CreditAlertsError>
  }
>()("sluice/events/CreditAlerts") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** Less than this is nothing, once a request was refused for want of it. */
const NOTHING_LEFT = Money.usd("0.01")
const USUAL = Money.usd("5")
const PAUSE = 500
const REMEMBERED = 10_000
/** The HTTP status of a request refused for want of credits. */
const PAYMENT_REQUIRED = 402

const Rows = Schema.Tuple([Schema.Struct({ low_balance: Schema.BigIntFromString })])

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const outcomes = yield* Outcomes
  const refused = new Set<AccountId>()
  const wake = Latch.makeUnsafe(false)

  const note = (outcome: Outcome): void => {
    if (outcome.outcome !== "rejected" || outcome.status !== PAYMENT_REQUIRED || refused.size >= REMEMBERED) return
    refused.add(outcome.caller.accountId)
    wake.openUnsafe()
  }

  const tell = Effect.suspend(() => {
    const accounts = JSON.stringify([...refused].sort())
    refused.clear()
    return Effect.catch(
      // Locked in the ledger's order.
      sql`UPDATE accounts SET spent_out = true WHERE id IN (
        SELECT id FROM accounts WHERE id IN (SELECT jsonb_array_elements_text(${accounts}::text::jsonb)) AND NOT spent_out
          AND allowance + purchased < ${String(NOTHING_LEFT)}::text::numeric ORDER BY id FOR NO KEY UPDATE)`,
      (error) => Effect.logWarning(`Spent accounts could not be told: ${messageOf(error).slice(0, 300)}`)
    )
  })

  yield* outcomes.subscribe(note)
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* wake.await
        wake.closeUnsafe()
        yield* tell
        yield* Effect.sleep(PAUSE)
      })
    )
  )

  const one = (rows: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
    rows.pipe(
      Effect.flatMap(Schema.decodeUnknownEffect(Rows)),
      Effect.map(([row]) => Money.make(row.low_balance)),
      Effect.mapError((error) => new CreditAlertsError({ message: messageOf(error).slice(0, 300) }))
    )

  return CreditAlerts.of({
    threshold: (account) => one(sql`SELECT low_balance::text AS low_balance FROM accounts WHERE id = ${account}`),
    setThreshold: (account, threshold) =>
      one(sql`UPDATE accounts SET low_balance = ${String(threshold ?? USUAL)}::text::numeric WHERE id = ${account}
        RETURNING low_balance::text AS low_balance`)
  })
})
