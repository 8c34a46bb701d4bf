/**
 * On what terms a trial begins: the standard ones, or a partner's; and who brought whom.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import * as Money from "../../schemas/Money.ts"
import { type AccountsError, fail, fromDatabase } from "./AccountsError.ts"

/** What a new account begins with. @category models @since 0.1.0 */
export interface TrialTerms {
  readonly tier: string
  readonly trialDays: number
  readonly trialTokens: number
  readonly trialRequests: number
  readonly credit: Money.Money
  /** Spending in one UTC day; null leaves the plan's. */
  readonly dailyCap: Money.Money | null
}

/** @category data @since 0.1.0 */
export const standardTrial: TrialTerms = {
  tier: "basic",
  trialDays: 3,
  trialTokens: 1_000_000,
  trialRequests: 10_000,
  credit: Money.usd("5"),
  dailyCap: null
}

/** Users that one code may bring. */
const REFERRALS = 10

/** @category services @since 0.1.0 */
export class Partners extends Context.Service<
  Partners,
  {
    /** A partner's terms, by its code in any case. */
    readonly find: (code: string) => Effect.Effect<TrialTerms & { readonly code: string }, AccountsError>
    /** The user whose referral code this is, as long as it may bring more. */
    readonly referrer: (code: string) => Effect.Effect<AccountId, AccountsError>
  }
>()("sluice/identity/Partners") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(SqlClient.SqlClient, (sql) =>
      Partners.of({
        find: Effect.fnUntraced(function* (code) {
          const found = yield* sql`SELECT code, tier, trial_days, trial_tokens::text, trial_requests::text, credit::text, daily_cap::text
            FROM partners WHERE code = ${code.trim().toUpperCase()} AND active`
          const [row] = yield* Schema.decodeUnknownEffect(PartnerRows)(found)
          if (row === undefined) return yield* fail("invalid_input", "`partner_code` is not the code of a partner.")
          return {
            code: row.code,
            tier: row.tier,
            trialDays: row.trial_days,
            trialTokens: row.trial_tokens,
            trialRequests: row.trial_requests,
            credit: Money.make(row.credit),
            dailyCap: row.daily_cap === null ? null : Money.make(row.daily_cap)
          }
        }, Effect.mapError(fromDatabase)),
        referrer: Effect.fnUntraced(function* (code) {
          const found = yield* sql`SELECT id, (SELECT count(*) FROM users r WHERE r.referred_by = u.id)::text AS brought
            FROM users u WHERE referral_code = ${code.trim().toUpperCase()}`
          const [row] = yield* Schema.decodeUnknownEffect(ReferrerRows)(found)
          if (row === undefined) return yield* fail("invalid_input", "`referral_code` is nobody's code.")
          if (row.brought >= REFERRALS) return yield* fail("invalid_input", "`referral_code` was used as often as it may be.")
          return row.id
        }, Effect.mapError(fromDatabase))
      })
    )
  )
}

const PartnerRows = Schema.Array(
  Schema.Struct({
    code: Schema.String,
    tier: Schema.String,
    trial_days: Schema.Number,
    trial_tokens: Schema.NumberFromString,
    trial_requests: Schema.NumberFromString,
    credit: Schema.BigIntFromString,
    daily_cap: Schema.NullOr(Schema.BigIntFromString)
  })
)
const ReferrerRows = Schema.Array(Schema.Struct({ id: Schema.String, brought: Schema.NumberFromString }))
