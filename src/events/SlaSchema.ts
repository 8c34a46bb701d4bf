/**
 * The table of hours in which an account did not get what its plan promises.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

// `credit` is in picodollars; without `credited_at` it is still owed.
const statements = [
  `CREATE TABLE sla_breaches (
    account text NOT NULL REFERENCES accounts (id),
    hour timestamptz NOT NULL,
    plan text NOT NULL,
    kinds text[] NOT NULL,
    requests bigint NOT NULL,
    failures bigint NOT NULL,
    p99_ms bigint,
    credit numeric NOT NULL CHECK (credit >= 0),
    credited_at timestamptz,
    PRIMARY KEY (account, hour)
  )`,
  "CREATE INDEX sla_breaches_owed ON sla_breaches (hour) WHERE credited_at IS NULL"
]

/** @category migrations @since 0.1.0 */
export const createSla = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
