/**
 * The tables of sessions, of identities that issuers vouch for, and of the audit log.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  "ALTER TABLE users ADD COLUMN referred_by_code text",
  // A session that ended stays until it would have expired, so that other processes see that it did.
  `CREATE TABLE sessions (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES users (id),
    token_hash text NOT NULL UNIQUE,
    method text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz
  )`,
  "CREATE INDEX sessions_user ON sessions (user_id, created_at DESC)",
  "CREATE INDEX sessions_expiry ON sessions (expires_at)",
  "CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL",
  `CREATE TABLE identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id text NOT NULL REFERENCES users (id),
    method text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (issuer, subject)
  )`,
  "CREATE INDEX identities_user ON identities (user_id)",
  `CREATE TABLE audit_log (
    id text PRIMARY KEY,
    action text NOT NULL,
    actor text NOT NULL,
    account text,
    reason text,
    ip text,
    request_id text,
    details jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
  )`,
  "CREATE INDEX audit_log_action ON audit_log (action, id DESC)",
  "CREATE INDEX audit_log_account ON audit_log (account, id DESC)",
  `CREATE FUNCTION audit_log_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$`,
  "CREATE TRIGGER audit_log_final BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_is_final()",
  "CREATE TRIGGER audit_log_kept BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_final()"
]

/** @category migrations @since 0.1.0 */
export const createSignIn = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
