/**
 * Requests that run for long are written down while they do, so that a crash leaves their names: each becomes a row `lost`.
 *
 * One that ends at once costs nothing but its place in a map. Whether a process is gone is the ledger's to know.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Latch, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import { Ledger } from "../ledger/Ledger.ts"
import { type LeftRequest, toRecord } from "./LeftRequest.ts"
import { Outcomes } from "./Outcomes.ts"
import { make as makeBook, type RequestBook } from "./RequestBook.ts"
import { RequestLog } from "./RequestLog.ts"
import * as UntoldRequests from "./UntoldRequests.ts"

/** A request that has begun. @category models @since 0.1.0 */
export interface RunningRequest {
  readonly id: string
  readonly account: string
  readonly keyId: string
  readonly clientRequestId: string | null
  readonly requestedModel: string
  readonly stream: boolean
  /** Epoch milliseconds. */
  readonly startedAt: number
}

/** @category services @since 0.1.0 */
export class RunningRequests extends Context.Service<
  RunningRequests,
  {
    /** Notes a request; its outcome ends it. */
    readonly begin: (request: RunningRequest) => void
    /** Writes rows of what processes that are gone were at. */
    readonly reclaim: Effect.Effect<void>
  }
>()("sluice/usage/RunningRequests") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** A request that runs longer, in milliseconds, is written down; how often that is looked for, and how often the ended are forgotten. */
const LONG = 500
const LOOK_EVERY = 100
const FORGET_EVERY = 1_000
const RECLAIM_EVERY = 5_000
/** Rows of one statement. */
const BATCH = 500
/** How long the last statement may take when the process ends. */
const LAST = 3_000

const Left = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    account: Schema.String,
    key_id: Schema.String,
    client_request_id: Schema.NullOr(Schema.String),
    requested_model: Schema.String,
    stream: Schema.Boolean,
    started_at: Schema.NumberFromString,
    kind: Schema.NullOr(Schema.Literals(["charge", "refund"])),
    cost: Schema.NullOr(Schema.BigIntFromString),
    model: Schema.NullOr(Schema.String),
    provider: Schema.NullOr(Schema.String)
  })
)

/** What is known of a request whose process is gone: the book may have its end all the same. */
const toLeft = (left: (typeof Left.Type)[number]): LeftRequest => ({
  account: left.account,
  id: left.id,
  keyId: left.key_id,
  clientRequestId: left.client_request_id,
  requestedModel: left.requested_model,
  model: left.model,
  provider: left.provider,
  kind: left.kind,
  cost: left.cost ?? 0n,
  startedAt: left.started_at,
  stream: left.stream
})

/** The statements. */
const makeTable = Effect.map(SqlClient.SqlClient, (sql) => ({
  add: (node: string, requests: ReadonlyArray<RunningRequest>) => {
    const rows = requests.map(({ startedAt, ...request }) => ({ ...request, startedAt: new Date(startedAt).toISOString() }))
    return sql`INSERT INTO requests_running (id, node, account, key_id, client_request_id, requested_model, stream, started_at)
      SELECT id, ${node}::text::bigint, account, "keyId", "clientRequestId", left("requestedModel", 200), stream, "startedAt"
      FROM jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) AS t (id text, account text, "keyId" text, "clientRequestId" text,
        "requestedModel" text, stream boolean, "startedAt" timestamptz) ORDER BY id
      ON CONFLICT (id) DO UPDATE SET node = excluded.node, started_at = excluded.started_at`
  },
  move: (node: string, ids: ReadonlyArray<string>) =>
    sql`UPDATE requests_running SET node = ${node}::text::bigint
      WHERE id IN (SELECT jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb))`,
  remove: (ids: ReadonlyArray<string>) =>
    sql`DELETE FROM requests_running WHERE id IN (SELECT jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb))`,
  left: Effect.flatMap(
    sql`SELECT r.id, r.account, r.key_id, r.client_request_id, r.requested_model, r.stream,
        floor(extract(epoch FROM r.started_at) * 1000)::text AS started_at, e.kind, e.cost::text AS cost, e.model, e.provider
      FROM requests_running r JOIN ledger_nodes n ON n.id = r.node LEFT JOIN entries e ON e.rid = r.id AND e.kind IN ('charge', 'refund')
      WHERE n.state = 'dead' ORDER BY r.id LIMIT ${String(BATCH)}::text::int`,
    Schema.decodeUnknownEffect(Left)
  )
}))

/** Writes rows of what was left, then forgets it: two who do so at once write the same. */
const reclaimWith = (table: Effect.Success<typeof makeTable>, book: RequestBook, untold: Effect.Effect<void, unknown>) =>
  Effect.gen(function* () {
    let left = yield* table.left
    while (left.length > 0) {
      yield* book.write(left.map((row) => toRecord(toLeft(row))))
      yield* table.remove(left.map(({ id }) => id))
      yield* Effect.logWarning(`${left.length} requests were cut by the end of a process`)
      left = left.length < BATCH ? [] : yield* table.left
    }
    yield* untold
  }).pipe(
    Effect.catch((error) => Effect.logWarning(`Requests of processes that are gone could not be read: ${messageOf(error).slice(0, 300)}`))
  )

const make = Effect.gen(function* () {
  const ledger = yield* Ledger
  const log = yield* RequestLog
  const outcomes = yield* Outcomes
  const table = yield* makeTable
  const book = yield* makeBook
  const reclaim = reclaimWith(table, book, yield* UntoldRequests.make(book))
  let running = new Map<string, RunningRequest>()
  const written = new Set<string>()
  const some = Latch.makeUnsafe(false)
  let node = ledger.node()

  yield* outcomes.subscribe(({ rid }) => {
    running.delete(rid)
  })

  /** Those that run for long and are not written yet, the oldest first. */
  const long = (now: number): ReadonlyArray<RunningRequest> => {
    const found: Array<RunningRequest> = []
    for (const request of running.values()) {
      if (now - request.startedAt < LONG || found.length === BATCH) break
      if (!written.has(request.id)) found.push(request)
    }
    return found
  }

  const write = Effect.gen(function* () {
    const fresh = long(yield* Clock.currentTimeMillis)
    // The ledger may have begun anew under another number: what runs belongs to that.
    const present = ledger.node()
    if (present !== node && written.size > 0) yield* table.move(present, [...written])
    node = present
    if (fresh.length === 0) return
    yield* table.add(node, fresh)
    for (const { id } of fresh) written.add(id)
  })

  const forget = Effect.gen(function* () {
    const ended = [...written].filter((id) => !running.has(id))
    if (ended.length === 0) return
    // A request is not forgotten here before its row is there.
    yield* log.flush
    yield* table.remove(ended)
    for (const id of ended) written.delete(id)
  })
  const orTold = (work: Effect.Effect<void, unknown>) =>
    Effect.catch(work, (error) => Effect.logDebug(`Running requests could not be written: ${messageOf(error).slice(0, 300)}`))

  yield* reclaim
  yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeout(Effect.andThen(orTold(write), orTold(forget)), LAST)))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(RECLAIM_EVERY), reclaim)))
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        if (running.size + written.size === 0) some.closeUnsafe()
        yield* some.await
        yield* Effect.sleep(LOOK_EVERY)
        yield* orTold(write)
        // The tables that a Map has grown out of lead to the next: an old one would keep all that ended since from being collected young.
        running = new Map(running)
      })
    )
  )
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(FORGET_EVERY), orTold(forget))))
  return RunningRequests.of({
    begin: (request) => {
      running.set(request.id, request)
      some.openUnsafe()
    },
    reclaim
  })
})
