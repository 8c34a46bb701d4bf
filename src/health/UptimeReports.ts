/**
 * How often calls went well, by provider, model or plan, and over time: read from the sums of hours.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import { HealthBookError, iso } from "./HealthBook.ts"

/** Between 0 and 1; null where nothing was called. @category models @since 0.1.0 */
export interface Uptime {
  readonly uptime: number | null
  readonly calls: number
  readonly failures: number
  /** Mean of all calls. */
  readonly latency_ms: number | null
}

/** @category models @since 0.1.0 */
export interface UptimeBucket extends Uptime {
  /** When the hour or the day begins. */
  readonly at: string
}

/** What uptimes are told apart by. @category models @since 0.1.0 */
export const uptimeGroups = ["provider", "model", "plan"] as const
export type UptimeGroup = (typeof uptimeGroups)[number]

/** @category models @since 0.1.0 */
export interface HistoryQuery {
  /** Null: all of them together. */
  readonly provider: string | null
  readonly model: string | null
  readonly interval: "hour" | "day"
  readonly days: number
}

/** @category services @since 0.1.0 */
export class UptimeReports extends Context.Service<
  UptimeReports,
  {
    /** Of the latest days; names in order. A plan's is that of its customers' requests, a provider's or model's that of its calls. */
    readonly by: (group: UptimeGroup, days: number) => Effect.Effect<ReadonlyMap<string, Uptime>, HealthBookError>
    /** One bucket for each hour or day that had calls, oldest first. */
    readonly history: (query: HistoryQuery) => Effect.Effect<ReadonlyArray<UptimeBucket>, HealthBookError>
  }
>()("sluice/health/UptimeReports") {
  static readonly layer = Layer.effect(this, Effect.map(SqlClient.SqlClient, make))
}

const DAY = 86_400_000

const Rows = Schema.Array(
  Schema.Struct({
    name: Schema.String,
    successes: Schema.NumberFromString,
    failures: Schema.NumberFromString,
    latency: Schema.NumberFromString
  })
)

const sums = "sum(successes)::text AS successes, sum(failures)::text AS failures, sum(latency_ms)::text AS latency"

/** @category constructors @since 0.1.0 */
export const toUptime = (sum: { readonly successes: number; readonly failures: number; readonly latency: number }): Uptime => {
  const calls = sum.successes + sum.failures
  return {
    uptime: calls === 0 ? null : Math.round((sum.successes / calls) * 1_000_000) / 1_000_000,
    calls,
    failures: sum.failures,
    latency_ms: calls === 0 || sum.latency === 0 ? null : Math.round(sum.latency / calls)
  }
}

function make(sql: SqlClient.SqlClient): UptimeReports["Service"] {
  const failure = (error: unknown) => new HealthBookError({ message: messageOf(error).slice(0, 300) })
  const read = (statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
    Effect.mapError(Effect.flatMap(statement, Schema.decodeUnknownEffect(Rows)), failure)

  /** The first hour that counts: whole hours, the present one the last. */
  const since = (days: number) => Effect.map(Clock.currentTimeMillis, (now) => sql`hour > ${iso(now - days * DAY)}::text::timestamptz`)

  const by = Effect.fnUntraced(function* (group: UptimeGroup, days: number) {
    const column = sql.literal(group)
    const rows = yield* read(
      sql`SELECT ${column} AS name, ${sql.literal(sums)} FROM health_hours WHERE ${column} <> '' AND ${yield* since(days)} GROUP BY 1 ORDER BY 1`
    )
    return new Map(rows.map((row) => [row.name, toUptime(row)]))
  })

  const history = Effect.fnUntraced(function* ({ days, interval, model, provider }: HistoryQuery) {
    const wanted = [sql`plan = ''`, yield* since(days)]
    if (provider !== null) wanted.push(sql`provider = ${provider}`)
    if (model !== null) wanted.push(sql`model = ${model}`)
    const rows = yield* read(
      sql`SELECT to_char(date_trunc(${interval}, hour, 'UTC') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS name, ${sql.literal(sums)}
        FROM health_hours WHERE ${sql.and(wanted)} GROUP BY 1 ORDER BY 1`
    )
    return rows.map((row) => ({ at: row.name, ...toUptime(row) }))
  })

  return UptimeReports.of({ by, history })
}
