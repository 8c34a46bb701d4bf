/**
 * One row a request, written in batches off the path.
 *
 * @since 0.1.0
 */
import { Context, Effect, Latch, Layer, Metric, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import { messageOf } from "../database/Failures.ts"

/** A request as the API shows it. Amounts are decimal strings in USD, times milliseconds and ISO-8601. @category schemas @since 0.1.0 */
export const RequestRow = Schema.Struct({
  id: Schema.String,
  client_request_id: Schema.NullOr(Schema.String),
  key_id: Schema.String,
  requested_model: Schema.String,
  model: Schema.NullOr(Schema.String),
  provider: Schema.NullOr(Schema.String),
  attempts: Schema.Array(
    Schema.Struct({
      provider: Schema.String,
      model: Schema.String,
      status: Schema.NullOr(Schema.Number),
      error: Schema.NullOr(Schema.String),
      latency_ms: Schema.Number
    })
  ),
  tokens: Schema.Struct({
    input: Schema.Number,
    cached_read: Schema.Number,
    cache_write: Schema.Number,
    output: Schema.Number,
    reasoning: Schema.Number
  }),
  usage_source: Schema.Literals(["provider", "estimated"]),
  cost_usd: Schema.String,
  latency_ms: Schema.Number,
  time_to_first_chunk_ms: Schema.NullOr(Schema.Number),
  status: Schema.Number,
  outcome: Schema.Literals(["ok", "cached", "cancelled", "rejected", "refunded", "lost"]),
  /** What a router decided, and why; null where the caller named the model. */
  routing: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)),
  stream: Schema.Boolean,
  created_at: Schema.String
})
export type RequestRow = typeof RequestRow.Type

/** What a list of requests asks for. @category models @since 0.1.0 */
export interface RequestQuery {
  readonly limit: number
  /** Id of the last row of the page before. */
  readonly cursor: string | null
  readonly model?: string | undefined
  readonly provider?: string | undefined
  readonly outcome?: string | undefined
}

/** The rows could not be read. @category errors @since 0.1.0 */
export class RequestLogError extends Schema.TaggedError<RequestLogError>()("RequestLogError", { message: Schema.String }) {}

const QUEUE_MAX = 10_000
const BATCH = 200
const PAUSE = 500

const dropped = Metric.counter("sluice_request_rows_dropped_total", {
  description: "Request rows that could not be written",
  incremental: true
})
const Rows = Schema.Array(Schema.Struct({ details: Schema.fromJsonString(RequestRow) }))

/** @category services @since 0.1.0 */
export class RequestLog extends Context.Service<
  RequestLog,
  {
    /** Queues a row. Never waits; a row beyond the queue's bound is dropped and counted. */
    readonly record: (accountId: AccountId, row: RequestRow) => Effect.Effect<void>
    /** Newest first, also what is not written yet. */
    readonly list: (
      accountId: AccountId,
      query: RequestQuery
    ) => Effect.Effect<{ readonly data: ReadonlyArray<RequestRow>; readonly next: string | null }, RequestLogError>
    readonly get: (accountId: AccountId, id: string) => Effect.Effect<RequestRow | null, RequestLogError>
  }
>()("sluice/usage/RequestLog") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const queue: Array<{ readonly account: string; readonly row: RequestRow }> = []
      const wake = Latch.makeUnsafe(false)

      const write = (batch: ReadonlyArray<{ readonly account: string; readonly row: RequestRow }>) => {
        const rows = JSON.stringify(batch.map(({ account, row }) => ({ ...row, account, details: row })))
        return sql`INSERT INTO requests (id, account, model, provider, outcome, created_at, details)
          SELECT id, account, model, provider, outcome, created_at, details
          FROM jsonb_to_recordset(${rows}::text::jsonb)
            AS t (id text, account text, model text, provider text, outcome text, created_at timestamptz, details jsonb)
          ON CONFLICT (id) DO NOTHING`
      }

      const flush = Effect.gen(function* () {
        while (queue.length > 0) {
          const batch = queue.splice(0, BATCH)
          yield* Effect.catch(write(batch), (error) =>
            Effect.andThen(
              Effect.logWarning(`${batch.length} request rows could not be written: ${messageOf(error).slice(0, 300)}`),
              Metric.update(dropped, batch.length)
            )
          )
        }
      })

      const record = (account: AccountId, row: RequestRow) =>
        Effect.suspend(() => {
          if (queue.length >= QUEUE_MAX) return Metric.update(dropped, 1)
          queue.push({ account, row })
          wake.openUnsafe()
          return Effect.void
        })

      const read = (statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
        Effect.andThen(flush, statement).pipe(
          Effect.flatMap(Schema.decodeUnknownEffect(Rows)),
          Effect.map((rows) => rows.map((row) => row.details)),
          Effect.mapError((error) => new RequestLogError({ message: messageOf(error).slice(0, 300) }))
        )

      const list = Effect.fnUntraced(function* (account: AccountId, query: RequestQuery) {
        const rows = yield* read(sql`SELECT details::text AS details FROM requests WHERE account = ${account}
          AND (${query.cursor}::text IS NULL OR id < ${query.cursor}::text)
          AND (${query.model ?? null}::text IS NULL OR model = ${query.model ?? null}::text)
          AND (${query.provider ?? null}::text IS NULL OR provider = ${query.provider ?? null}::text)
          AND (${query.outcome ?? null}::text IS NULL OR outcome = ${query.outcome ?? null}::text)
          ORDER BY id DESC LIMIT ${String(query.limit + 1)}::text::int`)
        const data = rows.slice(0, query.limit)
        return { data, next: rows.length > query.limit ? (data.at(-1)?.id ?? null) : null }
      })

      const get = (account: AccountId, id: string) =>
        Effect.map(
          read(sql`SELECT details::text AS details FROM requests WHERE account = ${account} AND id = ${id}`),
          (rows) => rows[0] ?? null
        )

      yield* Effect.addFinalizer(() => flush)
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.gen(function* () {
            yield* wake.await
            wake.closeUnsafe()
            yield* flush
            yield* Effect.sleep(PAUSE)
          })
        )
      )
      return RequestLog.of({ record, list, get })
    })
  )
}
