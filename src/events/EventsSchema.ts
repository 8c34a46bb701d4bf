/**
 * The tables of events and webhooks, and the triggers by which money tells of itself.
 *
 * An event of an account's credits is written by the transaction that moves the money: it is there when that is, once,
 * whichever replica did it and however that one ends afterwards. A trigger's condition is all that a movement without an
 * event pays.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** A time as ISO-8601 text, in SQL. @category formatting @since 0.1.0 */
export const utc = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

const tables = [
  // `lease_node` is the process that delivers to the endpoint just now; `failing` is how its last attempt ended.
  `CREATE TABLE webhooks (
    id text PRIMARY KEY,
    account text NOT NULL REFERENCES accounts (id),
    url text NOT NULL,
    events text[] NOT NULL,
    description text,
    enabled boolean NOT NULL DEFAULT true,
    secret text NOT NULL,
    previous_secret text,
    previous_secret_until timestamptz,
    failing boolean NOT NULL DEFAULT false,
    served_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_node bigint,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,
  "CREATE INDEX webhooks_account ON webhooks (account, id DESC)",
  // `once` names what may be told only once, such as a window of a limit.
  `CREATE TABLE events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE DEFAULT 'evt_' || replace(gen_random_uuid()::text, '-', ''),
    account text NOT NULL,
    type text NOT NULL,
    data jsonb NOT NULL,
    once text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,
  "CREATE UNIQUE INDEX events_once ON events (account, once) WHERE once IS NOT NULL",
  "CREATE INDEX events_created ON events (created_at)",
  // One row an attempt; the last of a delivery that goes on is pending.
  `CREATE TABLE webhook_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook text NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event bigint NOT NULL REFERENCES events (seq) ON DELETE CASCADE,
    attempt integer NOT NULL DEFAULT 1,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('delivered', 'failed', 'pending')),
    status_code integer,
    duration_ms integer,
    error text,
    next_at timestamptz DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`,
  "CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook, id DESC)",
  "CREATE INDEX webhook_deliveries_event ON webhook_deliveries (event)",
  "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook, next_at) WHERE status = 'pending'",
  "CREATE INDEX webhook_deliveries_order ON webhook_deliveries (webhook, event) WHERE status = 'pending'",
  // 5 USD. `spent_out`: credits.depleted was told, and nothing to speak of came since.
  `ALTER TABLE accounts ADD COLUMN low_balance numeric NOT NULL DEFAULT 5000000000000 CHECK (low_balance >= 0),
    ADD COLUMN spent_out boolean NOT NULL DEFAULT false`
]

/** Picodollars as the API writes them: USD, at least two decimals. */
const usdText = `CREATE FUNCTION usd_text(p numeric) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN scale(t) < 2 THEN round(t, 2)::text ELSE t::text END FROM (SELECT trim_scale(p * 0.000000000001) AS t) trimmed
$$`

/** Writes an event and a delivery for each endpoint of the account that wants it; an event that nobody wants is not kept. */
const emit = `CREATE FUNCTION event_emit(p_account text, p_type text, p_data jsonb, p_once text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_event bigint;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM webhooks WHERE account = p_account AND enabled AND p_type = ANY (events)) THEN RETURN NULL; END IF;
  INSERT INTO events (account, type, data, once) VALUES (p_account, p_type, p_data, p_once)
    ON CONFLICT (account, once) WHERE once IS NOT NULL DO NOTHING RETURNING seq INTO v_event;
  IF v_event IS NULL THEN RETURN NULL; END IF;
  INSERT INTO webhook_deliveries (webhook, event)
    SELECT id, v_event FROM webhooks WHERE account = p_account AND enabled AND p_type = ANY (events);
  RETURN v_event;
END $$`

/** The same for every account that wants it. */
const broadcast = `CREATE FUNCTION event_broadcast(p_type text, p_data jsonb, p_once text) RETURNS void LANGUAGE sql AS $$
  SELECT event_emit(account, p_type, p_data, p_once)
  FROM (SELECT DISTINCT account FROM webhooks WHERE enabled AND p_type = ANY (events)) wanting
$$`

/** Money is not kept from moving by what is told of it. */
const rest = (what: string) => `EXCEPTION WHEN OTHERS THEN
    RAISE WARNING '% could not be told of %: %', NEW.${what}, TG_NAME, SQLERRM;`

const BALANCE = (row: "NEW" | "OLD") => `(${row}.allowance + ${row}.purchased)`

/** What is left at which an account that was refused for want of credits has none: 0.01 USD. */
const NOTHING_LEFT = "10000000000"

const triggers = [
  `CREATE FUNCTION accounts_spent_out() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    NEW.spent_out := ${BALANCE("NEW")} = 0;
    RETURN NEW;
  END $$`,
  `CREATE TRIGGER accounts_spent_out BEFORE UPDATE ON accounts FOR EACH ROW
    WHEN ((NOT NEW.spent_out AND ${BALANCE("NEW")} = 0 AND ${BALANCE("OLD")} > 0) OR (NEW.spent_out AND ${BALANCE("NEW")} >= ${NOTHING_LEFT}))
    EXECUTE FUNCTION accounts_spent_out()`,
  `CREATE FUNCTION accounts_tell() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    v_data jsonb := jsonb_build_object('balance_usd', usd_text(${BALANCE("NEW")}), 'allowance_usd', usd_text(NEW.allowance),
      'purchased_usd', usd_text(NEW.purchased), 'low_balance_usd', usd_text(NEW.low_balance));
  BEGIN
    IF ${BALANCE("OLD")} >= OLD.low_balance AND ${BALANCE("NEW")} < NEW.low_balance THEN
      PERFORM event_emit(NEW.id, 'credits.low', v_data, NULL);
    END IF;
    IF NEW.spent_out AND NOT OLD.spent_out THEN PERFORM event_emit(NEW.id, 'credits.depleted', v_data, NULL); END IF;
    RETURN NULL;
  ${rest("id")}
    RETURN NULL;
  END $$`,
  `CREATE TRIGGER accounts_tell AFTER UPDATE ON accounts FOR EACH ROW
    WHEN ((${BALANCE("OLD")} >= OLD.low_balance AND ${BALANCE("NEW")} < NEW.low_balance) OR (NEW.spent_out AND NOT OLD.spent_out))
    EXECUTE FUNCTION accounts_tell()`,
  `CREATE FUNCTION entries_tell() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM event_emit(NEW.account, 'credits.added', jsonb_build_object('entry_id', NEW.id::text, 'kind', NEW.kind,
      'amount_usd', usd_text(NEW.d_allowance + NEW.d_purchased), 'reference', NEW.reference,
      'balance_usd', usd_text((SELECT allowance + purchased FROM accounts WHERE id = NEW.account))), NULL);
    RETURN NULL;
  ${rest("account")}
    RETURN NULL;
  END $$`,
  `CREATE TRIGGER entries_tell AFTER INSERT ON entries FOR EACH ROW
    WHEN (NEW.kind IN ('topup', 'allowance', 'adjust') AND NEW.d_allowance + NEW.d_purchased > 0)
    EXECUTE FUNCTION entries_tell()`
]

/** Where secrets are kept encrypted. @category data @since 0.1.0 */
export const encryptedSecrets = [
  { table: "webhooks", column: "secret", version: null },
  { table: "webhooks", column: "previous_secret", version: null }
]

/** @category migrations @since 0.1.0 */
export const createEvents = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of [...tables, usdText, emit, broadcast, ...triggers]) yield* sql.unsafe(statement)
})
