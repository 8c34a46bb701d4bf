/**
 * The tables of users and keys.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `CREATE TABLE users (
    id text PRIMARY KEY,
    email text NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('admin', 'team', 'dev', 'free')),
    tier text NOT NULL,
    plan text NOT NULL CHECK (plan IN ('trial', 'dev', 'team', 'enterprise')),
    status text NOT NULL,
    limits jsonb NOT NULL DEFAULT '{}',
    password_hash text,
    email_verified boolean NOT NULL DEFAULT false,
    trial_ends_at timestamptz,
    trial_tokens_left bigint NOT NULL DEFAULT 0,
    trial_requests_left bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,
  `CREATE TABLE api_keys (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES users (id),
    key_hash text NOT NULL UNIQUE,
    encrypted_key text NOT NULL,
    key_version text NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    last4 text NOT NULL,
    environment text NOT NULL,
    is_primary boolean NOT NULL DEFAULT false,
    scopes jsonb NOT NULL DEFAULT '["*"]',
    ip_allowlist jsonb NOT NULL DEFAULT '[]',
    domain_allowlist jsonb NOT NULL DEFAULT '[]',
    limits jsonb NOT NULL DEFAULT '{}',
    max_requests bigint,
    requests_used bigint NOT NULL DEFAULT 0,
    cache text CHECK (cache IN ('on', 'off', 'external')),
    guardrails jsonb,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,
  // A revoked key leaves its name to another.
  "CREATE UNIQUE INDEX api_keys_user_id_name_key ON api_keys (user_id, name) WHERE revoked_at IS NULL",
  "CREATE INDEX api_keys_user ON api_keys (user_id, id DESC)",
  "CREATE INDEX users_changed ON users (changed_at)",
  "CREATE INDEX api_keys_changed ON api_keys (changed_at)",
  "CREATE INDEX api_keys_version ON api_keys (key_version, id)"
]

/** Where secrets are kept encrypted. @category data @since 0.1.0 */
export const encryptedKeys = [{ table: "api_keys", column: "encrypted_key", version: "key_version" }]

/** @category migrations @since 0.1.0 */
export const createIdentity = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
