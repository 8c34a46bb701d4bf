/**
 * Looks at each hour that is over whether accounts got what their plans promise; tells of it where they did not, and gives a part
 * of what the hour cost back, once.
 *
 * **Details**: failures are those of providers and of ours; what a caller did wrong or left says nothing. Late is the time to
 * the first chunk of a stream, to the whole answer otherwise. An hour of few requests is not judged: one failure would be it.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import * as Money from "../../schemas/Money.ts"
import { PlanId, plans, type Sla } from "../../schemas/Plan.ts"
import { messageOf } from "../database/Failures.ts"
import { Ledger } from "../ledger/Ledger.ts"
import * as Singletons from "../replicas/Singletons.ts"
import { idAt } from "../usage/RequestBook.ts"
import { EventBus } from "./EventBus.ts"

/** @category services @since 0.1.0 */
export class SlaWatch extends Context.Service<
  SlaWatch,
  {
    /** Judges the hours that were over for a while, and gives back what is owed. Gives how many breaches are new. */
    readonly judge: Effect.Effect<number, unknown>
  }
>()("sluice/events/SlaWatch") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

const HOUR = 3_600_000
const LOOK_EVERY = 600_000
/** After its end, until the last requests that began in an hour have ended and are written. */
const SETTLED = 600_000
/** Hours that are looked at each time: whoever did it before may be gone. */
const HOURS = 3
/** Requests of an hour below which it is not judged, and failures below which no part of them is too large. */
const FEWEST_REQUESTS = 100
const FEWEST_FAILURES = 3
/** The part of an hour's cost that is given back: a tenth. */
const SHARE = 10n
/** A request that ran again under its id may be a day younger than that says. */
const RERUN = 25 * HOUR

const breaches = Metric.counter("sluice_sla_breaches_total", {
  description: "Hours in which an account did not get what its plan promises, by plan and by what of it",
  incremental: true
})

const Rows = Schema.Array(
  Schema.Struct({
    account: Schema.String,
    plan: PlanId,
    requests: Schema.NumberFromString,
    failures: Schema.NumberFromString,
    p99: Schema.NullOr(Schema.NumberFromString),
    cost: Schema.BigIntFromString
  })
)
type Row = (typeof Rows.Type)[number]
const Owed = Schema.Array(Schema.Struct({ account: Schema.String, hour: Schema.String, credit: Schema.BigIntFromString }))

/** What of a plan's promise an hour broke. @category policies @since 0.1.0 */
export const broken = (sla: Sla, hour: Pick<Row, "requests" | "failures" | "p99">): ReadonlyArray<"error_rate" | "p99_latency"> => {
  if (hour.requests < FEWEST_REQUESTS) return []
  const isFailing = hour.failures >= FEWEST_FAILURES && hour.failures / hour.requests > 1 - sla.uptime
  const isSlow = hour.p99 !== null && hour.p99 > sla.p99LatencyMs
  return [...(isFailing ? (["error_rate"] as const) : []), ...(isSlow ? (["p99_latency"] as const) : [])]
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const ledger = yield* Ledger
  const bus = yield* EventBus
  const iso = (ms: number) => new Date(ms).toISOString()

  const hourOf = (from: number) =>
    Effect.flatMap(
      sql`SELECT r.account, u.plan, count(*)::text AS requests, count(*) FILTER (WHERE r.outcome IN ('refunded', 'lost'))::text AS failures,
          ceil(percentile_cont(0.99) WITHIN GROUP (ORDER BY coalesce(r.first_chunk_ms, r.latency_ms)) FILTER (WHERE r.outcome = 'ok'))::bigint::text AS p99,
          sum(r.cost)::text AS cost
        FROM requests r JOIN users u ON u.id = r.account
        WHERE r.id >= ${idAt(from - RERUN)} AND r.id < ${idAt(from + HOUR)} AND r.created_at >= ${iso(from)}::text::timestamptz
          AND r.created_at < ${iso(from + HOUR)}::text::timestamptz AND r.outcome IN ('ok', 'cached', 'refunded', 'lost')
        GROUP BY r.account, u.plan HAVING count(*) >= ${String(FEWEST_REQUESTS)}::text::bigint`,
      Schema.decodeUnknownEffect(Rows)
    )

  /** Written down and told in one: told once, whoever looks. */
  const note = (from: number, row: Row, kinds: ReadonlyArray<string>, sla: Sla) =>
    sql.withTransaction(
      Effect.gen(function* () {
        const credit = row.cost / SHARE
        const written = yield* sql`INSERT INTO sla_breaches (account, hour, plan, kinds, requests, failures, p99_ms, credit)
          SELECT ${row.account}, ${iso(from)}::text::timestamptz, ${row.plan}, string_to_array(${kinds.join(",")}::text, ','),
            ${String(row.requests)}::text::bigint, ${String(row.failures)}::text::bigint, ${row.p99 === null ? null : String(row.p99)}::text::bigint,
            ${String(credit)}::text::numeric
          ON CONFLICT (account, hour) DO NOTHING RETURNING account`
        if (written.length === 0) return 0
        const accountId: AccountId = row.account
        yield* bus.write({
          accountId,
          type: "sla.breached",
          data: {
            plan: row.plan,
            hour: iso(from),
            kinds,
            requests: row.requests,
            failures: row.failures,
            p99_latency_ms: row.p99,
            promised: { uptime: sla.uptime, p99_latency_ms: sla.p99LatencyMs },
            credit_usd: Money.toUsd(Money.make(credit))
          },
          once: `sla.breached ${iso(from)}`
        })
        return 1
      })
    )

  const judgeHour = Effect.fnUntraced(function* (from: number) {
    let found = 0
    for (const row of yield* hourOf(from)) {
      const { sla } = plans[row.plan]
      const kinds = sla === null ? [] : broken(sla, row)
      if (sla === null || kinds.length === 0 || (yield* note(from, row, kinds, sla)) === 0) continue
      found++
      for (const kind of kinds) yield* Metric.update(Metric.withAttributes(breaches, { plan: row.plan, kind }), 1)
      yield* Effect.logWarning(
        `The account ${row.account} did not get what its plan ${row.plan} promises in the hour from ${iso(from)} (${kinds.join(", ")}): ${row.failures} of ${row.requests} requests failed, p99 ${row.p99} ms`
      )
    }
    return found
  })

  /** The ledger takes a reference once: whoever dies between its entry and the mark here lets another try in vain. */
  const giveBack = Effect.gen(function* () {
    const rows = yield* sql`SELECT account, to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"') AS hour, credit::text AS credit
      FROM sla_breaches WHERE credited_at IS NULL ORDER BY hour, account LIMIT 1000`
    for (const { account, credit, hour } of yield* Schema.decodeUnknownEffect(Owed)(rows)) {
      if (credit > 0n) {
        const reference = `sla ${hour}`
        yield* ledger.grant({ accountId: account, kind: "adjust", allowance: Money.zero, purchased: Money.make(credit), reference })
      }
      yield* sql`UPDATE sla_breaches SET credited_at = clock_timestamp() WHERE account = ${account} AND hour = ${hour}::text::timestamptz`
    }
  })

  const judge = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const settled = now - SETTLED
    const present = settled - (settled % HOUR)
    let found = 0
    for (let back = HOURS; back >= 1; back--) found += yield* judgeHour(present - back * HOUR)
    yield* giveBack
    return found
  })

  const quiet = Effect.catch(Effect.asVoid(judge), (error) =>
    Effect.logWarning(`What plans promise could not be looked at: ${messageOf(error).slice(0, 300)}`)
  )
  yield* Singletons.every("promises of plans", LOOK_EVERY, quiet)
  return SlaWatch.of({ judge })
})
