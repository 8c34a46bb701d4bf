/**
 * Allowances: the period they belong to, and the turn from one period to the next.
 *
 * A period is a month from the day a plan began. Purchased credits have no part in this.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import { PlanId, plans } from "../../schemas/Plan.ts"
import { messageOf } from "../database/Failures.ts"
import { Ledger } from "../ledger/Ledger.ts"
import { Singletons } from "../replicas/Singletons.ts"

/** The moment so many months after another (epoch milliseconds, UTC), at most on that month's last day. @category calendar @since 0.1.0 */
export const monthsAfter = (since: number, months: number): number => {
  const from = new Date(since)
  const [year, month] = [from.getUTCFullYear(), from.getUTCMonth() + months]
  const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate()
  return Date.UTC(year, month, Math.min(from.getUTCDate(), lastDay)) + (since - Date.UTC(year, from.getUTCMonth(), from.getUTCDate()))
}

/** The period of a plan that a moment falls into. @category calendar @since 0.1.0 */
export const periodAt = (since: number, now: number): { readonly start: number; readonly end: number } => {
  const [from, at] = [new Date(since), new Date(now)]
  let months = Math.max(0, (at.getUTCFullYear() - from.getUTCFullYear()) * 12 + at.getUTCMonth() - from.getUTCMonth())
  if (monthsAfter(since, months) > now && months > 0) months--
  return { start: monthsAfter(since, months), end: monthsAfter(since, months + 1) }
}

/** @category services @since 0.1.0 */
export class Renewals extends Context.Service<
  Renewals,
  {
    /** A plan begins: its full allowance is there, what was left of another plan's is lost. Part of the caller's transaction. */
    readonly begin: (id: AccountId, plan: PlanId, now: number) => Effect.Effect<void, unknown>
    /** Renews what is due; gives how many accounts were. */
    readonly renewDue: Effect.Effect<number, unknown>
  }
>()("sluice/identity/Renewals") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const renewals = yield* make
      const pass = Effect.catch(renewals.renewDue, (error) =>
        Effect.logWarning(`Allowances could not be renewed: ${messageOf(error).slice(0, 300)}`)
      )
      const { register } = yield* Singletons
      yield* register("allowances", Effect.forever(Effect.andThen(pass, Effect.sleep("1 minute"))))
      return renewals
    })
  )
}

const Due = Schema.Array(Schema.Struct({ id: Schema.String, plan: PlanId, since: Schema.String, due: Schema.String }))
const PAGE = 200

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const ledger = yield* Ledger
  const iso = (ms: number) => new Date(ms).toISOString()

  const begin = Effect.fnUntraced(function* (id: AccountId, plan: PlanId, now: number) {
    const full = plans[plan].monthlyAllowance
    const next = full > 0n ? iso(monthsAfter(now, 1)) : null
    yield* sql`UPDATE users SET plan_since = ${iso(now)}::text::timestamptz, allowance_renews_at = ${next}::text::timestamptz WHERE id = ${id}`
    yield* ledger.renew(id, full, `plan ${plan} ${iso(now)}`)
  })

  // Whoever moves the date renews: two processes that see the same account due do it once.
  const renew = Effect.fnUntraced(function* (row: (typeof Due.Type)[number], now: number) {
    const { end, start } = periodAt(Number(row.since), now)
    yield* sql.withTransaction(
      Effect.gen(function* () {
        const moved = yield* sql`UPDATE users SET allowance_renews_at = ${iso(end)}::text::timestamptz
          WHERE id = ${row.id} AND allowance_renews_at::text = ${row.due} RETURNING id`
        if (moved.length > 0) yield* ledger.renew(row.id, plans[row.plan].monthlyAllowance, `period ${iso(start)}`)
      })
    )
  })

  const renewDue = Effect.gen(function* () {
    let renewed = 0
    for (;;) {
      const now = yield* Clock.currentTimeMillis
      const rows = yield* sql`SELECT id, plan, floor(extract(epoch FROM plan_since) * 1000)::text AS since, allowance_renews_at::text AS due
        FROM users WHERE allowance_renews_at <= ${iso(now)}::text::timestamptz LIMIT ${String(PAGE)}::text::int`
      const due = yield* Schema.decodeUnknownEffect(Due)(rows)
      for (const row of due) yield* renew(row, now)
      renewed += due.length
      if (due.length < PAGE) break
    }
    yield* ledger.trim
    return renewed
  })

  return Renewals.of({ begin, renewDue })
})
