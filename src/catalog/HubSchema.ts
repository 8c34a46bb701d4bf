/**
 * The table of what the Hugging Face Hub tells of repositories.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** @category migrations @since 0.1.0 */
export const createHub = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // One row a repository: what was last read of it, and when that was last tried.
  yield* sql.unsafe(`CREATE TABLE hub_repositories (
    repository text PRIMARY KEY,
    tried_at timestamptz NOT NULL,
    succeeded_at timestamptz,
    details jsonb,
    error text
  )`)
})
