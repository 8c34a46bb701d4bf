/**
 * What plans, partners and referrals add to users.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as Money from "../../schemas/Money.ts"

const statements = [
  `ALTER TABLE users
    ADD COLUMN plan_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN allowance_renews_at timestamptz,
    ADD COLUMN partner_code text,
    ADD COLUMN referral_code text UNIQUE,
    ADD COLUMN referred_by text REFERENCES users (id),
    ADD COLUMN first_purchase_at timestamptz`,
  "CREATE INDEX users_renewal ON users (allowance_renews_at) WHERE allowance_renews_at IS NOT NULL",
  "CREATE INDEX users_referred_by ON users (referred_by) WHERE referred_by IS NOT NULL",
  // A new partner is a new row. Credit and cap are picodollars; a code is compared in upper case.
  `CREATE TABLE partners (
    code text PRIMARY KEY CHECK (code = upper(code)),
    tier text NOT NULL,
    trial_days integer NOT NULL,
    trial_tokens bigint NOT NULL,
    trial_requests bigint NOT NULL,
    credit numeric NOT NULL,
    daily_cap numeric,
    active boolean NOT NULL DEFAULT true
  )`,
  `INSERT INTO partners (code, tier, trial_days, trial_tokens, trial_requests, credit, daily_cap)
    VALUES ('REDBEARD', 'pro', 14, 1000000, 10000, ${Money.usd("20")}, ${Money.usd("5")})`,
  // Who has a plan with an allowance already gets its first period at once.
  "UPDATE users SET allowance_renews_at = clock_timestamp() WHERE plan = 'team'"
]

/** @category migrations @since 0.1.0 */
export const createPlans = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
