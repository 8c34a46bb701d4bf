/**
 * Who is calling.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Redacted, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { type Caller, Role } from "../../schemas/Account.ts"
import { NegotiatedLimits, PlanId } from "../../schemas/Plan.ts"
import { messageOf } from "../database/Failures.ts"
import { allowsAddress, allowsDomain } from "./Allowlists.ts"
import { AuthCache, type KeyRecord } from "./AuthCache.ts"
import { effectiveLimits } from "./EffectiveLimits.ts"
import { KeyHasher } from "./KeyHasher.ts"

/** Why a key is not let in. `unavailable` is our own trouble, never the caller's. @category errors @since 0.1.0 */
export class IdentityError extends Schema.TaggedError<IdentityError>()("IdentityError", {
  reason: Schema.Literals(["missing", "unknown", "revoked", "expired", "inactive", "ip_not_allowed", "domain_not_allowed", "unavailable"])
}) {}

/** What the request says about where it comes from. @category models @since 0.1.0 */
export interface Origin {
  /** The client's address, by `TRUST_PROXY`; null when unknown. */
  readonly ip: string | null
  /** Host of `Origin`, else of `Referer`; null when neither came. */
  readonly host: string | null
}

/** @category services @since 0.1.0 */
export class Identity extends Context.Service<
  Identity,
  {
    /**
     * The account behind a plain key. Warm keys make no database call; before one is made `beforeLookup` is run with the
     * key's hash, and may forbid it.
     */
    readonly authenticate: <E = never>(
      key: Redacted.Redacted,
      origin: Origin,
      beforeLookup?: (hash: string) => Effect.Effect<void, E>
    ) => Effect.Effect<Caller, IdentityError | E>
    /** Whether this is the operator's admin key, compared in constant time. */
    readonly isAdmin: (key: Redacted.Redacted) => Effect.Effect<boolean>
  }
>()("sluice/identity/Identity") {
  static readonly layer = (options: IdentityOptions) => Layer.effect(this, make(options))
}

/** @category models @since 0.1.0 */
export interface IdentityOptions {
  readonly adminKey: Redacted.Redacted
  /** How often changed keys are looked for, in milliseconds, so that another replica's revocation holds here. */
  readonly pollMs?: number
}

const Row = Schema.Struct({
  key_id: Schema.String,
  user_id: Schema.String,
  role: Role,
  plan: PlanId,
  status: Schema.String,
  account_limits: Schema.fromJsonString(NegotiatedLimits),
  key_limits: Schema.fromJsonString(NegotiatedLimits),
  ip_allowlist: Schema.fromJsonString(Schema.Array(Schema.String)),
  domain_allowlist: Schema.fromJsonString(Schema.Array(Schema.String)),
  trial_ends_at: Schema.NullOr(Schema.String),
  expires_at: Schema.NullOr(Schema.String),
  revoked_at: Schema.NullOr(Schema.String)
})
const Rows = Schema.Array(Row)
const Changed = Schema.Array(Schema.Struct({ user_id: Schema.String }))
const Mark = Schema.Tuple([Schema.Struct({ now: Schema.String })])

const millis = (text: string | null): number | null => (text === null ? null : Number(text))

const toRecord = (row: typeof Row.Type): KeyRecord => ({
  caller: {
    accountId: row.user_id,
    keyId: row.key_id,
    role: row.role,
    plan: row.plan,
    limits: effectiveLimits(row.plan, row.account_limits, row.key_limits),
    trialEndsAt: row.plan === "trial" ? millis(row.trial_ends_at) : null
  },
  userStatus: row.status,
  ipAllowlist: row.ip_allowlist,
  domainAllowlist: row.domain_allowlist,
  expiresAt: millis(row.expires_at),
  revokedAt: millis(row.revoked_at)
})

const keyPattern = /^gw_(live|staging|test|dev)_[A-Za-z0-9_-]{43}$/

const refuse = (reason: IdentityError["reason"]) => Effect.fail(new IdentityError({ reason }))

/** What a request's key must pass each time, without asking anybody. */
const check = (record: KeyRecord, origin: Origin, now: number): Effect.Effect<Caller, IdentityError> => {
  if (record.revokedAt !== null) return refuse("revoked")
  if (record.expiresAt !== null && now >= record.expiresAt) return refuse("expired")
  if (record.userStatus !== "active" && record.userStatus !== "trial") return refuse("inactive")
  if (!allowsAddress(record.ipAllowlist, origin.ip)) return refuse("ip_not_allowed")
  if (!allowsDomain(record.domainAllowlist, origin.host)) return refuse("domain_not_allowed")
  return Effect.succeed(record.caller)
}

const make = Effect.fnUntraced(function* (options: IdentityOptions) {
  const sql = yield* SqlClient.SqlClient
  const hasher = yield* KeyHasher
  const cache = yield* AuthCache

  const read = Effect.fnUntraced(function* (hash: string) {
    const rows =
      yield* sql`SELECT k.id AS key_id, k.user_id, u.role, u.plan, u.status, u.limits::text AS account_limits, k.limits::text AS key_limits,
      k.ip_allowlist::text AS ip_allowlist, k.domain_allowlist::text AS domain_allowlist,
      floor(extract(epoch FROM u.trial_ends_at) * 1000)::text AS trial_ends_at,
      floor(extract(epoch FROM k.expires_at) * 1000)::text AS expires_at,
      floor(extract(epoch FROM k.revoked_at) * 1000)::text AS revoked_at
      FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.key_hash = ${hash}`
    const row = (yield* Schema.decodeUnknownEffect(Rows)(rows))[0]
    return row === undefined ? ("unknown" as const) : toRecord(row)
  })

  // One look at the database for each key at a time, however many ask.
  const looking = new Map<string, Effect.Effect<KeyRecord | "unknown", IdentityError>>()
  const look = (hash: string): Effect.Effect<KeyRecord | "unknown", IdentityError> =>
    Effect.suspend(() => {
      const under = looking.get(hash)
      if (under !== undefined) return under
      const fresh = read(hash).pipe(
        Effect.tap((record) => cache.set(hash, record)),
        Effect.mapError(() => new IdentityError({ reason: "unavailable" })),
        Effect.ensuring(Effect.sync(() => looking.delete(hash))),
        Effect.cached
      )
      return Effect.flatMap(fresh, (shared) => {
        const other = looking.get(hash)
        if (other !== undefined) return other
        looking.set(hash, shared)
        return shared
      })
    })

  const authenticate = Effect.fnUntraced(function* <E = never>(
    key: Redacted.Redacted,
    origin: Origin,
    beforeLookup?: (hash: string) => Effect.Effect<void, E>
  ): Effect.fn.Return<Caller, IdentityError | E> {
    if (!keyPattern.test(Redacted.value(key))) return yield* refuse("unknown")
    const hash = hasher.hash(key)
    let record = yield* cache.get(hash)
    if (record === undefined) {
      if (beforeLookup !== undefined) yield* beforeLookup(hash)
      record = yield* look(hash)
    }
    return record === "unknown" ? yield* refuse("unknown") : yield* check(record, origin, yield* Clock.currentTimeMillis)
  })

  yield* Effect.forkScoped(watchChanges(sql, cache, options.pollMs ?? 500))

  return Identity.of({ authenticate, isAdmin: (key) => Effect.sync(() => hasher.equals(key, options.adminKey)) })
})

/** Forgets what other replicas changed. What cannot be asked is asked again; after a long silence nothing old is believed. */
const watchChanges = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, cache: AuthCache["Service"], pollMs: number) {
  const mark = Effect.map(
    Effect.flatMap(sql`SELECT (clock_timestamp() - interval '2 seconds')::text AS now`, Schema.decodeUnknownEffect(Mark)),
    ([row]) => row.now
  )
  let since = yield* Effect.retry(mark, { schedule: Schedule.spaced(pollMs) })
  const poll = Effect.gen(function* () {
    const next = yield* mark
    const rows = yield* sql`SELECT user_id FROM api_keys WHERE changed_at > ${since}::text::timestamptz
      UNION SELECT id FROM users WHERE changed_at > ${since}::text::timestamptz`
    const changed = yield* Schema.decodeUnknownEffect(Changed)(rows)
    if (changed.length > 0) yield* cache.invalidate(changed.map((row) => row.user_id))
    since = next
  })
  const careful = Effect.catch(poll, (error) =>
    Effect.logWarning(`Changed keys could not be looked for: ${messageOf(error).slice(0, 300)}`)
  )
  return yield* Effect.forever(Effect.andThen(Effect.sleep(pollMs), careful))
})
