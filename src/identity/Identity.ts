/**
 * Who is calling.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Redacted, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { CacheMode, type Caller, Role } from "../../schemas/Account.ts"
import { Guardrails } from "../../schemas/Guardrail.ts"
import { NegotiatedLimits, PlanId } from "../../schemas/Plan.ts"
import { allowsAddress, allowsDomain } from "./Allowlists.ts"
import { AuthCache, type KeyRecord } from "./AuthCache.ts"
import { watchChanges } from "./ChangeWatch.ts"
import { effectiveLimits } from "./EffectiveLimits.ts"
import { KeyHasher } from "./KeyHasher.ts"
import * as KeyLookups from "./KeyLookups.ts"
import { isSessionToken } from "./Sessions.ts"

/** Why a key is not let in. `unavailable` is our own trouble, never the caller's. @category errors @since 0.1.0 */
export class IdentityError extends Schema.TaggedError<IdentityError>()("IdentityError", {
  reason: Schema.Literals([
    "missing",
    "unknown",
    "revoked",
    "expired",
    "session_ended",
    "inactive",
    "ip_not_allowed",
    "domain_not_allowed",
    "unavailable"
  ])
}) {}

/** What the request says about where it comes from. @category models @since 0.1.0 */
export interface Origin {
  /** The client's address, by `TRUST_PROXY`; null when unknown. */
  readonly ip: string | null
  /** Host of `Origin`, else of `Referer`; null when neither came. */
  readonly host: string | null
}

/**
 * Finds the account behind something secret. What is warm makes no database call; before one is made `beforeLookup` is run
 * with the secret's hash, and may forbid it.
 *
 * @category models
 * @since 0.1.0
 */
export type Authenticate = <E = never>(
  secret: Redacted.Redacted,
  origin: Origin,
  beforeLookup?: (hash: string) => Effect.Effect<void, E>
) => Effect.Effect<Caller, IdentityError | E>

/** @category services @since 0.1.0 */
export class Identity extends Context.Service<
  Identity,
  {
    /** The account behind a plain key. */
    readonly authenticate: Authenticate
    /** The account behind a plain key or a session's token. */
    readonly identify: Authenticate
    /**
     * The account behind a key as it was presented, at once; null when something has to be worked out or asked, or when it
     * matters where the key is used from. Says no for nobody: whatever is null here is `authenticate`'s to judge.
     */
    readonly recall: (presented: string) => Caller | null
    /** Whether this is the operator's admin key, compared in constant time. */
    readonly isAdmin: (key: Redacted.Redacted) => Effect.Effect<boolean>
  }
>()("sluice/identity/Identity") {
  static readonly layer = (options: IdentityOptions) => Layer.effect(this, make(options))
}

/** @category models @since 0.1.0 */
export interface IdentityOptions {
  readonly adminKey: Redacted.Redacted
  /** How often changed keys are looked for, in milliseconds, so that another replica's revocation holds here; null where there are no others. */
  readonly pollMs?: number | null
}

const Strings = Schema.fromJsonString(Schema.Array(Schema.String))
const Row = Schema.Struct({
  hash: Schema.String,
  key_id: Schema.String,
  user_id: Schema.String,
  role: Role,
  plan: PlanId,
  status: Schema.String,
  account_limits: Schema.fromJsonString(NegotiatedLimits),
  key_limits: Schema.fromJsonString(NegotiatedLimits),
  ip_allowlist: Strings,
  domain_allowlist: Strings,
  scopes: Strings,
  max_requests: Schema.NullOr(Schema.NumberFromString),
  cache: Schema.NullOr(CacheMode),
  guardrails: Schema.NullOr(Schema.fromJsonString(Guardrails)),
  trial_ends_at: Schema.NullOr(Schema.String),
  expires_at: Schema.NullOr(Schema.String),
  revoked_at: Schema.NullOr(Schema.String)
})
const decodeRows = Schema.decodeUnknownEffect(Schema.Array(Row))

const millis = (text: string | null): number | null => (text === null ? null : Number(text))

const toRecord = (row: typeof Row.Type): KeyRecord => ({
  caller: {
    accountId: row.user_id,
    keyId: row.key_id,
    role: row.role,
    plan: row.plan,
    limits: effectiveLimits(row.plan, row.account_limits, row.key_limits),
    trialEndsAt: row.plan === "trial" ? millis(row.trial_ends_at) : null,
    scopes: row.scopes,
    maxRequests: row.max_requests,
    cache: row.cache,
    ...(row.guardrails === null || Object.keys(row.guardrails).length === 0 ? {} : { guardrails: row.guardrails })
  },
  userStatus: row.status,
  ipAllowlist: row.ip_allowlist,
  domainAllowlist: row.domain_allowlist,
  expiresAt: millis(row.expires_at),
  revokedAt: millis(row.revoked_at)
})

const keyPattern = /^gw_(live|staging|test|dev)_[A-Za-z0-9_-]{43}$/

const refuse = (reason: IdentityError["reason"]) => Effect.fail(new IdentityError({ reason }))

/** Why a key or a session is not let in now, wherever it is used from; null when it is. */
const faultOf = (record: KeyRecord, isSession: boolean, now: number): IdentityError["reason"] | null => {
  if (record.revokedAt !== null) return isSession ? "session_ended" : "revoked"
  if (record.expiresAt !== null && now >= record.expiresAt) return isSession ? "session_ended" : "expired"
  return record.userStatus === "active" || record.userStatus === "trial" ? null : "inactive"
}

/** What a key or a session must pass each time, without asking anybody. */
const check = (record: KeyRecord, origin: Origin, isSession: boolean, now: number): Effect.Effect<Caller, IdentityError> => {
  const fault = faultOf(record, isSession, now)
  if (fault !== null) return refuse(fault)
  if (!allowsAddress(record.ipAllowlist, origin.ip)) return refuse("ip_not_allowed")
  if (!allowsDomain(record.domainAllowlist, origin.host)) return refuse("domain_not_allowed")
  return Effect.succeed(record.caller)
}

/** Keys whose hashes are remembered, at most. */
const PRESENTED = 10_000

/**
 * The hashes of keys that were good, so that a hash is not worked out for each request of one. The keys themselves are
 * nowhere else, and leave this only by being forgotten.
 */
class PresentedKeys {
  private readonly hashes = new Map<string, string>()

  hashOf(key: string): string | undefined {
    return this.hashes.get(key)
  }

  remember(key: string, hash: string): void {
    if (this.hashes.has(key)) return
    if (this.hashes.size >= PRESENTED) {
      const oldest = this.hashes.keys().next()
      if (oldest.done !== true) this.hashes.delete(oldest.value)
    }
    this.hashes.set(key, hash)
  }

  forget(key: string): void {
    this.hashes.delete(key)
  }
}

/** How keys and sessions are read: many at once, by their hashes, which are hexadecimal. */
const makeReads = (sql: SqlClient.SqlClient) => {
  const epoch = (column: string) => sql.literal(`floor(extract(epoch FROM ${column}) * 1000)::text`)
  const user = sql.literal("u.role, u.plan, u.status, u.limits::text AS account_limits")
  const read = Effect.fnUntraced(function* (statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) {
    const rows = yield* decodeRows(yield* statement)
    return new Map(rows.map((row) => [row.hash, toRecord(row)]))
  })
  return {
    keys: (hashes: ReadonlyArray<string>) =>
      read(sql`SELECT k.key_hash AS hash, k.id AS key_id, k.user_id, ${user}, k.limits::text AS key_limits,
        k.ip_allowlist::text AS ip_allowlist, k.domain_allowlist::text AS domain_allowlist, k.scopes::text AS scopes,
        k.max_requests::text AS max_requests, k.cache, k.guardrails::text AS guardrails, ${epoch("u.trial_ends_at")} AS trial_ends_at,
        ${epoch("k.expires_at")} AS expires_at, ${epoch("k.revoked_at")} AS revoked_at
        FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.key_hash = ANY(string_to_array(${hashes.join(",")}, ','))`),
    sessions: (hashes: ReadonlyArray<string>) =>
      read(sql`SELECT s.token_hash AS hash, s.id AS key_id, s.user_id, ${user}, '{}' AS key_limits,
        '[]' AS ip_allowlist, '[]' AS domain_allowlist, '["*"]' AS scopes, NULL::text AS max_requests, NULL::text AS cache, NULL::text AS guardrails,
        ${epoch("u.trial_ends_at")} AS trial_ends_at, ${epoch("s.expires_at")} AS expires_at, ${epoch("s.ended_at")} AS revoked_at
        FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.token_hash = ANY(string_to_array(${hashes.join(",")}, ','))`)
  }
}

const make = Effect.fnUntraced(function* (options: IdentityOptions) {
  const sql = yield* SqlClient.SqlClient
  const hasher = yield* KeyHasher
  const cache = yield* AuthCache
  const clock = yield* Clock.Clock
  const presented = new PresentedKeys()
  const reads = makeReads(sql)
  const lookKey = yield* KeyLookups.make(reads.keys)
  const lookSession = yield* KeyLookups.make(reads.sessions)

  const look = Effect.fnUntraced(
    function* (hash: string, isSession: boolean) {
      const generation = cache.generation()
      const record = yield* isSession ? lookSession(hash) : lookKey(hash)
      yield* cache.set(hash, record, generation)
      return record
    },
    Effect.mapError(() => new IdentityError({ reason: "unavailable" }))
  )

  const find = Effect.fnUntraced(function* <E = never>(
    secret: Redacted.Redacted,
    isSession: boolean,
    origin: Origin,
    beforeLookup?: (hash: string) => Effect.Effect<void, E>
  ): Effect.fn.Return<Caller, IdentityError | E> {
    const hash = presented.hashOf(Redacted.value(secret)) ?? hasher.hash(secret)
    let record = cache.recall(hash, clock.currentTimeMillisUnsafe())
    if (record === undefined) {
      if (beforeLookup !== undefined) yield* beforeLookup(hash)
      record = yield* look(hash, isSession)
    }
    if (record === "unknown") return yield* refuse(isSession ? "session_ended" : "unknown")
    const caller = yield* check(record, origin, isSession, clock.currentTimeMillisUnsafe())
    if (!isSession) presented.remember(Redacted.value(secret), hash)
    return caller
  })

  const recall = (key: string): Caller | null => {
    const hash = presented.hashOf(key)
    if (hash === undefined) return null
    const now = clock.currentTimeMillisUnsafe()
    const record = cache.recall(hash, now)
    if (record === undefined || record === "unknown" || faultOf(record, false, now) !== null) {
      presented.forget(key)
      return null
    }
    return record.ipAllowlist.length === 0 && record.domainAllowlist.length === 0 ? record.caller : null
  }

  // What is not even of the right form is not worth a hash.
  const authenticate: Authenticate = (key, origin, beforeLookup) =>
    keyPattern.test(Redacted.value(key)) ? find(key, false, origin, beforeLookup) : refuse("unknown")
  const identify: Authenticate = (secret, origin, beforeLookup) =>
    isSessionToken(Redacted.value(secret)) ? find(secret, true, origin, beforeLookup) : authenticate(secret, origin, beforeLookup)

  const pollMs = options.pollMs === undefined ? 500 : options.pollMs
  if (pollMs !== null) yield* Effect.forkScoped(watchChanges(sql, cache, pollMs))

  return Identity.of({ authenticate, identify, recall, isAdmin: (key) => Effect.sync(() => hasher.equals(key, options.adminKey)) })
})
