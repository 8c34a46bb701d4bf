/**
 * The keys of accounts: made, listed, changed, revoked. The plain key leaves this file once.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import { SqlClient } from "effect/sql"
import { type AccountId, ApiKey } from "../../schemas/Account.ts"
import { Guardrails } from "../../schemas/Guardrail.ts"
import { type AccountsError, fail, fromDatabase, isoColumn } from "./AccountsError.ts"
import { AuthCache } from "./AuthCache.ts"
import type { Fernet } from "./Fernet.ts"
import { KeyHasher } from "./KeyHasher.ts"
import { encodeChange, type KeyChange, type NewKey, refuseChange } from "./KeySettings.ts"
import type { Page, PageRequest } from "./Page.ts"

/** A key as it was just made. @category models @since 0.1.0 */
export interface MadeKey {
  readonly row: ApiKey
  readonly key: Redacted.Redacted
}

/** @category models @since 0.1.0 */
export interface KeysOptions {
  /** The middle part of keys. */
  readonly environment: string
  /** How keys are kept at rest. */
  readonly fernet: Fernet
}

/** @category services @since 0.1.0 */
export class Keys extends Context.Service<
  Keys,
  {
    /** The first key of an account. */
    readonly primary: (id: AccountId) => Effect.Effect<MadeKey, AccountsError>
    /** Refuses settings that no key may have. */
    readonly check: (change: KeyChange) => Effect.Effect<void, AccountsError>
    readonly create: (id: AccountId, key: NewKey) => Effect.Effect<MadeKey, AccountsError>
    /** Newest first. */
    readonly list: (id: AccountId, page: PageRequest) => Effect.Effect<Page<ApiKey>, AccountsError>
    /** Changes what is given of a key that was not revoked. */
    readonly update: (id: AccountId, keyId: string, change: KeyChange) => Effect.Effect<ApiKey, AccountsError>
    readonly revoke: (id: AccountId, keyId: string) => Effect.Effect<ApiKey, AccountsError>
  }
>()("sluice/identity/Keys") {
  static readonly layer = (options: KeysOptions) => Layer.effect(this, make(options))
}

const Strings = Schema.fromJsonString(Schema.Array(Schema.String))
/** Keys as the database writes them: lists and the like are text. */
const KeyRows = Schema.Array(
  Schema.Struct({
    ...ApiKey.fields,
    scopes: Strings,
    ip_allowlist: Strings,
    domain_allowlist: Strings,
    limits: Schema.fromJsonString(ApiKey.fields.limits),
    max_requests: Schema.NullOr(Schema.NumberFromString),
    requests_used: Schema.NumberFromString,
    guardrails: Schema.NullOr(Schema.fromJsonString(Guardrails))
  })
)
const columns = [
  "id, name, prefix, last4, scopes::text, ip_allowlist::text, domain_allowlist::text, limits::text, max_requests::text",
  `requests_used::text, cache, guardrails::text, ${isoColumn("expires_at")}, ${isoColumn("revoked_at")}, ${isoColumn("created_at")}`
].join(", ")
const decodeKeys = Schema.decodeUnknownEffect(KeyRows)

const unknownKey = fail("key_not_found", "There is no such key.")

const make = Effect.fnUntraced(function* ({ environment, fernet }: KeysOptions) {
  const sql = yield* SqlClient.SqlClient
  const hasher = yield* KeyHasher
  const cache = yield* AuthCache
  const random = yield* SecureRandom.SecureRandom
  const returned = sql.literal(columns)

  const check = Effect.fnUntraced(function* (change: KeyChange) {
    const wrong = refuseChange(change, yield* Clock.currentTimeMillis)
    if (wrong !== null) return yield* fail("invalid_input", wrong)
  })

  const insert = Effect.fnUntraced(function* (userId: AccountId, key: NewKey, primary: boolean) {
    const head = `gw_${environment}_`
    const plain = head + Base64Url.encode(yield* random.randomBytes(32))
    const redacted = Redacted.make(plain)
    const hash = hasher.hash(redacted)
    const row = {
      ...encodeChange(key),
      id: yield* random.uuidV7(),
      user_id: userId,
      key_hash: hash,
      encrypted_key: yield* fernet.encrypt(plain),
      key_version: fernet.version,
      prefix: plain.slice(0, head.length + 4),
      last4: plain.slice(-4),
      environment,
      is_primary: primary
    }
    const rows =
      yield* sql`INSERT INTO api_keys (id, user_id, key_hash, encrypted_key, key_version, name, prefix, last4, environment, is_primary,
        scopes, ip_allowlist, domain_allowlist, limits, max_requests, cache, guardrails, expires_at)
      SELECT id, user_id, key_hash, encrypted_key, key_version, name, prefix, last4, environment, is_primary,
        coalesce(scopes, '["*"]'), coalesce(ip_allowlist, '[]'), coalesce(domain_allowlist, '[]'), coalesce(limits, '{}'),
        max_requests, cache, nullif(guardrails, 'null'), expires_at
      FROM jsonb_to_record(${JSON.stringify(row)}::text::jsonb) AS t (id text, user_id text, key_hash text, encrypted_key text, key_version text,
        name text, prefix text, last4 text, environment text, is_primary boolean, scopes jsonb, ip_allowlist jsonb,
        domain_allowlist jsonb, limits jsonb, max_requests bigint, cache text, guardrails jsonb, expires_at timestamptz)
      RETURNING ${returned}`
    const made = (yield* decodeKeys(rows))[0]
    if (made === undefined) return yield* fail("unavailable", "the key was not written")
    yield* cache.forgetUnknown(hash)
    return { row: made, key: redacted }
  }, Effect.mapError(fromDatabase))

  const create = Effect.fnUntraced(function* (id: AccountId, key: NewKey) {
    yield* check(key)
    return yield* insert(id, key, false)
  })

  const update = Effect.fnUntraced(function* (id: AccountId, keyId: string, change: KeyChange) {
    yield* check(change)
    const given = JSON.stringify(encodeChange(change))
    const rows = yield* decodeKeys(
      yield* sql`UPDATE api_keys SET
          name = coalesce(p->>'name', name), scopes = coalesce(p->'scopes', scopes),
          ip_allowlist = coalesce(p->'ip_allowlist', ip_allowlist), domain_allowlist = coalesce(p->'domain_allowlist', domain_allowlist),
          limits = limits || coalesce(p->'limits', '{}'),
          max_requests = CASE WHEN jsonb_exists(p, 'max_requests') THEN (p->>'max_requests')::bigint ELSE max_requests END,
          cache = CASE WHEN jsonb_exists(p, 'cache') THEN p->>'cache' ELSE cache END,
          guardrails = CASE WHEN jsonb_exists(p, 'guardrails') THEN nullif(p->'guardrails', 'null') ELSE guardrails END,
          expires_at = CASE WHEN jsonb_exists(p, 'expires_at') THEN (p->>'expires_at')::timestamptz ELSE expires_at END,
          changed_at = clock_timestamp()
        FROM (SELECT ${given}::text::jsonb AS p) AS given
        WHERE api_keys.id = ${keyId} AND user_id = ${id} AND revoked_at IS NULL RETURNING ${returned}`
    )
    yield* cache.invalidate([id])
    return rows[0] ?? (yield* unknownKey)
  }, Effect.mapError(fromDatabase))

  const revoke = Effect.fnUntraced(function* (id: AccountId, keyId: string) {
    const rows = yield* decodeKeys(
      yield* sql`UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()), changed_at = clock_timestamp()
        WHERE api_keys.id = ${keyId} AND user_id = ${id} RETURNING ${returned}`
    )
    yield* cache.invalidate([id])
    return rows[0] ?? (yield* unknownKey)
  }, Effect.mapError(fromDatabase))

  const list = Effect.fnUntraced(function* (id: AccountId, page: PageRequest) {
    const rows = yield* decodeKeys(
      yield* sql`SELECT ${returned} FROM api_keys WHERE user_id = ${id} AND (${page.cursor}::text IS NULL OR api_keys.id < ${page.cursor}::text)
        ORDER BY api_keys.id DESC LIMIT ${String(page.limit + 1)}::text::int`
    )
    const data: ReadonlyArray<ApiKey> = rows.slice(0, page.limit)
    return { data, next: rows.length > page.limit ? (data.at(-1)?.id ?? null) : null }
  }, Effect.mapError(fromDatabase))

  return Keys.of({ primary: (id) => insert(id, { name: "primary" }, true), check, create, list, update, revoke })
})
