/**
 * Users and their keys, as the operator and the account itself manage them.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import { SqlClient } from "effect/sql"
import { type AccountId, type ApiKey, Role, type User } from "../../schemas/Account.ts"
import * as Money from "../../schemas/Money.ts"
import { NegotiatedLimits, PlanId, plans } from "../../schemas/Plan.ts"
import { messageOf } from "../database/Failures.ts"
import { Ledger } from "../ledger/Ledger.ts"
import { isDomain, isNetwork } from "./Allowlists.ts"
import { AuthCache } from "./AuthCache.ts"
import { validate } from "./EffectiveLimits.ts"
import type { Fernet } from "./Fernet.ts"
import { KeyHasher } from "./KeyHasher.ts"

/** @category errors @since 0.1.0 */
export class AccountsError extends Schema.TaggedError<AccountsError>()("AccountsError", {
  reason: Schema.Literals(["email_taken", "invalid_email", "user_not_found", "key_not_found", "invalid_input", "unavailable"]),
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

/** A page of a list, newest first. @category models @since 0.1.0 */
export interface PageRequest {
  readonly limit: number
  readonly cursor: string | null
}

/** @category models @since 0.1.0 */
export interface Page<A> {
  readonly data: ReadonlyArray<A>
  readonly next: string | null
}

/** What a new key may carry. @category models @since 0.1.0 */
export interface NewKey {
  readonly name: string
  readonly ip_allowlist?: ReadonlyArray<string>
  readonly domain_allowlist?: ReadonlyArray<string>
  /** ISO-8601. */
  readonly expires_at?: string | null
  readonly limits?: NegotiatedLimits
}

/** @category services @since 0.1.0 */
export class Accounts extends Context.Service<
  Accounts,
  {
    /** A user with its ledger account, its starting credit and one key, shown here only. A user without a plan given starts on trial. */
    readonly create: (input: {
      readonly email: string
      readonly plan: PlanId | null
    }) => Effect.Effect<{ readonly user: User; readonly apiKey: Redacted.Redacted }, AccountsError>
    readonly get: (id: AccountId) => Effect.Effect<User, AccountsError>
    readonly list: (page: PageRequest) => Effect.Effect<Page<User>, AccountsError>
    readonly setPlan: (id: AccountId, plan: PlanId) => Effect.Effect<User, AccountsError>
    readonly setLimits: (id: AccountId, limits: NegotiatedLimits) => Effect.Effect<User, AccountsError>
    readonly createKey: (
      id: AccountId,
      key: NewKey
    ) => Effect.Effect<{ readonly row: ApiKey; readonly key: Redacted.Redacted }, AccountsError>
    readonly listKeys: (id: AccountId) => Effect.Effect<ReadonlyArray<ApiKey>, AccountsError>
    readonly revokeKey: (id: AccountId, keyId: string) => Effect.Effect<ApiKey, AccountsError>
  }
>()("sluice/identity/Accounts") {
  static readonly layer = (options: AccountsOptions) => Layer.effect(this, make(options))
}

/** @category models @since 0.1.0 */
export interface AccountsOptions {
  /** The middle part of keys. */
  readonly environment: string
  /** How keys are kept at rest. */
  readonly fernet: Fernet
}

const TRIAL_MS = 3 * 24 * 3_600_000
const TRIAL_TOKENS = 1_000_000
const TRIAL_REQUESTS = 10_000
/** What every new account begins with. */
const SIGN_UP_CREDIT = Money.usd("5")

const roleOf: Readonly<Record<PlanId, Role>> = { trial: "free", dev: "dev", team: "team", enterprise: "team" }
const tierOf: Readonly<Record<PlanId, string>> = { trial: "basic", dev: "basic", team: "max", enterprise: "max" }

const UserRow = Schema.Struct({
  id: Schema.String,
  email: Schema.String,
  role: Role,
  tier: Schema.String,
  plan: PlanId,
  status: Schema.String,
  trial_ends_at: Schema.NullOr(Schema.String),
  trial_tokens_left: Schema.NumberFromString,
  trial_requests_left: Schema.NumberFromString,
  created_at: Schema.String
})

const KeyRow = Schema.Struct({
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

const iso = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ${column}`
const userColumns = `id, email, role, tier, plan, status, ${iso("trial_ends_at")}, trial_tokens_left::text, trial_requests_left::text, ${iso("created_at")}`
const keyColumns = `id, name, prefix, last4, scopes::text, ip_allowlist::text, domain_allowlist::text, limits::text, ${iso("expires_at")}, ${iso("revoked_at")}, ${iso("created_at")}`

const fail = (reason: AccountsError["reason"], detail: string) => new AccountsError({ reason, detail })

const fromDatabase = (error: unknown): AccountsError => {
  if (error instanceof AccountsError) return error
  const text = messageOf(error)
  if (text.includes("users_email_key")) return fail("email_taken", "There is a user with this e-mail address already.")
  if (text.includes("api_keys_user_id_name_key")) return fail("invalid_input", "There is a key of this name already.")
  return fail("unavailable", "the database did not answer")
}

const emailPattern = /^[^\s@"<>]{1,64}@(?=[^@]{1,255}$)[^\s@.]+(\.[^\s@.]+)+$/

const checkKey = (key: NewKey, now: number): string | null => {
  if (key.name.trim() === "" || key.name.length > 100) return "`name` must have 1 to 100 characters."
  const address = (key.ip_allowlist ?? []).find((entry) => !isNetwork(entry))
  if (address !== undefined) return `\`ip_allowlist\`: ${address.slice(0, 60)} is neither an address nor a CIDR range.`
  const domain = (key.domain_allowlist ?? []).find((entry) => !isDomain(entry))
  if (domain !== undefined) return `\`domain_allowlist\`: ${domain.slice(0, 60)} is not a domain name.`
  if (key.expires_at !== undefined && key.expires_at !== null && !(Date.parse(key.expires_at) > now))
    return "`expires_at` must be a time to come, in ISO-8601."
  return validate(key.limits ?? {})
}

const cursorOf = (cursor: string | null): readonly [string, string] | null => {
  const at = cursor?.split("|") ?? []
  return at[0] !== undefined && at[1] !== undefined && !Number.isNaN(Date.parse(at[0])) ? [at[0], at[1]] : null
}

const make = Effect.fnUntraced(function* (options: AccountsOptions) {
  const sql = yield* SqlClient.SqlClient
  const ledger = yield* Ledger
  const hasher = yield* KeyHasher
  const cache = yield* AuthCache
  const random = yield* SecureRandom.SecureRandom
  const { environment, fernet } = options
  const decodeUsers = Schema.decodeUnknownEffect(Schema.Array(UserRow))
  const decodeKeys = Schema.decodeUnknownEffect(Schema.Array(KeyRow))

  const toUser = Effect.fnUntraced(function* (row: typeof UserRow.Type) {
    const { trial_ends_at, trial_requests_left, trial_tokens_left, ...user } = row
    if (row.plan !== "trial" || trial_ends_at === null) return { ...user, trial: null }
    const balance = yield* ledger.balance(row.id)
    const trial = {
      ends_at: trial_ends_at,
      tokens_left: trial_tokens_left,
      requests_left: trial_requests_left,
      credit_left_usd: Money.toUsd(balance.available)
    }
    return { ...user, trial }
  })

  const get = Effect.fnUntraced(function* (id: AccountId) {
    const rows = yield* decodeUsers(yield* sql`SELECT ${sql.literal(userColumns)} FROM users WHERE users.id = ${id}`)
    const row = rows[0]
    return row === undefined ? yield* fail("user_not_found", "There is no such user.") : yield* toUser(row)
  }, Effect.mapError(fromDatabase))

  const insertKey = Effect.fnUntraced(function* (userId: AccountId, key: NewKey, primary: boolean) {
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
      RETURNING ${sql.literal(keyColumns)}`
    const row = (yield* decodeKeys(rows))[0]
    if (row === undefined) return yield* fail("unavailable", "the key was not written")
    yield* cache.forgetUnknown(hash)
    return { row, key: redacted }
  })

  const create = Effect.fnUntraced(function* (input: { readonly email: string; readonly plan: PlanId | null }) {
    const email = input.email.trim().toLowerCase()
    if (!emailPattern.test(email)) return yield* fail("invalid_email", "`email` must be an e-mail address.")
    const plan = input.plan ?? "trial"
    const id = yield* random.uuidV7()
    const now = yield* Clock.currentTimeMillis
    const trialEnd = plan === "trial" ? new Date(now + TRIAL_MS).toISOString() : null
    const made = yield* sql.withTransaction(
      Effect.gen(function* () {
        yield* sql`INSERT INTO users (id, email, role, tier, plan, status, trial_ends_at, trial_tokens_left, trial_requests_left)
          VALUES (${id}, ${email}, ${roleOf[plan]}, ${tierOf[plan]}, ${plan}, ${plan === "trial" ? "trial" : "active"}, ${trialEnd}::text::timestamptz,
            ${String(plan === "trial" ? TRIAL_TOKENS : 0)}::text::bigint, ${String(plan === "trial" ? TRIAL_REQUESTS : 0)}::text::bigint)`
        yield* ledger.open(id)
        yield* ledger.grant({ accountId: id, kind: "topup", allowance: Money.zero, purchased: SIGN_UP_CREDIT, reference: "signup" })
        const { monthlyAllowance } = plans[plan]
        const reference = `allowance:${new Date(now).toISOString().slice(0, 7)}`
        if (monthlyAllowance > 0n)
          yield* ledger.grant({ accountId: id, kind: "allowance", allowance: monthlyAllowance, purchased: Money.zero, reference })
        return yield* insertKey(id, { name: "primary" }, true)
      })
    )
    return { user: yield* get(id), apiKey: made.key }
  }, Effect.mapError(fromDatabase))

  const changeUser = Effect.fnUntraced(function* (id: AccountId, change: Effect.Effect<ReadonlyArray<unknown>, unknown>) {
    if ((yield* change).length === 0) return yield* fail("user_not_found", "There is no such user.")
    yield* cache.invalidate([id])
    return yield* get(id)
  }, Effect.mapError(fromDatabase))

  const list = Effect.fnUntraced(function* (page: PageRequest) {
    const at = cursorOf(page.cursor)
    const rows = yield* decodeUsers(
      yield* sql`SELECT ${sql.literal(userColumns)} FROM users
        WHERE ${at === null ? "all" : "older"} = 'all' OR (users.created_at, users.id) < (${at?.[0] ?? "1970-01-01"}::text::timestamptz, ${at?.[1] ?? ""})
        ORDER BY users.created_at DESC, users.id DESC LIMIT ${String(page.limit + 1)}::text::int`
    )
    const shown = rows.slice(0, page.limit)
    const last = shown.at(-1)
    const data: ReadonlyArray<User> = yield* Effect.forEach(shown, toUser)
    return { data, next: rows.length > page.limit && last !== undefined ? `${last.created_at}|${last.id}` : null }
  }, Effect.mapError(fromDatabase))

  const setLimits = Effect.fnUntraced(function* (id: AccountId, limits: NegotiatedLimits) {
    const wrong = validate(limits)
    if (wrong !== null) return yield* fail("invalid_input", wrong)
    const stored = JSON.stringify(Schema.encodeSync(NegotiatedLimits)(limits))
    return yield* changeUser(
      id,
      sql`UPDATE users SET limits = limits || ${stored}::text::jsonb, changed_at = clock_timestamp() WHERE id = ${id} RETURNING id`
    )
  })

  const createKey = Effect.fnUntraced(function* (id: AccountId, key: NewKey) {
    const wrong = checkKey(key, yield* Clock.currentTimeMillis)
    if (wrong !== null) return yield* fail("invalid_input", wrong)
    return yield* insertKey(id, key, false)
  }, Effect.mapError(fromDatabase))

  const revokeKey = Effect.fnUntraced(function* (id: AccountId, keyId: string) {
    const rows = yield* decodeKeys(
      yield* sql`UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()), changed_at = clock_timestamp()
        WHERE api_keys.id = ${keyId} AND user_id = ${id} RETURNING ${sql.literal(keyColumns)}`
    )
    yield* cache.invalidate([id])
    return rows[0] ?? (yield* fail("key_not_found", "There is no such key."))
  }, Effect.mapError(fromDatabase))

  return Accounts.of({
    create,
    get,
    list,
    setPlan: (id, plan) =>
      changeUser(
        id,
        sql`UPDATE users SET plan = ${plan}, role = ${roleOf[plan]}, tier = ${tierOf[plan]}, status = ${plan === "trial" ? "trial" : "active"},
          changed_at = clock_timestamp() WHERE id = ${id} RETURNING id`
      ),
    setLimits,
    createKey,
    listKeys: (id) =>
      Effect.mapError(
        Effect.flatMap(
          sql`SELECT ${sql.literal(keyColumns)} FROM api_keys WHERE user_id = ${id} ORDER BY api_keys.created_at DESC, api_keys.id DESC`,
          decodeKeys
        ),
        fromDatabase
      ),
    revokeKey
  })
})
