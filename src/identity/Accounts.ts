/**
 * Users and their keys, as the operator and the account itself manage them.
 *
 * @since 0.1.0
 */
import { Context, type Effect, type Redacted, Schema } from "effect"
import type { AccountId, ApiKey, User } from "../../schemas/Account.ts"
import type { PlanId } from "../../schemas/Plan.ts"

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

/** One negotiated limit: a number, `"none"` for no limit, null for the plan's. @category models @since 0.1.0 */
export type NegotiatedLimit = number | "none" | null

/** The limits an operator may set for an account; `daily_usd` is in USD (a number or a decimal string). @category models @since 0.1.0 */
export interface NegotiatedLimits {
  readonly rpm?: NegotiatedLimit
  readonly tokens_per_minute?: NegotiatedLimit
  readonly tokens_per_day?: NegotiatedLimit
  readonly tokens_per_month?: NegotiatedLimit
  readonly requests_per_day?: NegotiatedLimit
  readonly concurrency?: NegotiatedLimit
  readonly burst?: NegotiatedLimit
  readonly daily_usd?: NegotiatedLimit | string
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
>()("sluice/identity/Accounts") {}
