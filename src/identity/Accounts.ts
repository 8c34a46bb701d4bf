/**
 * Users, as the operator and the account itself manage them.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, type Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Hex } from "effect/encoding"
import { SqlClient } from "effect/sql"
import { type AccountId, Role, type User } from "../../schemas/Account.ts"
import * as Money from "../../schemas/Money.ts"
import { NegotiatedLimits, PlanId } from "../../schemas/Plan.ts"
import { Ledger } from "../ledger/Ledger.ts"
import { type AccountsError, fail, fromDatabase, isoColumn } from "./AccountsError.ts"
import { type Actor, AuditLog } from "./AuditLog.ts"
import { AuthCache } from "./AuthCache.ts"
import { validate } from "./EffectiveLimits.ts"
import { normaliseEmail, placeholderAddress } from "./EmailAddress.ts"
import { Keys } from "./Keys.ts"
import type { Page, PageRequest } from "./Page.ts"
import { Partners, standardTrial } from "./Partners.ts"
import { Renewals } from "./Renewals.ts"
import { Trials } from "./Trials.ts"

/** Who is to be a user. @category models @since 0.1.0 */
export interface NewUser {
  /** Null: the account has none. */
  readonly email: string | null
  /** Null starts on trial. */
  readonly plan: PlanId | null
  /** Sets the terms of the trial. */
  readonly partnerCode?: string | undefined
  /** The code of the user who brought this one. */
  readonly referralCode?: string | undefined
  /** A code as it was given, also when it is nobody's. */
  readonly referredByCode?: string | undefined
  readonly passwordHash?: string | undefined
  /** Whether somebody vouches that the address is the user's. */
  readonly emailVerified?: boolean | undefined
  /** The identity that leads to the account. */
  readonly identity?: { readonly issuer: string; readonly subject: string; readonly method: string } | undefined
}

/** A user as it was just made, with what is shown only now. @category models @since 0.1.0 */
export interface MadeUser {
  readonly user: User
  readonly apiKey: Redacted.Redacted
  readonly referralCode: string
}

/** @category services @since 0.1.0 */
export class Accounts extends Context.Service<
  Accounts,
  {
    /** A user with its ledger account, its starting credit and one key, shown here only. */
    readonly create: (input: NewUser) => Effect.Effect<MadeUser, AccountsError>
    readonly get: (id: AccountId) => Effect.Effect<User, AccountsError>
    /** For the operator: by id or e-mail address. */
    readonly find: (idOrEmail: string) => Effect.Effect<User, AccountsError>
    readonly list: (page: PageRequest) => Effect.Effect<Page<User>, AccountsError>
    /** Changes the plan: its allowance begins anew, what was left of the old one's is lost, purchased credits stay as they are. */
    readonly setPlan: (id: AccountId, plan: PlanId) => Effect.Effect<User, AccountsError>
    readonly setLimits: (id: AccountId, limits: NegotiatedLimits) => Effect.Effect<User, AccountsError>
    /** Changes the role, and writes down who did and why, in one transaction. */
    readonly setRole: (id: AccountId, role: Role, reason: string | null, by: Actor) => Effect.Effect<User, AccountsError>
  }
>()("sluice/identity/Accounts") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const parts: Parts = {
        sql: yield* SqlClient.SqlClient,
        ledger: yield* Ledger,
        keys: yield* Keys,
        cache: yield* AuthCache,
        partners: yield* Partners,
        random: yield* SecureRandom.SecureRandom,
        renewals: yield* Renewals,
        trials: yield* Trials,
        audit: yield* AuditLog
      }
      return Accounts.of({
        create: create(parts),
        get: get(parts),
        find: find(parts),
        list: list(parts),
        setPlan: setPlan(parts),
        setLimits: setLimits(parts),
        setRole: setRole(parts)
      })
    })
  )
}

interface Parts {
  readonly sql: SqlClient.SqlClient
  readonly ledger: Ledger["Service"]
  readonly keys: Keys["Service"]
  readonly cache: AuthCache["Service"]
  readonly partners: Partners["Service"]
  readonly random: SecureRandom.SecureRandom["Service"]
  readonly renewals: Renewals["Service"]
  readonly trials: Trials["Service"]
  readonly audit: AuditLog["Service"]
}

const DAY_MS = 24 * 3_600_000

// A trial shows what a developer has; `free` is a role that the operator gives.
const roleOf: Readonly<Record<PlanId, Role>> = { trial: "dev", dev: "dev", team: "team", enterprise: "team" }
const tierOf: Readonly<Record<PlanId, string>> = { trial: "basic", dev: "basic", team: "max", enterprise: "max" }
const statusOf = (plan: PlanId): string => (plan === "trial" ? "trial" : "active")

const UserRows = Schema.Array(
  Schema.Struct({
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
)
const IdRows = Schema.Array(Schema.Struct({ id: Schema.String }))
const PlanRows = Schema.Array(Schema.Struct({ plan: PlanId, role: Role }))
const decodeUsers = Schema.decodeUnknownEffect(UserRows)
const columns = `id, email, role, tier, plan, status, ${isoColumn("trial_ends_at")}, trial_tokens_left::text, trial_requests_left::text, ${isoColumn("created_at")}`

const toUser = ({ ledger }: Parts) =>
  Effect.fnUntraced(function* (row: (typeof UserRows.Type)[number]) {
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

const get = (parts: Parts) =>
  Effect.fnUntraced(function* (id: AccountId) {
    const { sql, trials } = parts
    yield* trials.flush
    const rows = yield* decodeUsers(yield* sql`SELECT ${sql.literal(columns)} FROM users WHERE users.id = ${id}`)
    const row = rows[0]
    return row === undefined ? yield* fail("user_not_found", "There is no such user.") : yield* toUser(parts)(row)
  }, Effect.mapError(fromDatabase))

const find = (parts: Parts) =>
  Effect.fnUntraced(function* (idOrEmail: string) {
    const { sql } = parts
    const email = normaliseEmail(idOrEmail) ?? ""
    const rows = yield* sql`SELECT id FROM users WHERE id = ${idOrEmail} OR email = ${email} LIMIT 1`
    const [row] = yield* Schema.decodeUnknownEffect(IdRows)(rows)
    return row === undefined ? yield* fail("user_not_found", "There is no such user.") : yield* get(parts)(row.id)
  }, Effect.mapError(fromDatabase))

const create = (parts: Parts) =>
  Effect.fnUntraced(function* (input: NewUser) {
    const { keys, ledger, partners, random, renewals, sql } = parts
    const id = yield* random.uuidV7()
    const email = input.email === null ? placeholderAddress(id) : normaliseEmail(input.email)
    if (email === null) return yield* fail("invalid_email", "`email` must be an e-mail address.")
    const plan = input.plan ?? "trial"
    const now = yield* Clock.currentTimeMillis
    const partner = input.partnerCode === undefined ? null : yield* partners.find(input.partnerCode)
    const terms = partner ?? standardTrial
    const onTrial = plan === "trial"
    const row = {
      id,
      email,
      role: roleOf[plan],
      tier: onTrial ? terms.tier : tierOf[plan],
      plan,
      status: statusOf(plan),
      limits: onTrial && terms.dailyCap !== null ? { daily_usd: Money.toUsd(terms.dailyCap) } : {},
      trial_ends_at: onTrial ? new Date(now + terms.trialDays * DAY_MS).toISOString() : null,
      trial_tokens_left: onTrial ? terms.trialTokens : 0,
      trial_requests_left: onTrial ? terms.trialRequests : 0,
      partner_code: partner?.code ?? null,
      referral_code: Hex.encode(yield* random.randomBytes(4)).toUpperCase(),
      referred_by: input.referralCode === undefined ? null : yield* partners.referrer(input.referralCode),
      referred_by_code: input.referredByCode ?? input.referralCode?.trim().toUpperCase() ?? null,
      password_hash: input.passwordHash ?? null,
      email_verified: input.emailVerified ?? false
    }
    const made = yield* sql.withTransaction(
      Effect.gen(function* () {
        yield* sql`INSERT INTO users (id, email, role, tier, plan, status, limits, trial_ends_at, trial_tokens_left, trial_requests_left,
            partner_code, referral_code, referred_by, referred_by_code, password_hash, email_verified)
          SELECT id, email, role, tier, plan, status, limits, trial_ends_at, trial_tokens_left, trial_requests_left,
            partner_code, referral_code, referred_by, referred_by_code, password_hash, email_verified
          FROM jsonb_to_record(${JSON.stringify(row)}::text::jsonb) AS t (id text, email text, role text, tier text, plan text, status text,
            limits jsonb, trial_ends_at timestamptz, trial_tokens_left bigint, trial_requests_left bigint,
            partner_code text, referral_code text, referred_by text, referred_by_code text, password_hash text, email_verified boolean)`
        if (input.identity !== undefined) {
          const { issuer, method, subject } = input.identity
          yield* sql`INSERT INTO identities (issuer, subject, user_id, method) VALUES (${issuer}, ${subject}, ${id}, ${method})`
        }
        yield* ledger.open(id)
        yield* ledger.grant({ accountId: id, kind: "topup", allowance: Money.zero, purchased: terms.credit, reference: "signup" })
        yield* renewals.begin(id, plan, now)
        return yield* keys.primary(id)
      })
    )
    return { user: yield* get(parts)(id), apiKey: made.key, referralCode: row.referral_code }
  }, Effect.mapError(fromDatabase))

const changeUser = ({ cache }: Parts, id: AccountId, change: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
  Effect.gen(function* () {
    if ((yield* change).length === 0) return yield* fail("user_not_found", "There is no such user.")
    yield* cache.invalidate([id])
  })

const list = (parts: Parts) =>
  Effect.fnUntraced(function* (page: PageRequest) {
    const { sql, trials } = parts
    yield* trials.flush
    const rows = yield* decodeUsers(
      yield* sql`SELECT ${sql.literal(columns)} FROM users
        WHERE ${page.cursor}::text IS NULL OR users.id < ${page.cursor}::text
        ORDER BY users.id DESC LIMIT ${String(page.limit + 1)}::text::int`
    )
    const shown = rows.slice(0, page.limit)
    const data: ReadonlyArray<User> = yield* Effect.forEach(shown, toUser(parts))
    return { data, next: rows.length > page.limit ? (shown.at(-1)?.id ?? null) : null }
  }, Effect.mapError(fromDatabase))

const setPlan = (parts: Parts) =>
  Effect.fnUntraced(function* (id: AccountId, plan: PlanId) {
    const { renewals, sql } = parts
    const now = yield* Clock.currentTimeMillis
    const change = sql.withTransaction(
      Effect.gen(function* () {
        const found = yield* Schema.decodeUnknownEffect(PlanRows)(yield* sql`SELECT plan, role FROM users WHERE id = ${id} FOR UPDATE`)
        const before = found[0]
        if (before === undefined || before.plan === plan) return found
        // A role that the operator gave stays; one that came with a plan goes with it.
        const role = before.role === roleOf[before.plan] ? roleOf[plan] : before.role
        // One trial for each user: coming back to it finds what was left.
        yield* sql`UPDATE users SET plan = ${plan}, role = ${role}, tier = ${tierOf[plan]}, status = ${statusOf(plan)},
          trial_ends_at = CASE WHEN ${plan} = 'trial' THEN coalesce(trial_ends_at, ${new Date(now + standardTrial.trialDays * DAY_MS).toISOString()}::text::timestamptz) ELSE trial_ends_at END,
          trial_tokens_left = CASE WHEN ${plan} = 'trial' AND trial_ends_at IS NULL THEN ${String(standardTrial.trialTokens)}::text::bigint ELSE trial_tokens_left END,
          trial_requests_left = CASE WHEN ${plan} = 'trial' AND trial_ends_at IS NULL THEN ${String(standardTrial.trialRequests)}::text::bigint ELSE trial_requests_left END,
          changed_at = clock_timestamp() WHERE id = ${id}`
        yield* renewals.begin(id, plan, now)
        return found
      })
    )
    yield* changeUser(parts, id, change)
    return yield* get(parts)(id)
  }, Effect.mapError(fromDatabase))

const setRole = (parts: Parts) =>
  Effect.fnUntraced(function* (id: AccountId, role: Role, reason: string | null, by: Actor) {
    const { audit, sql } = parts
    const change = sql.withTransaction(
      Effect.gen(function* () {
        const found = yield* Schema.decodeUnknownEffect(PlanRows)(yield* sql`SELECT plan, role FROM users WHERE id = ${id} FOR UPDATE`)
        const before = found[0]
        if (before === undefined) return found
        yield* sql`UPDATE users SET role = ${role}, changed_at = clock_timestamp() WHERE id = ${id}`
        yield* audit.write({ ...by, action: "ROLE_CHANGED", account: id, reason, details: { old_role: before.role, new_role: role } })
        return found
      })
    )
    yield* changeUser(parts, id, change)
    return yield* get(parts)(id)
  }, Effect.mapError(fromDatabase))

const setLimits = (parts: Parts) =>
  Effect.fnUntraced(function* (id: AccountId, limits: NegotiatedLimits) {
    const { sql } = parts
    const wrong = validate(limits)
    if (wrong !== null) return yield* fail("invalid_input", wrong)
    const stored = JSON.stringify(Schema.encodeSync(NegotiatedLimits)(limits))
    const change = sql`UPDATE users SET limits = limits || ${stored}::text::jsonb, changed_at = clock_timestamp() WHERE id = ${id} RETURNING id`
    yield* changeUser(parts, id, change)
    return yield* get(parts)(id)
  }, Effect.mapError(fromDatabase))
