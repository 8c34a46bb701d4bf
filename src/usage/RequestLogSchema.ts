/**
 * The table of requests, and their sums by hour, which stay quick however many requests there were.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  // Ids are UUIDs of version 7: their order is that of time, for pages and for what is forgotten. Costs are picodollars.
  `CREATE TABLE requests (
    id text COLLATE "C" PRIMARY KEY,
    account text NOT NULL,
    key_id text NOT NULL,
    client_request_id text,
    requested_model text NOT NULL,
    model text,
    provider text,
    attempts jsonb NOT NULL,
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
    details jsonb NOT NULL,
    stream boolean NOT NULL,
    created_at timestamptz NOT NULL
  )`,
  "CREATE INDEX requests_account ON requests (account, id DESC)",
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
  "CREATE INDEX usage_hours_hour ON usage_hours (hour)",
  `CREATE FUNCTION histogram_add(a jsonb, b jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(key, n), '{}') FROM (
      SELECT key, sum(value::bigint) AS n FROM (SELECT * FROM jsonb_each_text(a) UNION ALL SELECT * FROM jsonb_each_text(b)) both_of
      GROUP BY key) summed
  $$`
]

/** @category migrations @since 0.1.0 */
export const createRequests = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
