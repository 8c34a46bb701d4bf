/**
 * What is made of requests that a dead process was at.
 */
import { assert, layer as shared } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as PGlite from "../../layers/PGlite.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import { Outcomes } from "../../src/usage/Outcomes.ts"
import { idAt } from "../../src/usage/RequestBook.ts"
import { RequestLog } from "../../src/usage/RequestLog.ts"
import { RunningRequests } from "../../src/usage/RunningRequests.ts"
import { caller, tell } from "../support/outcomes.ts"

let node = "0"
const ledger = Layer.mock(Ledger, { node: () => node, tryHold: () => null, settleNow: () => null, releaseNow: () => undefined })
const layer = RunningRequests.layer.pipe(
  Layer.provideMerge(Outcomes.layer),
  Layer.provideMerge(RequestLog.layer({ retentionDays: 30 })),
  Layer.provide(ledger),
  Layer.provideMerge(Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null))))
)

let made = 0
const newId = () => `00000000-0000-7000-8000-${String(made++).padStart(12, "0")}`

const newNode = (state: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql<{
      id: string
    }>`INSERT INTO ledger_nodes (host, process, state) VALUES ('h', 'p', ${state}) RETURNING id::text AS id`
    return rows[0]?.id ?? ""
  })

const begun = (id: string) =>
  Effect.gen(function* () {
    const running = yield* RunningRequests
    const startedAt = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    running.begin({ id, account: caller.accountId, keyId: "k", clientRequestId: null, requestedModel: "m", stream: false, startedAt })
  })

const rowOf = (id: string) =>
  Effect.flatMap(RequestLog, (log) =>
    Effect.map(log.get(caller.accountId, id), (row) => (row === null ? null : [row.outcome, row.cost_usd]))
  )

const written = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(sql<{ id: string }>`SELECT id FROM requests_running`, (rows) => rows.map(({ id }) => id))
)

/** Looks again until it holds: the database's time is not the test's clock. */
const until = <A, E, R>(look: Effect.Effect<A, E, R>, holds: (value: A) => boolean): Effect.Effect<void, E, R> =>
  Effect.flatMap(look, (value) =>
    holds(value)
      ? Effect.void
      : Effect.andThen(
          Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
          Effect.suspend(() => until(look, holds))
        )
  )

shared(layer)("requests under way", (it) => {
  it.effect("one that ends within a second is never written, one that runs longer is until it has its row", () =>
    Effect.gen(function* () {
      node = yield* newNode("live")
      const [short, long] = [newId(), newId()]
      yield* begun(short)
      yield* tell([], { rid: short })
      yield* begun(long)
      yield* TestClock.adjust(1_000)
      yield* until(written, (ids) => ids.length > 0)
      assert.deepStrictEqual(yield* written, [long])
      yield* tell([], { rid: long })
      yield* TestClock.adjust(1_000)
      yield* until(written, (ids) => ids.length === 0)
      assert.strictEqual((yield* rowOf(long))?.[0], "ok")
    })
  )

  it.effect("what a dead process was at is lost, unless the book has its end; what a live one is at is left alone", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [dead, live] = [yield* newNode("dead"), yield* newNode("live")]
      const [lost, charged, refunded, running] = [newId(), newId(), newId(), newId()]
      for (const [id, of] of [
        [lost, dead],
        [charged, dead],
        [refunded, dead],
        [running, live]
      ] as const) {
        yield* sql`INSERT INTO requests_running (id, node, account, key_id, requested_model, stream, started_at)
          VALUES (${id}, ${of}::text::bigint, ${caller.accountId}, 'k', 'm', false, '2026-01-01')`
      }
      for (const [id, kind] of [
        [charged, "charge"],
        [refunded, "refund"]
      ] as const) {
        yield* sql`INSERT INTO entries (account, kind, d_allowance, d_purchased, cost, rid, model, provider)
          VALUES (${caller.accountId}, ${kind}, 0, 0, 2500000000000, ${id}, 'org/model', 'groq')`
      }
      const { reclaim } = yield* RunningRequests
      yield* Effect.all([reclaim, reclaim], { concurrency: 2 })
      assert.deepStrictEqual(yield* rowOf(lost), ["lost", "0.00"])
      assert.deepStrictEqual(yield* rowOf(charged), ["ok", "2.50"])
      assert.deepStrictEqual(yield* rowOf(refunded), ["refunded", "0.00"])
      assert.isNull(yield* rowOf(running))
      assert.deepStrictEqual(yield* written, [running])
      const sums = yield* sql<{ n: string }>`SELECT sum(requests)::text AS n FROM usage_hours WHERE hour = '2026-01-01Z'`
      assert.strictEqual(sums[0]?.n, "3", "each counted once")
    })
  )

  it.effect("an end in the book whose row died with its process has one of what the book knows; that of a live process is waited for", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [dead, live, fresh] = [yield* newNode("dead"), yield* newNode("live"), yield* newNode("dead")]
      const idOf = (ms: number) => `${idAt(Date.now() - 10_000 - ms)}-7000-8000-${String(made++).padStart(12, "0")}`
      const [told, refunded, waited, early, old] = [idOf(2_000), idOf(1_000), idOf(3_000), idOf(4_000), idOf(60_000)] as const
      yield* sql`UPDATE ledger_nodes SET heartbeat_at = clock_timestamp() - interval '10 seconds' WHERE id <> ${fresh}::text::bigint`
      const usage = JSON.stringify({ input: 3, cachedRead: 1, cacheWrite: 0, output: 5, reasoning: 2, images: 0, source: "provider" })
      for (const [id, kind, of] of [
        [told, "charge", dead],
        [refunded, "refund", dead],
        [old, "charge", dead],
        [waited, "charge", live],
        [early, "charge", fresh]
      ] as const) {
        yield* sql`INSERT INTO entries (account, kind, d_allowance, d_purchased, cost, rid, model, provider, node, usage)
          VALUES (${caller.accountId}, ${kind}, 0, 0, 2500000000000, ${id}, 'org/model', 'groq', ${of}::text::bigint, ${usage})`
      }
      const { reclaim } = yield* RunningRequests
      yield* Effect.all([reclaim, reclaim], { concurrency: 2 })
      const row = yield* (yield* RequestLog).get(caller.accountId, told)
      assert.deepInclude(row, {
        model: "org/model",
        provider: "groq",
        outcome: "ok",
        status: 200,
        cost_usd: "2.50",
        usage_source: "provider"
      })
      assert.deepStrictEqual(row?.tokens, { input: 3, cached_read: 1, cache_write: 0, output: 5, reasoning: 2 })
      assert.deepStrictEqual(yield* rowOf(refunded), ["refunded", "0.00"])
      // Longer ones were among the running; who was heard of just now may still write its own.
      assert.deepStrictEqual([yield* rowOf(old), yield* rowOf(waited), yield* rowOf(early)], [null, null, null])
    })
  )

  it.effect("one that was taken for lost and ends after all has the row of its end", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      node = yield* newNode("live")
      const id = newId()
      yield* sql`DELETE FROM requests_running`
      yield* begun(id)
      yield* TestClock.adjust(1_000)
      yield* until(written, (ids) => ids.length > 0)
      yield* sql`UPDATE ledger_nodes SET state = 'dead'`
      yield* (yield* RunningRequests).reclaim
      assert.strictEqual((yield* rowOf(id))?.[0], "lost")
      yield* tell([], { rid: id })
      assert.strictEqual((yield* rowOf(id))?.[0], "ok")
    })
  )
})
