/**
 * What the dispatcher says to the database: which endpoints are due, what goes to them, and how it went.
 *
 * A process takes an endpoint, not a delivery: so one endpoint gets one message at a time, in the order of its events, by one
 * replica. What a process that died has taken is free when its death is known (by its node in the ledger), or when the lease
 * lapses; an attempt that it may have made is then made again under the same id.
 *
 * @since 0.1.0
 */
import { Array as Arr, Effect, Redacted, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { Fernet } from "../identity/Fernet.ts"
import { utc } from "./EventsSchema.ts"

/** An endpoint taken by this process. @category models @since 0.1.0 */
export interface TakenEndpoint {
  readonly id: string
  readonly url: string
  readonly failing: boolean
  /** The present one, and the one before while it signs too; none when they cannot be read. */
  readonly secrets: ReadonlyArray<Redacted.Redacted>
}

/** One attempt that is due. @category models @since 0.1.0 */
export interface DueDelivery {
  readonly id: string
  readonly attempt: number
  readonly eventId: string
  readonly body: string
}

/** How an attempt went; `againInMs` null makes no other. @category models @since 0.1.0 */
export interface Attempted {
  readonly delivered: boolean
  readonly statusCode: number | null
  readonly durationMs: number
  readonly error: string | null
  readonly againInMs: number | null
}

const Taken = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    url: Schema.String,
    failing: Schema.Boolean,
    secret: Schema.String,
    previous: Schema.NullOr(Schema.String)
  })
)
const Due = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    attempt: Schema.Number,
    event_id: Schema.String,
    type: Schema.String,
    data: Schema.fromJsonString(Schema.Unknown),
    created_at: Schema.String
  })
)

/** A lease outlives an attempt and what is written about it. */
const LEASE = "interval '30 seconds'"

/** Endpoints with something due, one index probe for each endpoint that waits for anything: a long queue of one hides no other. */
const waiting = `WITH RECURSIVE waiting (id) AS (
    (SELECT min(webhook) FROM webhook_deliveries WHERE status = 'pending')
    UNION ALL
    SELECT (SELECT min(webhook) FROM webhook_deliveries WHERE status = 'pending' AND webhook > waiting.id) FROM waiting WHERE waiting.id IS NOT NULL
  ), ready AS (
    SELECT w.id FROM waiting JOIN webhooks w ON w.id = waiting.id`

const isDue =
  "EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.webhook = w.id AND d.status = 'pending' AND d.next_at <= clock_timestamp())"
const isFree = `(w.lease_until IS NULL OR w.lease_until < clock_timestamp()
  OR NOT EXISTS (SELECT 1 FROM ledger_nodes n WHERE n.id = w.lease_node AND n.state = 'live'))`

/** @category constructors @since 0.1.0 */
export const make = (fernet: Fernet) =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const number = (value: number) => String(Math.round(value))

    // A secret under a key that is gone keeps no other waiting.
    const readable = (token: string) => Effect.option(fernet.decrypt(token))

    const open = (row: (typeof Taken.Type)[number]) =>
      Effect.map(
        Effect.forEach(row.previous === null ? [row.secret] : [row.secret, row.previous], readable),
        (secrets): TakenEndpoint => ({
          id: row.id,
          url: row.url,
          failing: row.failing,
          secrets: Arr.getSomes(secrets).map((secret) => Redacted.make(secret))
        })
      )

    /** Takes up to `limit` endpoints that are due, longest unserved first. */
    const take = Effect.fnUntraced(function* (node: string, failing: boolean, limit: number) {
      const rows = yield* sql`${sql.literal(waiting)}
          WHERE w.enabled AND w.failing = ${failing} AND ${sql.literal(isFree)} AND ${sql.literal(isDue)}
          ORDER BY w.served_at LIMIT ${number(limit)}::text::int FOR NO KEY UPDATE OF w SKIP LOCKED
        ) UPDATE webhooks w SET lease_node = ${node}::text::bigint, lease_until = clock_timestamp() + ${sql.literal(LEASE)}, served_at = clock_timestamp()
        FROM ready WHERE w.id = ready.id
        RETURNING w.id, w.url, w.failing, w.secret,
          CASE WHEN w.previous_secret_until > clock_timestamp() THEN w.previous_secret END AS previous`
      return yield* Effect.forEach(yield* Schema.decodeUnknownEffect(Taken)(rows), open)
    })

    /** The next that is due at an endpoint which this node still has, in the order of events. */
    const next = Effect.fnUntraced(function* (node: string, webhook: string) {
      const rows = yield* sql`SELECT d.id::text AS id, d.attempt, e.id AS event_id, e.type, e.data::text AS data,
          ${sql.literal(utc("e.created_at"))} AS created_at
        FROM webhook_deliveries d JOIN events e ON e.seq = d.event JOIN webhooks w ON w.id = d.webhook
        WHERE d.webhook = ${webhook} AND d.status = 'pending' AND d.next_at <= clock_timestamp()
          AND w.enabled AND w.lease_node = ${node}::text::bigint AND w.lease_until > clock_timestamp()
        ORDER BY d.event, d.id LIMIT 1`
      const [row] = yield* Schema.decodeUnknownEffect(Due)(rows)
      if (row === undefined) return null
      // Made anew at each attempt and the same each time.
      const body = JSON.stringify({ id: row.event_id, type: row.type, timestamp: row.created_at, data: row.data })
      return { id: row.id, attempt: row.attempt, eventId: row.event_id, body }
    })

    /** Writes an attempt down, with the one after it, and keeps the endpoint. */
    const record = (node: string, webhook: string, delivery: DueDelivery, attempted: Attempted) => {
      const { againInMs, delivered, durationMs, error, statusCode } = attempted
      const again = againInMs === null ? null : number(againInMs)
      return sql`WITH done AS (
          UPDATE webhook_deliveries SET status = ${delivered ? "delivered" : "failed"},
            status_code = ${statusCode === null ? null : number(statusCode)}::text::int, duration_ms = ${number(durationMs)}::text::int,
            error = ${error}::text, next_at = clock_timestamp() + ${again}::text::int * interval '1 millisecond'
          WHERE id = ${delivery.id}::text::bigint AND status = 'pending' RETURNING webhook, event, attempt, next_at
        ), again AS (
          INSERT INTO webhook_deliveries (webhook, event, attempt, next_at)
          SELECT webhook, event, attempt + 1, next_at FROM done WHERE next_at IS NOT NULL
        ) UPDATE webhooks SET failing = ${!delivered}, lease_until = clock_timestamp() + ${sql.literal(LEASE)}
          WHERE id = ${webhook} AND lease_node = ${node}::text::bigint`
    }

    /** Gives an endpoint back. */
    const leave = (node: string, webhook: string) =>
      sql`UPDATE webhooks SET lease_node = NULL, lease_until = NULL WHERE id = ${webhook} AND lease_node = ${node}::text::bigint`

    /** Forgets a number of events of long ago and how they were delivered; gives how many. */
    const forget = (days: number, limit: number) =>
      Effect.map(
        sql`DELETE FROM events WHERE seq IN (
          SELECT seq FROM events WHERE created_at < clock_timestamp() - ${number(days)}::text::int * interval '1 day' ORDER BY created_at LIMIT ${number(limit)}::text::int
        ) RETURNING seq`,
        (rows) => rows.length
      )

    return { take, next, record, leave, forget }
  })

/** @category models @since 0.1.0 */
export type DeliveryBook = Effect.Success<ReturnType<typeof make>>
