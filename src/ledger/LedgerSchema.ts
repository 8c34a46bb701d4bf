/**
 * The ledger's tables, and the one call that every commit is.
 *
 * Amounts are whole picodollars in `numeric`; nothing passes through a float.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { gathered, nullable, values } from "../database/Columns.ts"

const tables = [
  `CREATE TABLE accounts (
    id text PRIMARY KEY,
    allowance numeric NOT NULL DEFAULT 0 CHECK (allowance >= 0),
    purchased numeric NOT NULL DEFAULT 0 CHECK (purchased >= 0),
    leased numeric NOT NULL DEFAULT 0 CHECK (leased >= 0),
    recall_until timestamptz,
    day date,
    day_spent numeric NOT NULL DEFAULT 0,
    CHECK (leased <= allowance + purchased)
  ) WITH (fillfactor = 50)`,
  `CREATE TABLE ledger_nodes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host text NOT NULL,
    process text NOT NULL,
    state text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'dead')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_batch bigint NOT NULL DEFAULT 0
  )`,
  `CREATE TABLE leases (
    account text NOT NULL REFERENCES accounts (id),
    node bigint NOT NULL REFERENCES ledger_nodes (id),
    granted numeric NOT NULL DEFAULT 0,
    returned numeric NOT NULL DEFAULT 0,
    settled numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (account, node),
    CHECK (granted - returned - settled >= 0)
  ) WITH (fillfactor = 50)`,
  // Entries are written for accounts that are locked already: a foreign key would look each of them up again. They are looked for
  // by account, in pages, and by what makes them unique. `price` and `usage` are JSON that nothing here looks into.
  `CREATE TABLE entries (
    id bigint GENERATED ALWAYS AS IDENTITY,
    account text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('topup', 'allowance', 'charge', 'refund', 'expiry', 'adjust')),
    d_allowance numeric NOT NULL,
    d_purchased numeric NOT NULL,
    cost numeric,
    hold numeric,
    shortfall numeric NOT NULL DEFAULT 0,
    rid text COLLATE "C",
    reference text,
    model text,
    provider text,
    price text,
    usage text,
    node bigint,
    batch bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, id)
  )`,
  // A request ends in one charge or one refund, whoever retries.
  "CREATE UNIQUE INDEX entries_rid ON entries (rid) WHERE rid IS NOT NULL",
  "CREATE UNIQUE INDEX entries_reference ON entries (account, kind, reference) WHERE reference IS NOT NULL",
  `CREATE TABLE idempotency (
    account text NOT NULL REFERENCES accounts (id),
    key text NOT NULL,
    body_hash text NOT NULL,
    rid text NOT NULL,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done')),
    node bigint NOT NULL REFERENCES ledger_nodes (id),
    response jsonb,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account, key)
  )`,
  "CREATE INDEX idempotency_expires ON idempotency (expires_at)",
  `CREATE FUNCTION entries_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'ledger entries are final'; END $$`,
  "CREATE TRIGGER entries_final BEFORE UPDATE OR DELETE ON entries FOR EACH ROW EXECUTE FUNCTION entries_are_final()",
  "CREATE TRIGGER entries_kept BEFORE TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION entries_are_final()"
]

/**
 * Plans are made while the tables are young and kept: none of them may walk through a table, however few rows it has then. Of
 * `leases` all of a node could be walked through, so that a join never knows the node before it knows the account.
 */
const byKey = "SET enable_seqscan = off SET plan_cache_mode = force_generic_plan"

/** What a node's lease of an account has left, looked up for each account by itself. */
const leaseOf = (account: string) => `LATERAL (SELECT granted - returned - settled AS rest FROM leases
      WHERE leases.account = ${account} AND leases.node = p_node OFFSET 0) l`

/**
 * `ledger_commit(node, batch, accounts, settles, returns, wants)`: fence, settle, return, grant; answers the node's absolute leases,
 * as columns: account, lease, elsewhere, unleased, direct, recall, spent, and the milliseconds that are left of the day.
 *
 * A batch that was applied already changes nothing and answers the same totals, so a commit whose outcome is unknown is
 * sent again as it was. Settles take from the node's lease first; what a request used beyond it comes from the part of the
 * balance that nobody leased, as far as that goes.
 */
const commit = `CREATE OR REPLACE FUNCTION ledger_commit(p_node bigint, p_batch bigint, p_accounts text, p_settles text[], p_returns jsonb, p_wants jsonb)
RETURNS text LANGUAGE plpgsql ${byKey} AS $$
DECLARE
  v_last bigint;
  v_state text;
  v_live bigint;
  v_now timestamptz := clock_timestamp();
  v_today timestamp := date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC');
  v_left numeric := ceil(extract(epoch FROM v_today + interval '1 day' - v_now AT TIME ZONE 'UTC') * 1000);
  v_ids text[] := ${values("p_accounts")};
  v_direct jsonb := '{}'::jsonb;
BEGIN
  UPDATE ledger_nodes SET last_batch = p_batch, heartbeat_at = v_now WHERE id = p_node AND state = 'live' AND last_batch = p_batch - 1;
  IF FOUND THEN
    v_last := p_batch - 1;
  ELSE
    SELECT state, last_batch INTO v_state, v_last FROM ledger_nodes WHERE id = p_node FOR UPDATE;
    IF v_state IS DISTINCT FROM 'live' THEN RAISE EXCEPTION 'ledger: fenced'; END IF;
    IF v_last < p_batch - 1 THEN RAISE EXCEPTION 'ledger: regressed'; END IF;
  END IF;
  PERFORM 1 FROM accounts WHERE id = ANY (v_ids) ORDER BY id FOR NO KEY UPDATE;
  IF v_last < p_batch THEN
    IF p_settles IS NOT NULL THEN PERFORM ledger_settle(p_node, p_batch, p_settles); END IF;
    IF p_returns IS NOT NULL THEN WITH given AS MATERIALIZED (
      SELECT x.account, p_node AS node, least(x.amount, l.rest) AS amount
      FROM (SELECT y->>'account' AS account, (y->>'amount')::numeric AS amount FROM jsonb_array_elements(p_returns) y) x,
        ${leaseOf("x.account")}
    ), applied AS (
      UPDATE leases l SET returned = l.returned + g.amount FROM given g WHERE l.account = g.account AND l.node = g.node RETURNING l.account
    ) UPDATE accounts a SET leased = a.leased - g.amount FROM given g WHERE a.id = g.account AND a.id IN (SELECT account FROM applied);
    END IF;
    IF p_wants IS NOT NULL THEN
    SELECT count(*) INTO v_live FROM ledger_nodes WHERE state = 'live';
    WITH asked AS MATERIALIZED (
      SELECT a.id AS account, w.least, w.most, w.target, a.allowance + a.purchased - a.leased AS avail
      FROM (SELECT x->>'account' AS account, (x->>'least')::numeric AS least, (x->>'most')::numeric AS most, (x->>'target')::numeric AS target
        FROM jsonb_array_elements(p_wants) x) w JOIN accounts a ON a.id = w.account
    ), short AS (
      UPDATE accounts a SET recall_until = clock_timestamp() + interval '1 second'
      FROM asked w WHERE a.id = w.account AND (w.avail <= 0 OR w.avail < w.least)
    ), given AS MATERIALIZED (
      SELECT account, avail < 50 * most AS direct, CASE WHEN avail < 50 * most THEN least(avail, most)
        ELSE least(avail, greatest(most, least(target, trunc(avail / (2 * greatest(v_live, 1)))))) END AS amount
      FROM asked WHERE avail > 0 AND avail >= least
    ), leased AS (
      INSERT INTO leases (account, node, granted) SELECT account, p_node, amount FROM given ORDER BY account
      ON CONFLICT (account, node) DO UPDATE SET granted = leases.granted + excluded.granted
    ), applied AS (
      UPDATE accounts a SET leased = a.leased + g.amount FROM given g WHERE a.id = g.account
    )
    SELECT coalesce(jsonb_object_agg(account, true) FILTER (WHERE direct), '{}') INTO v_direct FROM given;
    END IF;
  END IF;
  RETURN (
    SELECT ${gathered([
      "a.id",
      "coalesce(l.rest, 0)",
      "a.leased - coalesce(l.rest, 0)",
      "a.allowance + a.purchased - a.leased",
      "coalesce((v_direct->>a.id)::boolean, false)",
      "coalesce(a.recall_until > v_now, false)",
      "CASE WHEN a.day = v_today::date THEN a.day_spent ELSE 0 END",
      "v_left"
    ])}
    FROM accounts a LEFT JOIN ${leaseOf("a.id")} ON true WHERE a.id = ANY (v_ids)
  );
END $$`

/** Ends, as the columns of `SettleRow`. */
const ends = `unnest(${values("p[1]")}, ${values("p[2]")}, ${values("p[3]")}, v_costs, ${values("p[5]")}::numeric[], v_parts,
  ${nullable("p[7]")}, ${nullable("p[8]")}, ${nullable("p[9]")}, ${nullable("p[10]")})`

const endColumns = "account, kind, rid, cost, hold, from_lease, model, provider, price, usage"

const entryColumns = "account, kind, d_allowance, d_purchased, cost, hold, shortfall, rid, model, provider, price, usage, node, batch"

/**
 * Ends of requests, whose accounts are locked: each request once, its lease first, then what nobody leased. Joins only what the
 * batch names, so that its cost grows with the batch and with nothing else.
 *
 * Nearly always every end is new, its lease has all that it costs, and each account pays from one purse: then each end is its
 * entry, and each account changes by a sum. Whatever else there may be is worked out end by end.
 */
const settle = `CREATE OR REPLACE FUNCTION ledger_settle(p_node bigint, p_batch bigint, p text[]) RETURNS void LANGUAGE plpgsql ${byKey} AS $$
DECLARE
  v_costs numeric[] := ${values("p[4]")}::numeric[];
  v_parts numeric[] := ${values("p[6]")}::numeric[];
  v_accounts text[];
  v_sums numeric[];
  v_nodes bigint[];
  v_plain boolean := false;
  v_allowance boolean;
  v_unknown text;
  v_today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
BEGIN
  IF v_costs = v_parts THEN
    SELECT array_agg(account), array_agg(cost) INTO v_accounts, v_sums FROM (
      SELECT account, sum(cost) AS cost FROM unnest(${values("p[1]")}, v_costs) AS t (account, cost) GROUP BY account) summed;
    SELECT bool_and(coalesce(l.rest >= m.cost AND (a.allowance = 0 OR a.allowance >= m.cost), false)),
      bool_or(a.allowance > 0), array_agg(p_node) INTO v_plain, v_allowance, v_nodes
    FROM unnest(v_accounts, v_sums) AS m (account, cost) LEFT JOIN accounts a ON a.id = m.account
      LEFT JOIN ${leaseOf("m.account")} ON true;
  END IF;
  IF v_plain THEN
    BEGIN
      IF v_allowance THEN
        INSERT INTO entries (${entryColumns})
        SELECT t.account, kind, CASE WHEN a.allowance > 0 THEN -cost ELSE 0 END, CASE WHEN a.allowance > 0 THEN 0 ELSE -cost END, cost, hold, 0,
          rid, model, provider, price, usage, p_node, p_batch FROM ${ends} AS t (${endColumns}) JOIN accounts a ON a.id = t.account;
      ELSE
        INSERT INTO entries (${entryColumns})
        SELECT account, kind, 0, -cost, cost, hold, 0, rid, model, provider, price, usage, p_node, p_batch FROM ${ends} AS t (${endColumns});
      END IF;
      UPDATE leases l SET settled = l.settled + m.cost FROM unnest(v_accounts, v_nodes, v_sums) AS m (account, node, cost)
        WHERE l.account = m.account AND l.node = m.node;
      UPDATE accounts a SET allowance = CASE WHEN a.allowance > 0 THEN a.allowance - m.cost ELSE 0 END,
        purchased = CASE WHEN a.allowance > 0 THEN a.purchased ELSE a.purchased - m.cost END, leased = a.leased - m.cost, day = v_today,
        day_spent = CASE WHEN a.day = v_today THEN a.day_spent ELSE 0 END + m.cost
        FROM unnest(v_accounts, v_sums) AS m (account, cost) WHERE a.id = m.account;
      RETURN;
    EXCEPTION WHEN unique_violation THEN
      -- One of them has ended before.
    END;
  END IF;
  SELECT x.account INTO v_unknown FROM (SELECT DISTINCT t.account FROM unnest(${values("p[1]")}) AS t (account)) x
    WHERE (SELECT a.id FROM accounts a WHERE a.id = x.account) IS NULL LIMIT 1;
  IF FOUND THEN RAISE EXCEPTION 'ledger: no account %', v_unknown USING ERRCODE = 'foreign_key_violation'; END IF;
  WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (rid) ord, account, kind, rid, cost, hold, from_lease, model, provider, price, usage
    FROM ${ends} WITH ORDINALITY AS t (${endColumns}, ord)
    WHERE (SELECT e.id FROM entries e WHERE e.rid = t.rid) IS NULL
    ORDER BY rid, ord
  ), standing AS MATERIALIZED (
    SELECT a.id, a.allowance, a.allowance + a.purchased - a.leased AS unleased,
      coalesce((SELECT l.granted - l.returned - l.settled FROM leases l WHERE l.account = a.id AND l.node = p_node), 0) AS lease
    FROM accounts a WHERE a.id = ANY (ARRAY(SELECT DISTINCT account FROM given))
  ), placed AS (
    SELECT g.*, a.allowance, a.unleased, a.lease, sum(g.from_lease) OVER w AS lease_sum
    FROM given g JOIN standing a ON a.id = g.account WINDOW w AS (PARTITION BY g.account ORDER BY g.ord)
  ), split AS (
    SELECT p.*, least(lease_sum, lease) - least(lease_sum - from_lease, lease) AS leased_part FROM placed p
  ), over_lease AS (
    SELECT s.*, sum(cost - leased_part) OVER (PARTITION BY account ORDER BY ord) AS over_sum FROM split s
  ), charged AS (
    SELECT o.*, leased_part + least(over_sum, unleased) - least(over_sum - (cost - leased_part), unleased) AS charge FROM over_lease o
  ), summed AS (
    SELECT c.*, sum(charge) OVER (PARTITION BY account ORDER BY ord) AS charge_sum FROM charged c
  ), paid AS MATERIALIZED (
    SELECT s.*, least(charge_sum, allowance) - least(charge_sum - charge, allowance) AS from_allowance FROM summed s
  ), written AS (
    INSERT INTO entries (${entryColumns})
    SELECT account, kind, -from_allowance, -(charge - from_allowance), cost, hold, cost - charge, rid, model, provider, price, usage, p_node, p_batch
    FROM paid ORDER BY ord
  ), moved AS MATERIALIZED (
    SELECT account, p_node AS node, sum(from_allowance) AS from_allowance, sum(charge) AS charge, sum(leased_part) AS leased_part
    FROM paid GROUP BY account
  ), leases_moved AS (
    UPDATE leases l SET settled = l.settled + m.leased_part FROM moved m WHERE l.account = m.account AND l.node = m.node AND m.leased_part > 0
  )
  UPDATE accounts a SET allowance = a.allowance - m.from_allowance, purchased = a.purchased - (m.charge - m.from_allowance),
    leased = a.leased - m.leased_part, day = v_today, day_spent = CASE WHEN a.day = v_today THEN a.day_spent ELSE 0 END + m.charge
  FROM moved m WHERE a.id = m.account;
END $$`

const takeOver = `CREATE OR REPLACE FUNCTION ledger_take_over(p_node bigint, p_settles text[]) RETURNS void LANGUAGE plpgsql ${byKey} AS $$
DECLARE
  v_accounts text[];
  v_open numeric[];
BEGIN
  UPDATE ledger_nodes SET state = 'dead' WHERE id = p_node;
  PERFORM 1 FROM accounts WHERE id IN (
      SELECT account FROM leases WHERE node = p_node AND granted - returned - settled > 0
      UNION SELECT unnest(${values("p_settles[1]")}))
    ORDER BY id FOR NO KEY UPDATE;
  IF p_settles IS NOT NULL THEN PERFORM ledger_settle(p_node, 0, p_settles); END IF;
  SELECT array_agg(account), array_agg(granted - returned - settled) INTO v_accounts, v_open
    FROM leases WHERE node = p_node AND granted - returned - settled > 0;
  UPDATE leases SET returned = granted - settled WHERE node = p_node AND granted - returned - settled > 0;
  UPDATE accounts a SET leased = a.leased - f.open FROM unnest(v_accounts, v_open) AS f (account, open) WHERE a.id = f.account;
END $$`

const grant = `CREATE OR REPLACE FUNCTION ledger_grant(p_account text, p_kind text, p_allowance numeric, p_purchased numeric, p_reference text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_id bigint;
  v_account accounts%ROWTYPE;
BEGIN
  SELECT * INTO v_account FROM accounts WHERE id = p_account FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'ledger: no account'; END IF;
  -- What an operator gives and takes shares its references: a retry with the sign turned is still a retry.
  SELECT id INTO v_id FROM entries WHERE account = p_account AND reference = p_reference
    AND (kind = p_kind OR (kind IN ('topup', 'adjust') AND p_kind IN ('topup', 'adjust'))) LIMIT 1;
  IF FOUND THEN RETURN v_id; END IF;
  IF v_account.allowance + p_allowance < 0 OR v_account.purchased + p_purchased < 0
    OR v_account.allowance + v_account.purchased + p_allowance + p_purchased < v_account.leased THEN
    RAISE EXCEPTION 'ledger: insufficient';
  END IF;
  UPDATE accounts SET allowance = allowance + p_allowance, purchased = purchased + p_purchased,
    allowance_full = allowance_full + greatest(p_allowance, 0) WHERE id = p_account;
  INSERT INTO entries (account, kind, d_allowance, d_purchased, reference)
    VALUES (p_account, p_kind, p_allowance, p_purchased, p_reference) RETURNING id INTO v_id;
  RETURN v_id;
END $$`

/**
 * A period's allowance. What is left of the last one ends with it, as far as no lease has it; `ledger_trim` ends the rest when
 * it comes back. `allowance_full` is the most that an account's allowance may be in its period.
 */
const renew = `CREATE OR REPLACE FUNCTION ledger_renew(p_account text, p_full numeric, p_period text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v accounts%ROWTYPE;
  v_expired numeric;
BEGIN
  SELECT * INTO v FROM accounts WHERE id = p_account FOR NO KEY UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'ledger: no account'; END IF;
  IF v.allowance_period = p_period THEN RETURN; END IF;
  v_expired := least(v.allowance, v.allowance + v.purchased + p_full - v.leased);
  UPDATE accounts SET allowance = allowance - v_expired + p_full, allowance_full = p_full, allowance_period = p_period,
    recall_until = CASE WHEN v_expired < v.allowance THEN clock_timestamp() + interval '1 second' ELSE recall_until END
    WHERE id = p_account;
  IF v_expired > 0 THEN
    INSERT INTO entries (account, kind, d_allowance, d_purchased, reference) VALUES (p_account, 'expiry', -v_expired, 0, p_period);
  END IF;
  IF p_full > 0 THEN
    INSERT INTO entries (account, kind, d_allowance, d_purchased, reference) VALUES (p_account, 'allowance', p_full, 0, p_period);
  END IF;
END $$`

const trim = `CREATE OR REPLACE FUNCTION ledger_trim() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v record;
BEGIN
  FOR v IN
    SELECT id, allowance_period, least(allowance - allowance_full, allowance + purchased - leased) AS over FROM accounts
    WHERE allowance > allowance_full AND allowance + purchased > leased ORDER BY id FOR NO KEY UPDATE
  LOOP
    UPDATE accounts SET allowance = allowance - v.over WHERE id = v.id;
    INSERT INTO entries (account, kind, d_allowance, d_purchased, reference)
      VALUES (v.id, 'expiry', -v.over, 0, v.allowance_period || ' rest ' || clock_timestamp());
  END LOOP;
END $$`

const functions = [settle, commit, takeOver, grant, renew, trim]

/** @category migrations @since 0.1.0 */
export const createLedger = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of tables) yield* sql.unsafe(statement)
})

/** What came after: journals, quarantine, allowances that renew. @category migrations @since 0.1.0 */
export const extendLedger = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const statements = [
    "DROP FUNCTION IF EXISTS ledger_release(bigint)",
    "ALTER TABLE accounts ADD COLUMN allowance_full numeric, ADD COLUMN allowance_period text",
    "CREATE INDEX accounts_over_allowance ON accounts (id) WHERE allowance > allowance_full",
    // Names this database: what a journal keeps for one is never written to another.
    "CREATE TABLE ledger_book (id text PRIMARY KEY)",
    "INSERT INTO ledger_book (id) VALUES (gen_random_uuid()::text)",
    `CREATE TABLE ledger_quarantine (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      node bigint NOT NULL,
      rid text NOT NULL,
      settle text NOT NULL,
      reason text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )`
  ]
  for (const statement of statements) yield* sql.unsafe(statement)
})

/** The functions as they are now; where there was one before, a commit answered in another form. @category migrations @since 0.1.0 */
export const createLedgerFunctions = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe("DROP FUNCTION IF EXISTS ledger_commit(bigint, bigint, text, text[], jsonb, jsonb)")
  for (const statement of functions) yield* sql.unsafe(statement)
})
