/**
 * The inbox of payment events.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  // `subject` is what the event is about (a subscription, a payment); `made_at` is when Stripe made it.
  `CREATE TABLE stripe_events (
    id text PRIMARY KEY,
    type text NOT NULL,
    subject text,
    payload text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'ignored', 'failed')),
    detail text,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    made_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    processed_at timestamptz
  )`,
  "CREATE INDEX stripe_events_due ON stripe_events (next_at) WHERE state = 'pending'",
  "CREATE INDEX stripe_events_subject ON stripe_events (subject, made_at) WHERE subject IS NOT NULL"
]

/** @category migrations @since 0.1.0 */
export const createBilling = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
