/**
 * How requests are written and forgotten: a group of them and what it adds to the sums of its hours, in one statement.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as Columns from "../database/Columns.ts"
import { bucketOf } from "./Histogram.ts"
import { columns as names, sums } from "./RequestLogSchema.ts"
import type { RequestDetails, RequestRow } from "./RequestRow.ts"

/** A request to be written; times are epoch milliseconds, the cost is picodollars. @category models @since 0.1.0 */
export interface RequestRecord {
  readonly account: string
  readonly id: string
  readonly keyId: string
  readonly clientRequestId: string | null
  readonly requestedModel: string
  readonly model: string | null
  readonly provider: string | null
  readonly attempts: RequestRow["attempts"]
  readonly tokens: RequestRow["tokens"]
  readonly usageSource: RequestRow["usage_source"]
  readonly cost: bigint
  readonly startedAt: number
  readonly latencyMs: number
  readonly firstChunkMs: number | null
  readonly status: number
  readonly outcome: RequestRow["outcome"]
  readonly details: RequestDetails
  readonly stream: boolean
}

const NAME_MAX = 200
const CLIENT_CLOSED = 499

/** Text that the database takes, of a bounded length. */
const printable = (text: string): string => text.slice(0, NAME_MAX).toWellFormed().replaceAll("\u0000", "\uFFFD")

const isAnswered = ({ outcome }: RequestRecord): boolean => outcome === "ok" || outcome === "cached"

const isFailed = (record: RequestRecord): boolean => !isAnswered(record) && record.status !== CLIENT_CLOSED

const toAttempts = ({ attempts }: RequestRecord): RequestRow["attempts"] => {
  for (const { error } of attempts) if (error !== null) return attempts.map(toAttempt)
  return attempts
}

const toAttempt = (attempt: RequestRow["attempts"][number]) =>
  attempt.error === null ? attempt : { ...attempt, error: printable(attempt.error) }

const toJson = (record: RequestRecord) => {
  const { firstChunkMs, latencyMs, outcome, status, tokens } = record
  const answered = isAnswered(record)
  return {
    id: record.id,
    account: record.account,
    key_id: record.keyId,
    client_request_id: record.clientRequestId,
    requested_model: printable(record.requestedModel),
    model: record.model,
    provider: record.provider,
    attempts: toAttempts(record),
    ...tokens,
    usage_source: record.usageSource,
    cost: String(record.cost),
    latency_ms: Math.round(latencyMs),
    first_chunk_ms: firstChunkMs === null ? null : Math.round(firstChunkMs),
    status,
    outcome,
    details: record.details,
    stream: record.stream,
    created_at: new Date(record.startedAt).toISOString(),
    failed: isFailed(record) ? 1 : 0,
    cancelled: outcome === "cancelled" ? 1 : 0,
    latency_bucket: answered ? bucketOf(latencyMs) : null,
    first_chunk_bucket: answered && firstChunkMs !== null ? bucketOf(firstChunkMs) : null
  }
}

const columns = names.join(", ")

const given = `jsonb_to_recordset($1::text::jsonb) AS t (id text, account text, key_id text, client_request_id text,
  requested_model text, model text, provider text, attempts text, input bigint, cached_read bigint, cache_write bigint, output bigint,
  reasoning bigint, usage_source text, cost numeric, latency_ms integer, first_chunk_ms integer, status integer, outcome text,
  details text, stream boolean, created_at timestamptz, failed integer, cancelled integer, latency_bucket integer, first_chunk_bucket integer)`

const group = "account, hour, key_id, model, provider"

const histogram = (bucket: string) => `SELECT ${group}, jsonb_object_agg(bucket, n) AS histogram FROM (
    SELECT ${group}, ${bucket} AS bucket, count(*) AS n FROM counted WHERE ${bucket} IS NOT NULL GROUP BY ${group}, ${bucket}
  ) bucketed GROUP BY ${group}`

/** The values of a request's columns, in their order. */
const values: ReadonlyArray<(record: RequestRecord) => string | null> = [
  (record) => record.id,
  (record) => record.account,
  (record) => record.keyId,
  (record) => record.clientRequestId,
  (record) => printable(record.requestedModel),
  (record) => record.model,
  (record) => record.provider,
  (record) => JSON.stringify(toAttempts(record)),
  (record) => String(record.tokens.input),
  (record) => String(record.tokens.cached_read),
  (record) => String(record.tokens.cache_write),
  (record) => String(record.tokens.output),
  (record) => String(record.tokens.reasoning),
  (record) => record.usageSource,
  (record) => String(record.cost),
  (record) => String(Math.round(record.latencyMs)),
  (record) => (record.firstChunkMs === null ? null : String(Math.round(record.firstChunkMs))),
  (record) => String(record.status),
  (record) => record.outcome,
  (record) => JSON.stringify(record.details),
  (record) => String(record.stream),
  (record) => new Date(record.startedAt).toISOString()
]

const writeNew = `SELECT requests_write(ARRAY[${names.map((_, at) => `$${at + 1}::text`).join(", ")}], $${names.length + 1}::text::jsonb) AS written`

/** What some requests add to one hour of one key, model and provider; a row of `usage_hours`. */
const makeHour = (record: RequestRecord, hour: number) => ({
  account: record.account,
  hour: new Date(hour).toISOString(),
  key_id: record.keyId,
  model: record.model ?? "",
  provider: record.provider ?? "",
  requests: 0,
  errors: 0,
  cancelled: 0,
  input: 0,
  cached_read: 0,
  cache_write: 0,
  output: 0,
  reasoning: 0,
  cost: 0n,
  latency: new Map<number, number>(),
  first_chunk: new Map<number, number>()
})
type Hour = ReturnType<typeof makeHour>

const count = (histogram: Map<number, number>, ms: number): void => {
  const bucket = bucketOf(ms)
  histogram.set(bucket, (histogram.get(bucket) ?? 0) + 1)
}

const add = (hour: Hour, record: RequestRecord): void => {
  const { firstChunkMs, latencyMs, tokens } = record
  hour.requests++
  hour.errors += isFailed(record) ? 1 : 0
  hour.cancelled += record.outcome === "cancelled" ? 1 : 0
  hour.input += tokens.input
  hour.cached_read += tokens.cached_read
  hour.cache_write += tokens.cache_write
  hour.output += tokens.output
  hour.reasoning += tokens.reasoning
  hour.cost += record.cost
  if (!isAnswered(record)) return
  count(hour.latency, latencyMs)
  if (firstChunkMs !== null) count(hour.first_chunk, firstChunkMs)
}

const HOUR = 3_600_000

const hoursOf = (records: ReadonlyArray<RequestRecord>): string => {
  const hours = new Map<string, Hour>()
  for (const record of records) {
    const at = record.startedAt - (record.startedAt % HOUR)
    const name = `${record.account} ${record.keyId} ${record.model} ${record.provider} ${at}`
    const hour = hours.get(name) ?? makeHour(record, at)
    hours.set(name, hour)
    add(hour, record)
  }
  const rows = Array.from(hours.values(), (hour) => ({
    ...hour,
    cost: String(hour.cost),
    latency: Object.fromEntries(hour.latency),
    first_chunk: Object.fromEntries(hour.first_chunk)
  }))
  return JSON.stringify(rows)
}

/**
 * A request that ran again under its id (it had failed uncharged) takes the place of what it was, and counts once more, as does
 * the end of one that was taken for lost. A
 * group that is sent again, because nobody knows what became of it, changes nothing where it was written.
 */
const write = `WITH given AS (SELECT * FROM ${given}), written AS (
    INSERT INTO requests (${columns}) SELECT ${columns} FROM given
    ON CONFLICT (id) DO UPDATE SET ${names
      .filter((column) => column !== "id" && column !== "account")
      .map((column) => `${column} = excluded.${column}`)
      .join(", ")}
    WHERE requests.created_at < excluded.created_at OR (requests.outcome = 'lost' AND excluded.outcome <> 'lost') RETURNING id
  ), counted AS (
    SELECT account, date_trunc('hour', created_at, 'UTC') AS hour, key_id, coalesce(model, '') AS model, coalesce(provider, '') AS provider,
      failed, cancelled, input, cached_read, cache_write, output, reasoning, cost, latency_bucket, first_chunk_bucket
    FROM given WHERE id IN (SELECT id FROM written)
  ), summed AS (
    SELECT ${group}, count(*) AS requests, sum(failed) AS errors, sum(cancelled) AS cancelled, sum(input) AS input,
      sum(cached_read) AS cached_read, sum(cache_write) AS cache_write, sum(output) AS output, sum(reasoning) AS reasoning, sum(cost) AS cost
    FROM counted GROUP BY ${group}
  ), latencies AS (${histogram("latency_bucket")}), first_chunks AS (${histogram("first_chunk_bucket")})
  INSERT INTO usage_hours (${group}, ${sums.join(", ")}, latency, first_chunk)
  SELECT ${group}, ${sums.join(", ")}, coalesce(l.histogram, '{}'), coalesce(f.histogram, '{}')
  FROM summed LEFT JOIN latencies l USING (${group}) LEFT JOIN first_chunks f USING (${group}) ORDER BY ${group}
  ON CONFLICT (${group}) DO UPDATE SET ${sums.map((sum) => `${sum} = usage_hours.${sum} + excluded.${sum}`).join(", ")},
    latency = histogram_add(usage_hours.latency, excluded.latency),
    first_chunk = histogram_add(usage_hours.first_chunk, excluded.first_chunk)`

/** The least id that a request of a moment may have. @category accessors @since 0.1.0 */
export const idAt = (ms: number): string => {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0")
  return `${hex.slice(0, 8)}-${hex.slice(8)}`
}

/** @category constructors @since 0.1.0 */
export const make = Effect.map(SqlClient.SqlClient, (sql) => ({
  write: (records: ReadonlyArray<RequestRecord>) => {
    // One statement may change a row once: the last of an id stands for those before.
    const last = [...new Map(records.map((record) => [record.id, record])).values()]
    const writeAgain = Effect.suspend(() => Effect.asVoid(sql.unsafe(write, [JSON.stringify(last.map(toJson))])))
    // In a column nothing and a text of no length are one.
    if (last.some((record) => record.requestedModel === "" || record.keyId === "")) return writeAgain
    const columns = values.map((valueOf) => Columns.join(last, valueOf))
    return Effect.flatMap(sql.unsafe<{ readonly written: boolean }>(writeNew, [...columns, hoursOf(last)]), ([row]) =>
      row?.written === true ? Effect.void : writeAgain
    )
  },
  /** Forgets requests from before a moment, up to a number; gives how many. */
  forget: (before: number, limit: number) =>
    Effect.map(
      sql`DELETE FROM requests WHERE id IN (
        SELECT id FROM requests WHERE id < ${idAt(before)} ORDER BY id LIMIT ${String(limit)}::text::int) RETURNING id`,
      (rows) => rows.length
    ),
  /** Forgets sums from before a moment. */
  forgetSums: (before: number, limit: number) =>
    Effect.map(
      sql`DELETE FROM usage_hours WHERE ctid IN (
        SELECT ctid FROM usage_hours WHERE hour < ${new Date(before).toISOString()}::text::timestamptz LIMIT ${String(limit)}::text::int) RETURNING account`,
      (rows) => rows.length
    )
}))

/** @category models @since 0.1.0 */
export type RequestBook = Effect.Success<typeof make>
