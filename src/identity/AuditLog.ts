/**
 * What was done with accounts, by whom, and what was refused: appended, never changed.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Latch, Layer, Metric, Schema, Semaphore } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import { messageOf } from "../database/Failures.ts"
import { type AccountsError, fromDatabase, isoColumn } from "./AccountsError.ts"

/** Who does something, and from where. @category models @since 0.1.0 */
export interface Actor {
  /** A user's id; `operator` for the admin key, `unknown` for whoever showed no valid key. */
  readonly actor: string
  readonly ip: string | null
  readonly requestId: string | null
}

/** What is to be written down. No secret is. @category models @since 0.1.0 */
export interface AuditEvent extends Actor {
  readonly action: string
  /** The account it was done to; null where there is none. */
  readonly account: AccountId | null
  readonly reason?: string | null
  readonly details?: Readonly<Record<string, unknown>>
}

/** A record as the API shows it. @category schemas @since 0.1.0 */
export const AuditEntry = Schema.Struct({
  id: Schema.String,
  action: Schema.String,
  actor: Schema.String,
  account_id: Schema.NullOr(Schema.String),
  reason: Schema.NullOr(Schema.String),
  ip: Schema.NullOr(Schema.String),
  request_id: Schema.NullOr(Schema.String),
  details: Schema.Record(Schema.String, Schema.Unknown),
  created_at: Schema.String
}).annotate({ identifier: "AuditEntry" })
export type AuditEntry = typeof AuditEntry.Type

/** @category models @since 0.1.0 */
export interface AuditQuery {
  readonly limit: number
  /** Id of the last record of the page before. */
  readonly cursor: string | null
  readonly action?: string | undefined
  readonly account?: string | undefined
}

/** @category services @since 0.1.0 */
export class AuditLog extends Context.Service<
  AuditLog,
  {
    /** Queues a record; never waits. What the database does not take is tried again, and written before the end. */
    readonly record: (event: AuditEvent) => Effect.Effect<void>
    /** Writes a record now, as part of the caller's transaction. */
    readonly write: (event: AuditEvent) => Effect.Effect<void, AccountsError>
    /** Newest first, also what is not written yet. */
    readonly list: (
      query: AuditQuery
    ) => Effect.Effect<{ readonly data: ReadonlyArray<AuditEntry>; readonly next: string | null }, AccountsError>
  }
>()("sluice/identity/AuditLog") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

type Row = Readonly<Record<"id" | "action" | "actor" | "created_at", string>> &
  Readonly<Record<"account" | "reason" | "ip" | "request_id", string | null>> & { readonly details: Readonly<Record<string, unknown>> }

const QUEUE_MAX = 10_000
const BATCH = 200
const PAUSE = 200
/** Between two tries of a database that does not answer. */
const TROUBLE_PAUSE = 1_000
/** Tries before the end. */
const LAST_TRIES = 5

const lost = Metric.counter("sluice_audit_records_lost_total", {
  description: "Audit records that could not be kept; they are in the log",
  incremental: true
})

const Rows = Schema.Array(
  Schema.Struct({ ...AuditEntry.fields, details: Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown)) })
)

/** Text as the database takes it, so that no record stands in the way of those after it. */
const storable = (_key: string, value: unknown): unknown =>
  typeof value === "string" ? value.toWellFormed().replaceAll("\u0000", "\uFFFD") : value

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const random = yield* SecureRandom.SecureRandom
  const queue: Array<Row> = []
  const wake = Latch.makeUnsafe(false)

  const rowOf = Effect.fnUntraced(function* (event: AuditEvent) {
    const { account, action, actor, details, ip, reason, requestId } = event
    const created_at = new Date(yield* Clock.currentTimeMillis).toISOString()
    const row: Row = {
      id: yield* random.uuidV7(),
      action,
      actor,
      account,
      reason: reason ?? null,
      ip,
      request_id: requestId,
      details: details ?? {},
      created_at
    }
    return row
  })

  const insert = (
    rows: ReadonlyArray<Row>
  ) => sql`INSERT INTO audit_log (id, action, actor, account, reason, ip, request_id, details, created_at)
    SELECT id, action, actor, account, reason, ip, request_id, details, created_at
    FROM jsonb_to_recordset(${JSON.stringify(rows, storable)}::text::jsonb) AS t (id text, action text, actor text, account text,
      reason text, ip text, request_id text, details jsonb, created_at timestamptz)
    ON CONFLICT (id) DO NOTHING`

  const giveUp = (rows: ReadonlyArray<Row>) =>
    Effect.andThen(
      Effect.forEach(rows, (row) => Effect.logError("An audit record could not be kept", row), { discard: true }),
      Metric.update(lost, rows.length)
    )

  // One writer at a time, so that none removes what another has not written.
  const writer = yield* Semaphore.make(1)
  /** Writes what is queued, in order; what fails stays. */
  const flush = Effect.gen(function* () {
    while (queue.length > 0) {
      const batch = queue.slice(0, BATCH)
      yield* insert(batch)
      queue.splice(0, batch.length)
    }
  }).pipe(writer.withPermits(1))

  const record = Effect.fnUntraced(function* (event: AuditEvent) {
    const row = yield* rowOf(event)
    if (queue.length >= QUEUE_MAX) return yield* giveUp([row])
    queue.push(row)
    wake.openUnsafe()
  })

  const list = Effect.fnUntraced(function* ({ account, action, cursor, limit }: AuditQuery) {
    yield* flush
    const rows =
      yield* sql`SELECT id, action, actor, account AS account_id, reason, ip, request_id, details::text AS details, ${sql.literal(isoColumn("created_at"))}
      FROM audit_log WHERE (${cursor}::text IS NULL OR id < ${cursor}::text)
        AND (${action ?? null}::text IS NULL OR action = ${action ?? null}::text)
        AND (${account ?? null}::text IS NULL OR account = ${account ?? null}::text)
      ORDER BY id DESC LIMIT ${String(limit + 1)}::text::int`
    const found = yield* Schema.decodeUnknownEffect(Rows)(rows)
    const data = found.slice(0, limit)
    return { data, next: found.length > limit ? (data.at(-1)?.id ?? null) : null }
  }, Effect.mapError(fromDatabase))

  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      for (let tries = 1; tries <= LAST_TRIES && queue.length > 0; tries++) {
        if ((yield* Effect.exit(flush))._tag === "Failure") yield* Effect.sleep(PAUSE)
      }
      yield* giveUp(queue)
    })
  )
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* wake.await
        wake.closeUnsafe()
        yield* Effect.catch(flush, (error) => {
          wake.openUnsafe()
          return Effect.andThen(
            Effect.logWarning(`Audit records could not be written and are tried again: ${messageOf(error).slice(0, 300)}`),
            Effect.sleep(TROUBLE_PAUSE)
          )
        })
        yield* Effect.sleep(PAUSE)
      })
    )
  )

  return AuditLog.of({
    record,
    write: (event) => Effect.mapError(Effect.asVoid(Effect.flatMap(rowOf(event), (row) => insert([row]))), fromDatabase),
    list
  })
})
