/**
 * One row a request, written in groups off the path, and what of them is forgotten in time.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Latch, Layer, Metric, Schema, Semaphore } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import { isDataError, messageOf } from "../database/Failures.ts"
import * as Singletons from "../replicas/Singletons.ts"
import { idAt, make as makeBook, type RequestBook, type RequestRecord } from "./RequestBook.ts"
import { type RequestRow, StoredRequest, storedColumns, toRow } from "./RequestRow.ts"

/** What a list of requests asks for; times are epoch milliseconds. @category models @since 0.1.0 */
export interface RequestQuery {
  readonly limit: number
  /** Id of the last row of the page before. */
  readonly cursor: string | null
  readonly model?: string | undefined
  readonly provider?: string | undefined
  readonly outcome?: string | undefined
  readonly key?: string | undefined
  readonly status?: number | undefined
  readonly from?: number | undefined
  readonly to?: number | undefined
}

/** The rows could not be read. @category errors @since 0.1.0 */
export class RequestLogError extends Schema.TaggedError<RequestLogError>()("RequestLogError", { message: Schema.String }) {}

/** @category models @since 0.1.0 */
export interface RequestLogOptions {
  /** How long a request's row is kept. */
  readonly retentionDays: number
}

/** @category services @since 0.1.0 */
export class RequestLog extends Context.Service<
  RequestLog,
  {
    /** Queues a row. Never waits; a row beyond the queue's bound is dropped and counted. */
    readonly record: (record: RequestRecord) => Effect.Effect<void>
    /** The same, at once. */
    readonly recordUnsafe: (record: RequestRecord) => void
    /** Writes what is queued now, as far as the database takes it. */
    readonly flush: Effect.Effect<void>
    /** Newest first, with what this process has not written yet. */
    readonly list: (
      accountId: AccountId,
      query: RequestQuery
    ) => Effect.Effect<{ readonly data: ReadonlyArray<RequestRow>; readonly next: string | null }, RequestLogError>
    readonly get: (accountId: AccountId, id: string) => Effect.Effect<RequestRow | null, RequestLogError>
  }
>()("sluice/usage/RequestLog") {
  static readonly layer = (options: RequestLogOptions) =>
    Layer.effect(
      this,
      Effect.gen(function* () {
        const book = yield* makeBook
        const sql = yield* SqlClient.SqlClient
        const queue = yield* makeQueue(book)
        yield* Singletons.every("old request rows", FORGET_EVERY, forgetOld(book, options.retentionDays))
        return RequestLog.of({ ...queue, ...reads(sql, queue.flush) })
      })
    )
}

const QUEUE_MAX = 20_000
const BATCH = 250
const PAUSE = 500
const PAUSE_AWAY = 2_000
/** How long the last rows may take when the process ends. */
const LAST = 5_000
const HOUR = 3_600_000
const DAY = 24 * HOUR
const FORGET_EVERY = HOUR
const FORGET_AT_ONCE = 500
const FORGET_PAUSE = 100
/** Sums by hour are small: kept longer than any range that may be asked for. */
const SUMS_DAYS = 400

const dropped = Metric.counter("sluice_request_rows_dropped_total", {
  description: "Request rows that could not be written",
  incremental: true
})

const makeQueue = Effect.fnUntraced(function* (book: RequestBook) {
  const context = yield* Effect.context<never>()
  const queue: Array<RequestRecord> = []
  const wake = Latch.makeUnsafe(false)
  const turn = Semaphore.makeUnsafe(1)

  const drop = (count: number, error: unknown) =>
    Effect.andThen(
      Effect.logWarning(`${count} request rows can never be written: ${messageOf(error).slice(0, 300)}`),
      Metric.update(dropped, count)
    )

  /** A row that the database can never take is found and dropped, and keeps no other from being written. */
  const write = (batch: ReadonlyArray<RequestRecord>): Effect.Effect<void, unknown> =>
    Effect.catch(book.write(batch), (error) => {
      if (!isDataError(error)) return Effect.fail(error)
      if (batch.length <= 1) return drop(batch.length, error)
      const half = Math.ceil(batch.length / 2)
      return Effect.andThen(write(batch.slice(0, half)), write(batch.slice(half)))
    })

  /** Writes what is queued, oldest first; fails when the database is away, and what is not written stays. */
  const drain = turn.withPermits(1)(
    Effect.gen(function* () {
      // What comes meanwhile is left for the next time: many small groups would cost more than they are worth.
      for (let left = queue.length; left > 0; ) {
        const batch = queue.slice(0, Math.min(BATCH, left))
        yield* write(batch)
        queue.splice(0, batch.length)
        left -= batch.length
        // A database in this process has its thread while it writes: whoever came meanwhile is answered before the next.
        yield* Effect.yieldNow
      }
    })
  )

  const recordUnsafe = (row: RequestRecord): void => {
    if (queue.length >= QUEUE_MAX) dropped.updateUnsafe(1, context)
    else {
      queue.push(row)
      wake.openUnsafe()
    }
  }
  const record = (row: RequestRecord) => Effect.sync(() => recordUnsafe(row))

  const told = (error: unknown) =>
    Effect.andThen(
      Effect.logWarning(`Request rows could not be written and are kept: ${messageOf(error).slice(0, 300)}`),
      Effect.sleep(PAUSE_AWAY)
    )
  yield* Effect.addFinalizer(() => Effect.catch(Effect.timeout(drain, LAST), (error) => Effect.suspend(() => drop(queue.length, error))))
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* wake.await
        wake.closeUnsafe()
        yield* Effect.catch(drain, (error) => Effect.andThen(told(error), wake.open))
        yield* Effect.sleep(PAUSE)
      })
    )
  )
  return { record, recordUnsafe, flush: Effect.ignore(drain) }
})

/** A request that ran again under its id may be a day younger than that says. */
const RERUN = DAY + HOUR

const reads = (sql: SqlClient.SqlClient, flush: Effect.Effect<void>): Pick<RequestLog["Service"], "list" | "get"> => {
  const columns = sql.literal(storedColumns)
  const decode = Schema.decodeUnknownEffect(Schema.Array(StoredRequest))
  const read = (statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
    Effect.andThen(flush, statement).pipe(
      Effect.flatMap(decode),
      Effect.map((rows) => rows.map(toRow)),
      Effect.mapError((error) => new RequestLogError({ message: messageOf(error).slice(0, 300) }))
    )

  const list = Effect.fnUntraced(function* (account: AccountId, query: RequestQuery) {
    const wanted: Array<Statement.Fragment> = [sql`r.account = ${account}`]
    if (query.cursor !== null) wanted.push(sql`r.id < ${query.cursor}`)
    if (query.model !== undefined) wanted.push(sql`r.model = ${query.model}`)
    if (query.provider !== undefined) wanted.push(sql`r.provider = ${query.provider}`)
    if (query.outcome !== undefined) wanted.push(sql`r.outcome = ${query.outcome}`)
    if (query.key !== undefined) wanted.push(sql`r.key_id = ${query.key}`)
    if (query.status !== undefined) wanted.push(sql`r.status = ${String(query.status)}::text::int`)
    if (query.from !== undefined) {
      wanted.push(sql`r.id >= ${idAt(query.from - RERUN)} AND r.created_at >= ${new Date(query.from).toISOString()}::text::timestamptz`)
    }
    if (query.to !== undefined) {
      wanted.push(sql`r.id < ${idAt(query.to)} AND r.created_at < ${new Date(query.to).toISOString()}::text::timestamptz`)
    }
    const rows = yield* read(
      sql`SELECT ${columns} FROM requests r WHERE ${sql.and(wanted)} ORDER BY r.id DESC LIMIT ${String(query.limit + 1)}::text::int`
    )
    const data = rows.slice(0, query.limit)
    return { data, next: rows.length > query.limit ? (data.at(-1)?.id ?? null) : null }
  })

  const get = (account: AccountId, id: string) =>
    Effect.map(read(sql`SELECT ${columns} FROM requests r WHERE r.account = ${account} AND r.id = ${id}`), (rows) => rows[0] ?? null)

  return { list, get }
}

/** Forgets what is too old, a little at a time. @category running @since 0.1.0 */
export const forgetOld = (book: RequestBook, retentionDays: number) =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const all = (forget: Effect.Effect<number, unknown>) =>
      Effect.gen(function* () {
        while ((yield* forget) === FORGET_AT_ONCE) yield* Effect.sleep(FORGET_PAUSE)
      })
    yield* all(book.forget(now - retentionDays * DAY, FORGET_AT_ONCE))
    yield* all(book.forgetSums(now - SUMS_DAYS * DAY, FORGET_AT_ONCE))
  }).pipe(Effect.catch((error) => Effect.logWarning(`Old request rows could not be forgotten: ${messageOf(error).slice(0, 300)}`)))
