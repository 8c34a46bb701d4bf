/**
 * The table of requests, and their sums by hour, which stay quick however many requests there were.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { nullable } from "../database/Columns.ts"

/** The columns of a request, in the order in which they are given. @category sql @since 0.1.0 */
export const columns = [
  "id",
  "account",
  "key_id",
  "client_request_id",
  "requested_model",
  "model",
  "provider",
  "attempts",
  "input",
  "cached_read",
  "cache_write",
  "output",
  "reasoning",
  "usage_source",
  "cost",
  "latency_ms",
  "first_chunk_ms",
  "status",
  "outcome",
  "details",
  "stream",
  "created_at"
] as const

/** What an hour sums up. @category sql @since 0.1.0 */
export const sums = ["requests", "errors", "cancelled", "input", "cached_read", "cache_write", "output", "reasoning", "cost"] as const

const hourColumns = ["account", "hour", "key_id", "model", "provider", ...sums, "latency", "first_chunk"]

const types: Readonly<Record<string, string>> = {
  input: "bigint",
  cached_read: "bigint",
  cache_write: "bigint",
  output: "bigint",
  reasoning: "bigint",
  cost: "numeric",
  latency_ms: "integer",
  first_chunk_ms: "integer",
  status: "integer",
  stream: "boolean",
  created_at: "timestamptz"
}

const valuesOf = (column: string, text: string): string => {
  const type = types[column]
  return type === undefined ? nullable(text) : `${nullable(text)}::${type}[]`
}

const statements = [
  // Ids are UUIDs of version 7: their order is that of time, for pages and for what is forgotten. Costs are picodollars,
  // `attempts` and `details` JSON that nothing here looks into.
  `CREATE TABLE requests (
    id text COLLATE "C" PRIMARY KEY,
    account text NOT NULL,
    key_id text NOT NULL,
    client_request_id text,
    requested_model text NOT NULL,
    model text,
    provider text,
    attempts text NOT NULL,
    input bigint NOT NULL,
    cached_read bigint NOT NULL,
    cache_write bigint NOT NULL,
    output bigint NOT NULL,
    reasoning bigint NOT NULL,
    usage_source text NOT NULL,
    cost numeric NOT NULL,
    latency_ms integer NOT NULL,
    first_chunk_ms integer,
    status integer NOT NULL,
    outcome text NOT NULL,
    details text NOT NULL,
    stream boolean NOT NULL,
    created_at timestamptz NOT NULL
  )`,
  // Requests under way that have run for a while, by the process that is at them.
  `CREATE TABLE requests_running (
    id text COLLATE "C" PRIMARY KEY,
    node bigint NOT NULL,
    account text NOT NULL,
    key_id text NOT NULL,
    client_request_id text,
    requested_model text NOT NULL,
    stream boolean NOT NULL,
    started_at timestamptz NOT NULL
  )`,
  // `latency` and `first_chunk` count the answered requests by bucket; see `Histogram`. An empty model or provider is none.
  `CREATE TABLE usage_hours (
    account text NOT NULL,
    hour timestamptz NOT NULL,
    key_id text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    requests bigint NOT NULL,
    errors bigint NOT NULL,
    cancelled bigint NOT NULL,
    input bigint NOT NULL,
    cached_read bigint NOT NULL,
    cache_write bigint NOT NULL,
    output bigint NOT NULL,
    reasoning bigint NOT NULL,
    cost numeric NOT NULL,
    latency jsonb NOT NULL,
    first_chunk jsonb NOT NULL,
    PRIMARY KEY (account, hour, key_id, model, provider)
  ) WITH (fillfactor = 70)`,
  "CREATE INDEX usage_hours_hour ON usage_hours (hour)"
]

/**
 * Of each bucket what both have. Nearly always one is added to: its key is read off the text, as a query over the object would cost
 * as much as all else of the row.
 */
const histogramAdd = `CREATE OR REPLACE FUNCTION histogram_add(a jsonb, b jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
  DECLARE
    v_key text := split_part(b::text, '"', 2);
  BEGIN
    IF b = '{}' THEN RETURN a; END IF;
    IF b - v_key = '{}' THEN RETURN a || jsonb_build_object(v_key, (b->>v_key)::bigint + coalesce((a->>v_key)::bigint, 0)); END IF;
    RETURN a || (SELECT jsonb_object_agg(key, value::bigint + coalesce((a->>key)::bigint, 0)) FROM jsonb_each_text(b));
  END $$`

/** Requests that are all new, and what they add to their hours; false, and nothing written, where one of them is not. */
const write = `CREATE OR REPLACE FUNCTION requests_write(p text[], p_hours jsonb) RETURNS boolean
  LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
  BEGIN
    INSERT INTO requests (${columns.join(", ")})
      SELECT * FROM unnest(${columns.map((column, at) => valuesOf(column, `p[${at + 1}]`)).join(", ")});
    INSERT INTO usage_hours (${hourColumns.join(", ")})
      SELECT ${hourColumns.join(", ")} FROM jsonb_populate_recordset(NULL::usage_hours, p_hours) ORDER BY account, hour, key_id, model, provider
      ON CONFLICT (account, hour, key_id, model, provider) DO UPDATE SET ${sums.map((sum) => `${sum} = usage_hours.${sum} + excluded.${sum}`).join(", ")},
        latency = histogram_add(usage_hours.latency, excluded.latency),
        first_chunk = histogram_add(usage_hours.first_chunk, excluded.first_chunk);
    RETURN true;
  EXCEPTION WHEN unique_violation THEN
    RETURN false;
  END $$`

const functions = [histogramAdd, write]

/** @category migrations @since 0.1.0 */
export const createRequests = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})

/** Each new request is its account's last: an index that put it first would move all others of its page for every row. @category migrations @since 0.1.0 */
export const createRequestIndex = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe("DROP INDEX IF EXISTS requests_account")
  yield* sql.unsafe("CREATE INDEX requests_account ON requests (account, id)")
})

/** The functions as they are now. @category migrations @since 0.1.0 */
export const createRequestFunctions = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of functions) yield* sql.unsafe(statement)
})
