/**
 * The tables of health: what is known of models at their providers, incidents, and sums by hour for uptimes.
 *
 * Times are the reporter's, so that a whole week can be played through in tests.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const tables = [
  // `failures` in a row, over all replicas; `state` as the latest reporter judged it. `probe_until`: somebody probes it now.
  `CREATE TABLE model_health (
    provider text NOT NULL,
    model text NOT NULL,
    state text NOT NULL DEFAULT 'healthy',
    failures integer NOT NULL DEFAULT 0,
    error text,
    seen_at timestamptz,
    probed_at timestamptz,
    probe_until timestamptz,
    PRIMARY KEY (provider, model)
  ) WITH (fillfactor = 70)`,
  "CREATE INDEX model_health_seen ON model_health (seen_at)",
  `CREATE TABLE incidents (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE DEFAULT 'inc_' || replace(gen_random_uuid()::text, '-', ''),
    provider text NOT NULL,
    model text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    failures integer NOT NULL,
    error text,
    opened_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    resolved_at timestamptz,
    resolution text CHECK (resolution IN ('recovered', 'no_news'))
  )`,
  "CREATE UNIQUE INDEX incidents_open ON incidents (provider, model) WHERE resolved_at IS NULL",
  "CREATE INDEX incidents_model ON incidents (provider, model, seq DESC)",
  // Calls of a model at a provider (no plan), and requests by plan (no provider, no model).
  `CREATE TABLE health_hours (
    hour timestamptz NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    plan text NOT NULL,
    successes bigint NOT NULL,
    failures bigint NOT NULL,
    probes bigint NOT NULL,
    latency_ms bigint NOT NULL,
    PRIMARY KEY (provider, model, plan, hour)
  ) WITH (fillfactor = 70)`,
  "CREATE INDEX health_hours_hour ON health_hours (hour)",
  // Work that is done once for all replicas, and what it may spend on a UTC day, in picodollars.
  `CREATE TABLE health_tasks (name text PRIMARY KEY, done_at timestamptz, leased_until timestamptz, lease text)`,
  "CREATE TABLE probe_spending (day date PRIMARY KEY, spent numeric NOT NULL)",
  `CREATE TABLE provider_balances (
    provider text PRIMARY KEY,
    usd numeric,
    checked_at timestamptz NOT NULL,
    error text
  )`
]

/** By failures in a row; a number to compare, so that a severity never falls while its incident lasts. */
const severity = [
  `CREATE FUNCTION incident_severity(p_failures integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_failures >= 10 THEN 'critical' WHEN p_failures >= 5 THEN 'high' WHEN p_failures >= 3 THEN 'medium' ELSE 'low' END
  $$`,
  `CREATE FUNCTION severity_rank(p_severity text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT array_position(ARRAY['low', 'medium', 'high', 'critical'], p_severity)
  $$`
]

/** An incident that ended this short while ago goes on instead of another being opened. */
const AGAIN = "interval '10 minutes'"

const event = `CREATE FUNCTION incidents_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM event_broadcast('model.degraded', jsonb_build_object('incident_id', NEW.id, 'model', NEW.model, 'provider', NEW.provider,
    'severity', NEW.severity, 'opened_at', to_char(NEW.opened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
    'model.degraded ' || NEW.id);
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'incident % could not be told of: %', NEW.id, SQLERRM;
  RETURN NULL;
END $$`

/** What calls made of one model at one provider: opens, worsens or ends its incident. Three in a row over all replicas are one, however few each of them saw. */
const report = `CREATE FUNCTION health_judge(p_now timestamptz, p_provider text, p_model text, p_state text, p_failures integer, p_error text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_severity text := incident_severity(p_failures);
  v_seq bigint;
BEGIN
  IF p_state = 'healthy' AND p_failures < 3 THEN
    IF p_failures = 0 THEN
      UPDATE incidents SET resolved_at = p_now, updated_at = p_now, resolution = 'recovered'
      WHERE provider = p_provider AND model = p_model AND resolved_at IS NULL;
    END IF;
    RETURN;
  END IF;
  SELECT seq INTO v_seq FROM incidents WHERE provider = p_provider AND model = p_model AND (resolved_at IS NULL OR resolved_at > p_now - ${AGAIN})
    ORDER BY resolved_at IS NULL DESC, seq DESC LIMIT 1;
  IF v_seq IS NULL THEN
    INSERT INTO incidents (provider, model, severity, failures, error, opened_at, updated_at)
    VALUES (p_provider, p_model, v_severity, p_failures, p_error, p_now, p_now)
    ON CONFLICT (provider, model) WHERE resolved_at IS NULL DO NOTHING;
  ELSE
    UPDATE incidents SET resolved_at = NULL, resolution = NULL, updated_at = p_now, error = coalesce(p_error, error),
      failures = greatest(failures, p_failures),
      severity = CASE WHEN severity_rank(v_severity) > severity_rank(severity) THEN v_severity ELSE severity END
    WHERE seq = v_seq;
  END IF;
END $$`

const take = `CREATE FUNCTION health_report(p_now timestamptz, p_rows jsonb, p_plans jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  r record;
  v_failures integer;
BEGIN
  INSERT INTO health_hours (hour, provider, model, plan, successes, failures, probes, latency_ms)
    SELECT date_trunc('hour', p_now, 'UTC'), coalesce(provider, ''), coalesce(model, ''), coalesce(plan, ''), successes, failures,
      coalesce(probes, 0), coalesce(latency_ms, 0)
    FROM jsonb_to_recordset(p_rows || p_plans)
      AS t (provider text, model text, plan text, successes bigint, failures bigint, probes bigint, latency_ms bigint)
    ORDER BY 2, 3, 4
  ON CONFLICT (provider, model, plan, hour) DO UPDATE SET successes = health_hours.successes + excluded.successes,
    failures = health_hours.failures + excluded.failures, probes = health_hours.probes + excluded.probes,
    latency_ms = health_hours.latency_ms + excluded.latency_ms;
  FOR r IN SELECT * FROM jsonb_to_recordset(p_rows)
    AS t (provider text, model text, at timestamptz, successes integer, failures integer, run integer, state text, error text) ORDER BY provider, model
  LOOP
    INSERT INTO model_health AS h (provider, model, state, failures, error, seen_at)
    VALUES (r.provider, r.model, r.state, r.run, r.error, r.at)
    ON CONFLICT (provider, model) DO UPDATE SET state = r.state, seen_at = greatest(h.seen_at, r.at), error = coalesce(r.error, h.error),
      failures = CASE WHEN r.successes > 0 THEN r.run ELSE h.failures + r.run END
    RETURNING failures INTO v_failures;
    PERFORM health_judge(p_now, r.provider, r.model, r.state, v_failures, r.error);
  END LOOP;
END $$`

const trigger = `CREATE TRIGGER incidents_tell AFTER INSERT ON incidents FOR EACH ROW EXECUTE FUNCTION incidents_tell()`

/** @category migrations @since 0.1.0 */
export const createHealth = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of [...tables, ...severity, event, report, take, trigger]) yield* sql.unsafe(statement)
})
