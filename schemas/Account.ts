/**
 * Who uses the gateway: users, their roles and their keys.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { Guardrails } from "./Guardrail.ts"
import { type Limits, PlanId } from "./Plan.ts"

/** A user's id, also the id of the user's ledger account (UUID). @category models @since 0.1.0 */
export type AccountId = string

/** Exactly four roles. @category schemas @since 0.1.0 */
export const Role = Schema.Literals(["admin", "team", "dev", "free"])
export type Role = typeof Role.Type

/** A user as the API shows it. Times are ISO-8601 in UTC, amounts decimal strings in USD; `trial` is what is left of one. @category schemas @since 0.1.0 */
export const User = Schema.Struct({
  id: Schema.String,
  email: Schema.String,
  role: Role,
  tier: Schema.String,
  plan: PlanId,
  status: Schema.String,
  trial: Schema.NullOr(
    Schema.Struct({
      ends_at: Schema.String,
      tokens_left: Schema.Number,
      requests_left: Schema.Number,
      credit_left_usd: Schema.String
    })
  ),
  created_at: Schema.String
}).annotate({ identifier: "User" })
export type User = typeof User.Type

/** What a key says about the response cache; `external`: also the one that somebody else runs, where there is one. @category schemas @since 0.1.0 */
export const CacheMode = Schema.Literals(["on", "off", "external"])
export type CacheMode = typeof CacheMode.Type

/** A key as the API lists it; the plain key is shown only once, at creation. @category schemas @since 0.1.0 */
export const ApiKey = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  prefix: Schema.String,
  last4: Schema.String,
  scopes: Schema.Array(Schema.String),
  ip_allowlist: Schema.Array(Schema.String),
  domain_allowlist: Schema.Array(Schema.String),
  limits: Schema.Record(Schema.String, Schema.NullOr(Schema.Union([Schema.Finite, Schema.String]))),
  /** Requests the key may make in all; null: no cap. */
  max_requests: Schema.NullOr(Schema.Number),
  /** Counted while there is a cap. */
  requests_used: Schema.Number,
  /** The response cache, for requests that say nothing of it. */
  cache: Schema.NullOr(CacheMode),
  guardrails: Schema.NullOr(Guardrails),
  expires_at: Schema.NullOr(Schema.String),
  revoked_at: Schema.NullOr(Schema.String),
  created_at: Schema.String
}).annotate({ identifier: "ApiKey" })
export type ApiKey = typeof ApiKey.Type

/** The caller of one request, as authentication found it: everything the request path needs to know of the account. @category models @since 0.1.0 */
export interface Caller {
  readonly accountId: AccountId
  /** The key's id; the session's for whoever logged in. */
  readonly keyId: string
  readonly role: Role
  readonly plan: PlanId
  /** The plan's limits with the account's negotiated limits and the key's own on top. */
  readonly limits: Limits
  /** End of the trial in epoch milliseconds; null when the account is not on trial. */
  readonly trialEndsAt: number | null
  /** What the key has watched; absent: nothing. */
  readonly guardrails?: Guardrails
  /** Nobody known, by the address's pseudonym: has no account, so only what costs nothing is served. */
  readonly isAnonymous?: true
  /** What the key is for; `*` is everything. */
  readonly scopes: ReadonlyArray<string>
  /** Requests that the key may make in all; null: no cap. */
  readonly maxRequests: number | null
  readonly cache: CacheMode | null
}
