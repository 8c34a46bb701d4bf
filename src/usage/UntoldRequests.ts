/**
 * Requests whose end the book has and whose row died with their process: each gets one of what the book knows of it.
 *
 * Rows are gathered for a moment before they are written, ends are not. A request that ran for longer is among the running ones,
 * so that only the last few seconds of a process are looked through, once.
 *
 * @since 0.1.0
 */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { toRecord } from "./LeftRequest.ts"
import { idAt, type RequestBook, type RequestRecord } from "./RequestBook.ts"

/** What may have been begun this long (milliseconds) before a process was heard of last, and have no row. */
const LOOK_BACK = 15_000
/** A process that was only taken for dead has written its rows this many seconds later. */
const GRACE = 5
/** Rows of one statement. */
const BATCH = 500

/** @category migrations @since 0.1.0 */
export const createUntold = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // What ended before this was written down is left alone.
  yield* sql.unsafe("ALTER TABLE ledger_nodes ADD COLUMN rows_told boolean NOT NULL DEFAULT true")
  yield* sql.unsafe("ALTER TABLE ledger_nodes ALTER COLUMN rows_told SET DEFAULT false")
})

const Nodes = Schema.Array(Schema.Struct({ id: Schema.String, heard_at: Schema.NumberFromString }))

const Ends = Schema.Array(
  Schema.Struct({
    account: Schema.String,
    rid: Schema.String,
    kind: Schema.Literals(["charge", "refund"]),
    cost: Schema.BigIntFromString,
    model: Schema.NullOr(Schema.String),
    provider: Schema.NullOr(Schema.String),
    usage: Schema.NullOr(Schema.String),
    ended_at: Schema.NumberFromString
  })
)

const Counts = Schema.fromJsonString(
  Schema.Struct({
    input: Schema.Number,
    cachedRead: Schema.Number,
    cacheWrite: Schema.Number,
    output: Schema.Number,
    reasoning: Schema.Number,
    source: Schema.Literals(["provider", "estimated"])
  })
)

const nothing = { input: 0, cachedRead: 0, cacheWrite: 0, output: 0, reasoning: 0, source: "estimated" as const }

/** An id begins with its time. */
const timeOf = (id: string, otherwise: number): number => {
  const [high = "", low = ""] = id.split("-")
  const time = Number.parseInt(high + low, 16)
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7/.test(id) && time <= otherwise ? time : otherwise
}

const recordOf = (end: (typeof Ends.Type)[number]): Effect.Effect<RequestRecord> =>
  Effect.map(
    Effect.orElseSucceed(Schema.decodeUnknownEffect(Counts)(end.usage), () => nothing),
    ({ cacheWrite, cachedRead, input, output, reasoning, source }) => {
      const { account, cost, kind, model, provider, rid: id } = end
      const startedAt = timeOf(id, end.ended_at)
      const about = { keyId: "", clientRequestId: null, requestedModel: model ?? "", stream: false }
      return {
        ...toRecord({ account, id, ...about, model, provider, kind, cost, startedAt }),
        tokens: { input, cached_read: cachedRead, cache_write: cacheWrite, output, reasoning },
        usageSource: source,
        latencyMs: end.ended_at - startedAt
      }
    }
  )

/** Writes the rows that processes which are gone have left unwritten. @category constructors @since 0.1.0 */
export const make = (book: RequestBook): Effect.Effect<Effect.Effect<void, unknown>, never, SqlClient.SqlClient> =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const gone = Effect.flatMap(
      sql`SELECT id::text AS id, floor(extract(epoch FROM heartbeat_at) * 1000)::text AS heard_at FROM ledger_nodes
        WHERE state = 'dead' AND NOT rows_told AND heartbeat_at < clock_timestamp() - ${String(GRACE)}::text::int * interval '1 second'
        ORDER BY ledger_nodes.id LIMIT ${String(BATCH)}::text::int`,
      Schema.decodeUnknownEffect(Nodes)
    )
    const ends = (node: string, from: string) =>
      Effect.flatMap(
        sql`SELECT e.account, e.rid, e.kind, (e.cost - e.shortfall)::text AS cost, e.model, e.provider, e.usage,
            floor(extract(epoch FROM e.created_at) * 1000)::text AS ended_at
          FROM entries e LEFT JOIN requests r ON r.id = e.rid
          WHERE e.rid >= ${from} AND e.node = ${node}::text::bigint AND e.kind IN ('charge', 'refund') AND r.id IS NULL
          ORDER BY e.rid LIMIT ${String(BATCH)}::text::int`,
        Schema.decodeUnknownEffect(Ends)
      )
    return Effect.gen(function* () {
      for (const node of yield* gone) {
        const from = idAt(node.heard_at - LOOK_BACK)
        let left = yield* ends(node.id, from)
        while (left.length > 0) {
          yield* book.write(yield* Effect.forEach(left, recordOf))
          left = left.length < BATCH ? [] : yield* ends(node.id, from)
        }
        yield* sql`UPDATE ledger_nodes SET rows_told = true WHERE id = ${node.id}::text::bigint`
      }
    })
  })
