/**
 * What an account used, by model, key, provider, day or hour: read from the sums of hours, however many requests these hold.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import * as Money from "../../schemas/Money.ts"
import { messageOf } from "../database/Failures.ts"
import { type Histogram, merge, percentiles } from "./Histogram.ts"
import { RequestLog } from "./RequestLog.ts"

/** What a report can be grouped by. @category models @since 0.1.0 */
export const groupings = ["model", "key", "provider", "day", "hour"] as const
export type Grouping = (typeof groupings)[number]

/** Times are epoch milliseconds of whole hours. @category models @since 0.1.0 */
export interface UsageQuery {
  readonly groupBy: ReadonlyArray<Grouping>
  readonly from: number
  /** Not included. */
  readonly to: number
  readonly model?: string | undefined
  readonly key?: string | undefined
}

/** The middle, and what all but one in twenty and one in a hundred stay below; null where nothing was answered. @category models @since 0.1.0 */
export interface Percentiles {
  readonly p50: number | null
  readonly p95: number | null
  readonly p99: number | null
}

/** What one group used. @category models @since 0.1.0 */
export interface UsageSums {
  readonly requests: number
  readonly errors: number
  readonly error_rate: number
  readonly cancelled: number
  readonly tokens: {
    readonly input: number
    readonly cached_read: number
    readonly cache_write: number
    readonly output: number
    readonly reasoning: number
    readonly total: number
  }
  readonly cost_usd: string
  readonly latency_ms: Percentiles
  readonly time_to_first_chunk_ms: Percentiles
}

/** A group by its names, an empty model or provider being none. @category models @since 0.1.0 */
export interface UsageGroup extends UsageSums {
  readonly group: Readonly<Partial<Record<Grouping, string | null>>>
}

/** @category models @since 0.1.0 */
export interface UsageReport {
  readonly groups: ReadonlyArray<UsageGroup>
  readonly total: UsageSums
}

/** @category errors @since 0.1.0 */
export class UsageReportsError extends Schema.TaggedError<UsageReportsError>()("UsageReportsError", {
  reason: Schema.Literals(["too_many_groups", "unavailable"]),
  message: Schema.String
}) {}

/** @category services @since 0.1.0 */
export class UsageReports extends Context.Service<
  UsageReports,
  { readonly report: (account: AccountId, query: UsageQuery) => Effect.Effect<UsageReport, UsageReportsError> }
>()("sluice/usage/UsageReports") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      return UsageReports.of({ report: report(yield* SqlClient.SqlClient, yield* RequestLog) })
    })
  )
}

/** Groups of one report. @category models @since 0.1.0 */
export const GROUPS_MAX = 10_000

const expressions: Readonly<Record<Grouping, string>> = {
  model: "model",
  key: "key_id",
  provider: "provider",
  day: `to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD')`,
  hour: `to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00:00"Z"')`
}

const sums = ["requests", "errors", "cancelled", "input", "cached_read", "cache_write", "output", "reasoning", "cost"] as const
const Counts = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Number))
const Rows = Schema.Array(
  Schema.Struct({
    names: Schema.fromJsonString(Schema.Array(Schema.String)),
    requests: Schema.NumberFromString,
    errors: Schema.NumberFromString,
    cancelled: Schema.NumberFromString,
    input: Schema.NumberFromString,
    cached_read: Schema.NumberFromString,
    cache_write: Schema.NumberFromString,
    output: Schema.NumberFromString,
    reasoning: Schema.NumberFromString,
    cost: Schema.BigIntFromString,
    latency: Counts,
    first_chunk: Counts
  })
)
type Row = (typeof Rows.Type)[number]

const histogram = (column: string) => `SELECT names, jsonb_object_agg(bucket, n) AS ${column} FROM (
    SELECT names, b.key AS bucket, sum(b.value::bigint) AS n FROM wanted, jsonb_each_text(${column}) b GROUP BY names, b.key
  ) bucketed GROUP BY names`

const report = (sql: SqlClient.SqlClient, log: RequestLog["Service"]) =>
  Effect.fnUntraced(function* (account: AccountId, query: UsageQuery) {
    yield* log.flush
    const iso = (ms: number) => new Date(ms).toISOString()
    const wanted: Array<Statement.Fragment> = [
      sql`account = ${account} AND hour >= ${iso(query.from)}::text::timestamptz AND hour < ${iso(query.to)}::text::timestamptz`
    ]
    if (query.model !== undefined) wanted.push(sql`model = ${query.model}`)
    if (query.key !== undefined) wanted.push(sql`key_id = ${query.key}`)
    const names = sql.literal(`jsonb_build_array(${query.groupBy.map((grouping) => expressions[grouping]).join(", ")})`)
    const isSeries = query.groupBy.some((grouping) => grouping === "day" || grouping === "hour")
    const rows = yield* sql`WITH wanted AS (SELECT ${names} AS names, usage_hours.* FROM usage_hours WHERE ${sql.and(wanted)}),
        summed AS (SELECT names, ${sql.literal(sums.map((sum) => `sum(${sum})::text AS ${sum}`).join(", "))}, sum(cost) AS costs FROM wanted
          GROUP BY names LIMIT ${String(GROUPS_MAX + 1)}::text::int),
        latencies AS (${sql.literal(histogram("latency"))}), first_chunks AS (${sql.literal(histogram("first_chunk"))})
      SELECT names::text AS names, ${sql.literal(sums.join(", "))}, coalesce(latency, '{}')::text AS latency, coalesce(first_chunk, '{}')::text AS first_chunk
      FROM summed LEFT JOIN latencies USING (names) LEFT JOIN first_chunks USING (names)
      ORDER BY ${sql.literal(isSeries ? "summed.names" : "costs DESC, summed.names")}`
    const decoded = yield* Schema.decodeUnknownEffect(Rows)(rows)
    if (decoded.length > GROUPS_MAX) {
      const message = `The report would have more than ${GROUPS_MAX} rows. Ask for a shorter range, or group by less.`
      return yield* new UsageReportsError({ reason: "too_many_groups", message })
    }
    return { groups: decoded.map((row) => ({ group: nameGroup(query.groupBy, row.names), ...toSums([row]) })), total: toSums(decoded) }
  }, Effect.mapError(fromDatabase))

/** @category errors @since 0.1.0 */
export const fromDatabase = (error: unknown): UsageReportsError =>
  error instanceof UsageReportsError ? error : new UsageReportsError({ reason: "unavailable", message: messageOf(error).slice(0, 300) })

const nameGroup = (groupBy: ReadonlyArray<Grouping>, names: ReadonlyArray<string>) => {
  const group: Partial<Record<Grouping, string | null>> = {}
  groupBy.forEach((grouping, at) => {
    const name = names[at] ?? ""
    group[grouping] = name === "" ? null : name
  })
  return group
}

const percentilesOf = (histogram: Histogram): Percentiles => {
  const [p50 = null, p95 = null, p99 = null] = percentiles(histogram, [0.5, 0.95, 0.99])
  return { p50, p95, p99 }
}

const toSums = (rows: ReadonlyArray<Row>): UsageSums => {
  const sum = (of: (row: Row) => number) => rows.reduce((total, row) => total + of(row), 0)
  const tokens = {
    input: sum((row) => row.input),
    cached_read: sum((row) => row.cached_read),
    cache_write: sum((row) => row.cache_write),
    output: sum((row) => row.output),
    reasoning: sum((row) => row.reasoning)
  }
  const [requests, errors] = [sum((row) => row.requests), sum((row) => row.errors)]
  return {
    requests,
    errors,
    error_rate: requests === 0 ? 0 : Math.round((errors / requests) * 1_000_000) / 1_000_000,
    cancelled: sum((row) => row.cancelled),
    tokens: { ...tokens, total: tokens.input + tokens.cached_read + tokens.cache_write + tokens.output + tokens.reasoning },
    cost_usd: Money.toUsd(Money.make(rows.reduce((total, row) => total + row.cost, 0n))),
    latency_ms: percentilesOf(merge(rows.map((row) => row.latency))),
    time_to_first_chunk_ms: percentilesOf(merge(rows.map((row) => row.first_chunk)))
  }
}
