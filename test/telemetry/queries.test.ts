/**
 * What a statement does to which table.
 */
import { assert, describe, it } from "@effect/vitest"
import { kindOf } from "../../src/telemetry/QueryMetrics.ts"

const kind = (text: string): string => {
  const { operation, table } = kindOf(text)
  return `${operation} ${table}`
}

describe("the kind of a statement", () => {
  it("is what it does to its table; of several steps what the first that writes does", () => {
    assert.strictEqual(kind("SELECT id FROM users WHERE email = $1 FOR UPDATE"), "select users")
    assert.strictEqual(kind('INSERT INTO "sessions" (id) VALUES ($1)'), "insert sessions")
    assert.strictEqual(
      kind("INSERT INTO health_tasks AS t (name) VALUES ('x') ON CONFLICT (name) DO UPDATE SET done = 1"),
      "insert health_tasks"
    )
    assert.strictEqual(kind("UPDATE model_health h SET probed_at = now()"), "update model_health")
    assert.strictEqual(kind("DELETE FROM events WHERE seq IN (SELECT seq FROM events)"), "delete events")
    assert.strictEqual(
      kind("WITH done AS (\n UPDATE webhook_deliveries SET status = 'x' RETURNING 1) UPDATE webhooks SET y = 1"),
      "update webhook_deliveries"
    )
    assert.strictEqual(kind("SELECT ledger_commit($1, $2)"), "select ledger_commit")
    assert.strictEqual(kind("SELECT count(*) FROM requests"), "select requests")
    assert.strictEqual(
      kind("SELECT floor(extract(epoch FROM seen_at)) FROM model_health h WHERE a IS DISTINCT FROM h.b"),
      "select model_health"
    )
    assert.strictEqual(kind("BEGIN"), "begin ")
    assert.strictEqual(kind(""), "other ")
  })
})
