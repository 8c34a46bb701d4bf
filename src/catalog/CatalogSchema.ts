/**
 * The tables of what providers list.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  // One row a provider: when its list was read, and who reads it now.
  `CREATE TABLE provider_lists (
    provider text PRIMARY KEY,
    started_at timestamptz,
    succeeded_at timestamptz,
    status text,
    error text,
    leased_until timestamptz,
    lease text
  )`,
  // One row a model of a list. One that is absent again and again is no longer active, and comes back as it was.
  `CREATE TABLE provider_list_rows (
    provider text NOT NULL,
    native_id text NOT NULL,
    hash text NOT NULL,
    absent int NOT NULL DEFAULT 0,
    active boolean NOT NULL DEFAULT true,
    details jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (provider, native_id)
  )`
]

/** @category migrations @since 0.1.0 */
export const createCatalog = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
