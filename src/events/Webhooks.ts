/**
 * The endpoints of an account and the log of what went to them.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64 } from "effect/encoding"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import { type NewWebhook, Webhook, type WebhookChange, WebhookDelivery } from "../../schemas/Webhook.ts"
import { messageOf } from "../database/Failures.ts"
import type { Fernet } from "../identity/Fernet.ts"
import { utc } from "./EventsSchema.ts"
import { WebhookDispatcher } from "./WebhookDispatcher.ts"
import { WebhookSender } from "./WebhookSender.ts"

/** @category errors @since 0.1.0 */
export class WebhooksError extends Schema.TaggedError<WebhooksError>()("WebhooksError", {
  reason: Schema.Literals(["not_found", "invalid_url", "too_many", "disabled", "unavailable"]),
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

/** An endpoint with its secret, shown now and never again. @category models @since 0.1.0 */
export interface MadeWebhook {
  readonly webhook: Webhook
  readonly secret: Redacted.Redacted
}

/** @category services @since 0.1.0 */
export class Webhooks extends Context.Service<
  Webhooks,
  {
    readonly create: (account: AccountId, wanted: NewWebhook) => Effect.Effect<MadeWebhook, WebhooksError>
    /** Newest first. */
    readonly list: (account: AccountId) => Effect.Effect<ReadonlyArray<Webhook>, WebhooksError>
    readonly get: (account: AccountId, id: string) => Effect.Effect<Webhook, WebhooksError>
    readonly change: (account: AccountId, id: string, change: WebhookChange) => Effect.Effect<Webhook, WebhooksError>
    /** The endpoint, its log and what it waits for are gone. */
    readonly remove: (account: AccountId, id: string) => Effect.Effect<Webhook, WebhooksError>
    /** A new secret; the one before signs too for a day, so that receivers can change over. */
    readonly rotate: (account: AccountId, id: string) => Effect.Effect<MadeWebhook, WebhooksError>
    /** Sends the endpoint an event of type `webhook.test`. */
    readonly test: (account: AccountId, id: string) => Effect.Effect<WebhookDelivery, WebhooksError>
    /** Newest first; `cursor` is what the page before gave as `next`. */
    readonly deliveries: (
      account: AccountId,
      id: string,
      page: { readonly limit: number; readonly cursor: string | null }
    ) => Effect.Effect<{ readonly data: ReadonlyArray<WebhookDelivery>; readonly next: string | null }, WebhooksError>
    /** Sends an event of the log again, now, from its first attempt; one that still waits for an attempt gets it now. */
    readonly redeliver: (account: AccountId, id: string, delivery: string) => Effect.Effect<WebhookDelivery, WebhooksError>
  }
>()("sluice/events/Webhooks") {
  static readonly layer = (options: { readonly fernet: Fernet }) => Layer.effect(this, make(options.fernet))
}

/** Endpoints of one account. */
const MOST = 20
const SECRET_BYTES = 32
/** How long the secret before the present one signs too. */
const OVERLAP = "interval '24 hours'"

const fail = (reason: WebhooksError["reason"], detail: string) => new WebhooksError({ reason, detail })
const fromDatabase = (error: unknown): WebhooksError =>
  error instanceof WebhooksError ? error : fail("unavailable", messageOf(error).slice(0, 300))

const webhookColumns = `w.id, w.url, to_json(w.events)::text AS events, w.description, w.enabled,
  CASE WHEN w.previous_secret_until > clock_timestamp() THEN ${utc("w.previous_secret_until")} END AS previous_secret_until,
  ${utc("w.created_at")} AS created_at`
const deliveryColumns = `d.id::text AS id, e.id AS event_id, e.type, d.attempt, d.status, d.status_code, d.duration_ms, d.error,
  ${utc("d.next_at")} AS next_at, ${utc("d.created_at")} AS created_at`

const WebhookRows = Schema.Array(Schema.Struct({ ...Webhook.fields, events: Schema.fromJsonString(Webhook.fields.events) }))
const DeliveryRows = Schema.Array(WebhookDelivery)
const decodeWebhooks = Schema.decodeUnknownEffect(WebhookRows)
const decodeDeliveries = Schema.decodeUnknownEffect(DeliveryRows)

interface Parts {
  readonly sql: SqlClient.SqlClient
  readonly random: SecureRandom.SecureRandom["Service"]
  readonly sender: WebhookSender["Service"]
  readonly dispatcher: WebhookDispatcher["Service"]
  readonly fernet: Fernet
}

const make = Effect.fnUntraced(function* (fernet: Fernet) {
  const parts: Parts = {
    sql: yield* SqlClient.SqlClient,
    random: yield* SecureRandom.SecureRandom,
    sender: yield* WebhookSender,
    dispatcher: yield* WebhookDispatcher,
    fernet
  }
  return Webhooks.of({ ...endpoints(parts), ...log(parts) })
})

const first = <A>(rows: ReadonlyArray<A>, what: string): Effect.Effect<A, WebhooksError> =>
  rows[0] === undefined ? Effect.fail(fail("not_found", `There is no such ${what}.`)) : Effect.succeed(rows[0])

const endpoints = (parts: Parts): Pick<Webhooks["Service"], "create" | "list" | "get" | "change" | "remove" | "rotate"> => {
  const { fernet, random, sender, sql } = parts
  const columns = sql.literal(webhookColumns)

  const newSecret = Effect.gen(function* () {
    const secret = `whsec_${Base64.encode(yield* random.randomBytes(SECRET_BYTES))}`
    return { secret: Redacted.make(secret), encrypted: yield* fernet.encrypt(secret) }
  })

  const checkUrl = Effect.fnUntraced(function* (url: string) {
    const wrong = yield* sender.judge(url)
    if (wrong !== null) return yield* fail("invalid_url", wrong)
  })

  const one = (rows: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
    Effect.flatMap(Effect.flatMap(rows, decodeWebhooks), (decoded) => first(decoded, "webhook"))

  const create = Effect.fnUntraced(function* (account: AccountId, wanted: NewWebhook) {
    yield* checkUrl(wanted.url)
    const id = `wh_${(yield* random.uuidV7()).replaceAll("-", "")}`
    const { encrypted, secret } = yield* newSecret
    const events = JSON.stringify([...new Set(wanted.events)])
    const webhook = yield* sql.withTransaction(
      Effect.gen(function* () {
        // Two at once count each other.
        yield* sql`SELECT pg_advisory_xact_lock(hashtextextended(${`webhooks of ${account}`}, 0))`
        const rows = yield* decodeWebhooks(
          yield* sql`INSERT INTO webhooks AS w (id, account, url, events, description, secret)
            SELECT ${id}, ${account}, ${wanted.url}, ARRAY(SELECT jsonb_array_elements_text(${events}::text::jsonb)), ${wanted.description ?? null}::text, ${encrypted}
            WHERE (SELECT count(*) FROM webhooks WHERE account = ${account}) < ${String(MOST)}::text::int RETURNING ${columns}`
        )
        return rows[0] ?? (yield* fail("too_many", `An account may have at most ${MOST} webhooks.`))
      })
    )
    return { webhook, secret }
  }, Effect.mapError(fromDatabase))

  const list = Effect.fnUntraced(function* (account: AccountId) {
    return yield* decodeWebhooks(yield* sql`SELECT ${columns} FROM webhooks w WHERE w.account = ${account} ORDER BY w.id DESC`)
  }, Effect.mapError(fromDatabase))

  const get = (account: AccountId, id: string) =>
    Effect.mapError(one(sql`SELECT ${columns} FROM webhooks w WHERE w.account = ${account} AND w.id = ${id}`), fromDatabase)

  const change = Effect.fnUntraced(function* (account: AccountId, id: string, wanted: WebhookChange) {
    yield* get(account, id)
    if (wanted.url !== undefined) yield* checkUrl(wanted.url)
    const events = wanted.events === undefined ? null : JSON.stringify([...new Set(wanted.events)])
    const enabled = wanted.enabled === undefined ? null : String(wanted.enabled)
    return yield* one(sql`UPDATE webhooks w SET url = coalesce(${wanted.url ?? null}::text, w.url),
        events = CASE WHEN ${events}::text IS NULL THEN w.events ELSE ARRAY(SELECT jsonb_array_elements_text(${events}::text::jsonb)) END,
        description = CASE WHEN ${String(wanted.description !== undefined)} = 'true' THEN ${wanted.description ?? null}::text ELSE w.description END,
        enabled = coalesce(${enabled}::text::boolean, w.enabled),
        failing = w.failing AND ${wanted.url ?? null}::text IS NULL
      WHERE w.account = ${account} AND w.id = ${id} RETURNING ${columns}`)
  }, Effect.mapError(fromDatabase))

  const remove = (account: AccountId, id: string) =>
    Effect.mapError(one(sql`DELETE FROM webhooks w WHERE w.account = ${account} AND w.id = ${id} RETURNING ${columns}`), fromDatabase)

  const rotate = Effect.fnUntraced(function* (account: AccountId, id: string) {
    const { encrypted, secret } = yield* newSecret
    const webhook = yield* one(sql`UPDATE webhooks w SET secret = ${encrypted}, previous_secret = w.secret,
        previous_secret_until = clock_timestamp() + ${sql.literal(OVERLAP)}
      WHERE w.account = ${account} AND w.id = ${id} RETURNING ${columns}`)
    return { webhook, secret }
  }, Effect.mapError(fromDatabase))

  return { create, list, get, change, remove, rotate }
}

const log = (parts: Parts): Pick<Webhooks["Service"], "test" | "deliveries" | "redeliver"> => {
  const { dispatcher, sql } = parts
  const columns = sql.literal(deliveryColumns)
  const { get } = endpoints(parts)

  const enabled = Effect.fnUntraced(function* (account: AccountId, id: string) {
    const webhook = yield* get(account, id)
    if (!webhook.enabled) return yield* fail("disabled", "The webhook is disabled. Enable it first.")
  })

  const test = Effect.fnUntraced(function* (account: AccountId, id: string) {
    yield* enabled(account, id)
    const data = JSON.stringify({ webhook_id: id, message: "This is a test." })
    const rows = yield* sql`WITH e AS (
        INSERT INTO events (account, type, data) VALUES (${account}, 'webhook.test', ${data}::text::jsonb) RETURNING seq, id, type
      ), d AS (INSERT INTO webhook_deliveries (webhook, event) SELECT ${id}, seq FROM e RETURNING *)
      SELECT ${columns} FROM d JOIN e ON e.seq = d.event`
    yield* dispatcher.wake
    return yield* first(yield* decodeDeliveries(rows), "webhook")
  }, Effect.mapError(fromDatabase))

  const deliveries = Effect.fnUntraced(function* (
    account: AccountId,
    id: string,
    page: { readonly limit: number; readonly cursor: string | null }
  ) {
    yield* get(account, id)
    const before = page.cursor !== null && /^\d{1,18}$/.test(page.cursor) ? page.cursor : null
    const rows = yield* decodeDeliveries(
      yield* sql`SELECT ${columns} FROM webhook_deliveries d JOIN events e ON e.seq = d.event
        WHERE d.webhook = ${id} AND (${before}::text IS NULL OR d.id < ${before}::text::bigint)
        ORDER BY d.id DESC LIMIT ${String(page.limit + 1)}::text::int`
    )
    const data = rows.slice(0, page.limit)
    return { data, next: rows.length > page.limit ? (data.at(-1)?.id ?? null) : null }
  }, Effect.mapError(fromDatabase))

  const redeliver = Effect.fnUntraced(function* (account: AccountId, id: string, delivery: string) {
    yield* enabled(account, id)
    if (!/^\d{1,18}$/.test(delivery)) return yield* fail("not_found", "There is no such delivery.")
    const rows = yield* sql`WITH of AS (
        SELECT event FROM webhook_deliveries WHERE webhook = ${id} AND id = ${delivery}::text::bigint
      ), waiting AS (
        UPDATE webhook_deliveries SET next_at = least(next_at, clock_timestamp())
        WHERE webhook = ${id} AND status = 'pending' AND event = (SELECT event FROM of) RETURNING *
      ), made AS (
        INSERT INTO webhook_deliveries (webhook, event) SELECT ${id}, event FROM of WHERE NOT EXISTS (SELECT 1 FROM waiting) RETURNING *
      )
      SELECT ${columns} FROM (SELECT * FROM waiting UNION ALL SELECT * FROM made) d JOIN events e ON e.seq = d.event`
    const made = yield* first(yield* decodeDeliveries(rows), "delivery")
    yield* dispatcher.wake
    return made
  }, Effect.mapError(fromDatabase))

  return { test, deliveries, redeliver }
}
