/**
 * The table of requests.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `CREATE TABLE requests (
    id text PRIMARY KEY,
    account text NOT NULL,
    model text,
    provider text,
    outcome text NOT NULL,
    created_at timestamptz NOT NULL,
    details jsonb NOT NULL
  )`,
  "CREATE INDEX requests_account ON requests (account, id DESC)"
]

/** @category migrations @since 0.1.0 */
export const createRequests = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
