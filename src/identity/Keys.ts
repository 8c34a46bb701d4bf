/**
 * The keys of accounts: made, listed, revoked. The plain key leaves this file once.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import { SqlClient } from "effect/sql"
import type { AccountId, ApiKey } from "../../schemas/Account.ts"
import type { NegotiatedLimits } from "../../schemas/Plan.ts"
import { type AccountsError, fail, fromDatabase, isoColumn } from "./AccountsError.ts"
import { isDomain, isNetwork } from "./Allowlists.ts"
import { AuthCache } from "./AuthCache.ts"
import { validate } from "./EffectiveLimits.ts"
import type { Fernet } from "./Fernet.ts"
import { KeyHasher } from "./KeyHasher.ts"

/** What a new key may carry. @category models @since 0.1.0 */
export interface NewKey {
  readonly name: string
  readonly ip_allowlist?: ReadonlyArray<string>
  readonly domain_allowlist?: ReadonlyArray<string>
  /** ISO-8601. */
  readonly expires_at?: string | null
  readonly limits?: NegotiatedLimits
}

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
    readonly create: (id: AccountId, key: NewKey) => Effect.Effect<MadeKey, AccountsError>
    readonly list: (id: AccountId) => Effect.Effect<ReadonlyArray<ApiKey>, AccountsError>
    readonly revoke: (id: AccountId, keyId: string) => Effect.Effect<ApiKey, AccountsError>
  }
>()("sluice/identity/Keys") {
  static readonly layer = (options: KeysOptions) => Layer.effect(this, make(options))
}

const KeyRows = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    prefix: Schema.String,
    last4: Schema.String,
    scopes: Schema.fromJsonString(Schema.Array(Schema.String)),
    ip_allowlist: Schema.fromJsonString(Schema.Array(Schema.String)),
    domain_allowlist: Schema.fromJsonString(Schema.Array(Schema.String)),
    limits: Schema.fromJsonString(Schema.Record(Schema.String, Schema.NullOr(Schema.Union([Schema.Finite, Schema.String])))),
    expires_at: Schema.NullOr(Schema.String),
    revoked_at: Schema.NullOr(Schema.String),
    created_at: Schema.String
  })
)
const columns = `id, name, prefix, last4, scopes::text, ip_allowlist::text, domain_allowlist::text, limits::text, ${isoColumn("expires_at")}, ${isoColumn("revoked_at")}, ${isoColumn("created_at")}`
const decodeKeys = Schema.decodeUnknownEffect(KeyRows)

const check = (key: NewKey, now: number): string | null => {
  if (key.name.trim() === "" || key.name.length > 100) return "`name` must have 1 to 100 characters."
  const address = (key.ip_allowlist ?? []).find((entry) => !isNetwork(entry))
  if (address !== undefined) return `\`ip_allowlist\`: ${address.slice(0, 60)} is neither an address nor a CIDR range.`
  const domain = (key.domain_allowlist ?? []).find((entry) => !isDomain(entry))
  if (domain !== undefined) return `\`domain_allowlist\`: ${domain.slice(0, 60)} is not a domain name.`
  if (key.expires_at !== undefined && key.expires_at !== null && !(Date.parse(key.expires_at) > now))
    return "`expires_at` must be a time to come, in ISO-8601."
  return validate(key.limits ?? {})
}

const make = Effect.fnUntraced(function* ({ environment, fernet }: KeysOptions) {
  const sql = yield* SqlClient.SqlClient
  const hasher = yield* KeyHasher
  const cache = yield* AuthCache
  const random = yield* SecureRandom.SecureRandom

  const insert = Effect.fnUntraced(function* (userId: AccountId, key: NewKey, primary: boolean) {
    const head = `gw_${environment}_`
    const plain = head + Base64Url.encode(yield* random.randomBytes(32))
    const redacted = Redacted.make(plain)
    const id = yield* random.uuidV7()
    const hash = hasher.hash(redacted)
    const rows = yield* sql`INSERT INTO api_keys
      (id, user_id, key_hash, encrypted_key, name, prefix, last4, environment, is_primary, ip_allowlist, domain_allowlist, limits, expires_at)
      VALUES (${id}, ${userId}, ${hash}, ${yield* fernet.encrypt(plain)}, ${key.name}, ${plain.slice(0, head.length + 4)}, ${plain.slice(-4)},
        ${environment}, ${String(primary)}::text::boolean, ${JSON.stringify(key.ip_allowlist ?? [])}::text::jsonb,
        ${JSON.stringify(key.domain_allowlist ?? [])}::text::jsonb, ${JSON.stringify(key.limits ?? {})}::text::jsonb, ${key.expires_at ?? null}::text::timestamptz)
      RETURNING ${sql.literal(columns)}`
    const row = (yield* decodeKeys(rows))[0]
    if (row === undefined) return yield* fail("unavailable", "the key was not written")
    yield* cache.forgetUnknown(hash)
    return { row, key: redacted }
  }, Effect.mapError(fromDatabase))

  const create = Effect.fnUntraced(function* (id: AccountId, key: NewKey) {
    const wrong = check(key, yield* Clock.currentTimeMillis)
    if (wrong !== null) return yield* fail("invalid_input", wrong)
    return yield* insert(id, key, false)
  })

  const revoke = Effect.fnUntraced(function* (id: AccountId, keyId: string) {
    const rows = yield* decodeKeys(
      yield* sql`UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()), changed_at = clock_timestamp()
        WHERE api_keys.id = ${keyId} AND user_id = ${id} RETURNING ${sql.literal(columns)}`
    )
    yield* cache.invalidate([id])
    return rows[0] ?? (yield* fail("key_not_found", "There is no such key."))
  }, Effect.mapError(fromDatabase))

  const list = (id: AccountId) =>
    Effect.mapError(
      Effect.flatMap(
        sql`SELECT ${sql.literal(columns)} FROM api_keys WHERE user_id = ${id} ORDER BY api_keys.created_at DESC, api_keys.id DESC`,
        decodeKeys
      ),
      fromDatabase
    )

  return Keys.of({ primary: (id) => insert(id, { name: "primary" }, true), create, list, revoke })
})
