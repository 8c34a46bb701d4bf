/**
 * The log of requests and the sums of its hours, on both databases.
 */
import { assert, describe, it, layer as shared } from "@effect/vitest"
import { Data, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { inject } from "vitest"
import * as PGlite from "../../layers/PGlite.ts"
import * as Postgres from "../../layers/Postgres.ts"
import * as Money from "../../schemas/Money.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { bucketOf, merge, percentiles } from "../../src/usage/Histogram.ts"
import { ModelTraffic } from "../../src/usage/ModelTraffic.ts"
import { make as makeBook, type RequestRecord } from "../../src/usage/RequestBook.ts"
import { forgetOld, RequestLog } from "../../src/usage/RequestLog.ts"
import { UsageReports } from "../../src/usage/UsageReports.ts"
import { freshDatabase } from "../support/database.ts"

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** The start of an hour, so that ranges are exact. */
const noon = Date.UTC(2026, 0, 15, 12)

let ids = 0
const idOf = (ms: number) => {
  const hex = ms.toString(16).padStart(12, "0")
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${(ids++).toString(16).padStart(12, "0")}`
}

const record = (account: string, startedAt: number, more: Partial<RequestRecord> = {}): RequestRecord => ({
  account,
  id: idOf(startedAt),
  keyId: "key-1",
  clientRequestId: null,
  requestedModel: "org/model",
  model: "org/model",
  provider: "openai",
  attempts: [{ provider: "openai", model: "org/model", status: 200, error: null, latency_ms: 12 }],
  tokens: { input: 10, cached_read: 1, cache_write: 2, output: 20, reasoning: 3 },
  usageSource: "provider",
  cost: 1_234_567_890n,
  startedAt,
  latencyMs: 100,
  firstChunkMs: 40,
  status: 200,
  outcome: "ok",
  details: { routing: null },
  stream: true,
  ...more
})

const services = Layer.mergeAll(UsageReports.layer, ModelTraffic.layer).pipe(Layer.provideMerge(RequestLog.layer({ retentionDays: 30 })))
const page = { limit: 100, cursor: null }

const contract = (name: string, database: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  shared(services.pipe(Layer.provideMerge(database)), { excludeTestServices: true, timeout: 60_000 })(`requests on ${name}`, (it) => {
    it.effect("X-28 what everybody used in the latest day and the day before: by model, answered requests only, the most used first", () =>
      Effect.gen(function* () {
        const log = yield* RequestLog
        const traffic = yield* ModelTraffic
        const now = Date.now()
        const many = (count: number, model: string | null, at: number, more: Partial<RequestRecord> = {}) =>
          Effect.forEach(Array.from({ length: count }), (_, i) => log.record(record(`traffic-${i % 2}`, at, { model, ...more })))
        yield* many(3, "traffic/a", now)
        yield* many(2, "traffic/b", now)
        yield* many(5, "traffic/b", now - DAY)
        yield* many(9, "traffic/old", now - 3 * DAY)
        yield* many(9, "traffic/failed", now, { status: 502, outcome: "refunded" })
        yield* many(9, null, now)
        const seen = (yield* traffic.latest).filter(({ model }) => model.startsWith("traffic/"))
        assert.deepStrictEqual(seen, [
          { model: "traffic/a", requests: 3, before: 0 },
          { model: "traffic/b", requests: 2, before: 5 }
        ])
        yield* many(9, "traffic/b", now)
        assert.deepStrictEqual(
          (yield* traffic.latest).filter(({ model }) => model.startsWith("traffic/")),
          seen,
          "kept for a while"
        )
      })
    )

    it.effect("rows come back as they were, newest first, page by page, narrowed by what is asked", () =>
      Effect.gen(function* () {
        const log = yield* RequestLog
        const account = `rows-${name}`
        const rows = [
          record(account, noon, { clientRequestId: "mine", status: 502, outcome: "refunded", cost: 0n, firstChunkMs: null, stream: false }),
          record(account, noon + 1_000, { keyId: "key-2", model: null, provider: null, status: 404, outcome: "rejected" }),
          record(account, noon + 2 * HOUR, { details: { routing: { router: "general", scores: [0.5, null] }, guardrails: ["pii.email"] } })
        ]
        for (const row of rows) yield* log.record(row)
        yield* log.record(record("somebody else", noon))
        const all = yield* log.list(account, page)
        assert.deepStrictEqual(
          all.data.map((row) => row.id),
          rows.map((row) => row.id).reverse()
        )
        assert.deepStrictEqual(all.data[0], {
          id: rows[2]?.id ?? "",
          client_request_id: null,
          key_id: "key-1",
          requested_model: "org/model",
          model: "org/model",
          provider: "openai",
          attempts: [{ provider: "openai", model: "org/model", status: 200, error: null, latency_ms: 12 }],
          tokens: { input: 10, cached_read: 1, cache_write: 2, output: 20, reasoning: 3 },
          usage_source: "provider",
          cost_usd: "0.00123456789",
          latency_ms: 100,
          time_to_first_chunk_ms: 40,
          status: 200,
          outcome: "ok",
          routing: { router: "general", scores: [0.5, null] },
          guardrails: ["pii.email"],
          stream: true,
          created_at: "2026-01-15T14:00:00.000Z"
        })
        const first = yield* log.list(account, { ...page, limit: 2 })
        assert.strictEqual(first.next, rows[1]?.id)
        const rest = yield* log.list(account, { limit: 2, cursor: first.next })
        assert.deepStrictEqual([rest.data.map((row) => row.id), rest.next], [[rows[0]?.id], null])
        const narrowed = [
          [{ status: 404 }, 1],
          [{ outcome: "refunded" }, 0],
          [{ key: "key-2" }, 1],
          [{ from: noon + 1 }, 2, 1],
          [{ to: noon + 1 }, 0],
          [{ from: noon, to: noon + HOUR, model: "org/model" }, 0],
          [{ provider: "anthropic" }]
        ] as const
        for (const [query, ...at] of narrowed) {
          const found = yield* log.list(account, { ...page, ...query })
          assert.deepStrictEqual(
            found.data.map((row) => row.id),
            at.map((index) => rows[index]?.id),
            JSON.stringify(query)
          )
        }
        assert.strictEqual((yield* log.get(account, rows[0]?.id ?? ""))?.client_request_id, "mine")
        assert.isNull(yield* log.get("somebody else", rows[0]?.id ?? ""))
      })
    )

    it.effect("X-33 sums are exact, by model, key, provider and day, in exact decimals", () =>
      Effect.gen(function* () {
        const log = yield* RequestLog
        const reports = yield* UsageReports
        const account = `sums-${name}`
        const rows: Array<RequestRecord> = []
        for (let i = 0; i < 700; i++) {
          const kind = i % 10
          rows.push(
            record(account, noon - DAY + i * 300_000, {
              keyId: `key-${i % 3}`,
              model: `org/model-${i % 2}`,
              provider: i % 2 === 0 ? "openai" : "fireworks",
              cost: 1n + BigInt(i) * 333_333_333_333n,
              latencyMs: i,
              ...(kind === 0 ? { status: 502, outcome: "refunded" as const, cost: 0n } : {}),
              ...(kind === 1 ? { status: 499, outcome: "cancelled" as const } : {})
            })
          )
        }
        yield* Effect.forEach(rows, log.record, { discard: true })
        const range = { from: noon - 2 * DAY, to: noon + 3 * DAY }
        const total = (of: ReadonlyArray<RequestRecord>) => ({
          requests: of.length,
          errors: of.filter((row) => row.outcome === "refunded").length,
          cancelled: of.filter((row) => row.outcome === "cancelled").length,
          cost_usd: Money.toUsd(Money.make(of.reduce((sum, row) => sum + row.cost, 0n))),
          output: of.reduce((sum, row) => sum + row.tokens.output, 0)
        })
        const check = (
          sums: {
            readonly requests: number
            readonly errors: number
            readonly cancelled: number
            readonly cost_usd: string
            readonly tokens: { readonly output: number }
          },
          of: ReadonlyArray<RequestRecord>
        ) =>
          assert.deepStrictEqual(
            {
              requests: sums.requests,
              errors: sums.errors,
              cancelled: sums.cancelled,
              cost_usd: sums.cost_usd,
              output: sums.tokens.output
            },
            total(of)
          )
        const by = {
          model: (row: RequestRecord) => row.model,
          key: (row: RequestRecord) => row.keyId,
          provider: (row: RequestRecord) => row.provider,
          day: (row: RequestRecord) => new Date(row.startedAt).toISOString().slice(0, 10),
          hour: (row: RequestRecord) => `${new Date(row.startedAt).toISOString().slice(0, 13)}:00:00Z`
        }
        for (const groupBy of [["model"], ["key"], ["provider"], ["day"], ["hour"], ["day", "model", "key"]] as const) {
          const report = yield* reports.report(account, { groupBy, ...range })
          check(report.total, rows)
          const nameOf = (row: RequestRecord) => groupBy.map((grouping) => by[grouping](row)).join("|")
          assert.strictEqual(report.groups.length, new Set(rows.map(nameOf)).size)
          for (const group of report.groups) {
            const name = groupBy.map((grouping) => group.group[grouping]).join("|")
            check(
              group,
              rows.filter((row) => nameOf(row) === name)
            )
          }
        }
        const [day] = (yield* reports.report(account, {
          groupBy: ["day"],
          from: noon - DAY,
          to: noon - DAY + HOUR,
          model: "org/model-0",
          key: "key-0"
        })).groups
        check(
          day ?? (yield* Effect.die(new Error("no group"))),
          rows.filter((row, i) => i < 12 && row.model === "org/model-0" && row.keyId === "key-0")
        )
        assert.strictEqual((yield* reports.report(account, { groupBy: ["model"], ...range })).total.error_rate, 0.1)
        assert.deepStrictEqual((yield* reports.report("nobody", { groupBy: ["model"], ...range })).groups, [])
      })
    )

    it.effect("X-35 percentiles of many groups lie within two in a hundred of the true ones", () =>
      Effect.gen(function* () {
        const log = yield* RequestLog
        const reports = yield* UsageReports
        const account = `times-${name}`
        const times = Array.from({ length: 1_500 }, (_, i) => Math.round(1 + (i * i) / 50))
        for (const [i, latencyMs] of times.entries()) {
          yield* log.record(
            record(account, noon + (i % 50) * HOUR, { latencyMs, firstChunkMs: i % 5 === 0 ? Math.round(latencyMs / 3) : null })
          )
        }
        // What failed at once says nothing of how long answers take.
        for (let i = 0; i < 500; i++) yield* log.record(record(account, noon, { latencyMs: 0, status: 400, outcome: "rejected" }))
        const { total } = yield* reports.report(account, { groupBy: ["hour"], from: noon, to: noon + 60 * HOUR })
        const exact = (values: ReadonlyArray<number>, part: number) => {
          const sorted = [...values].sort((a, b) => a - b)
          const rank = part * (sorted.length - 1)
          const low = sorted[Math.floor(rank)] ?? 0
          return low + ((sorted[Math.ceil(rank)] ?? 0) - low) * (rank - Math.floor(rank))
        }
        const chunks = times.filter((_, i) => i % 5 === 0).map((ms) => Math.round(ms / 3))
        for (const [part, latency, chunk] of [
          [0.5, total.latency_ms.p50, total.time_to_first_chunk_ms.p50],
          [0.95, total.latency_ms.p95, total.time_to_first_chunk_ms.p95],
          [0.99, total.latency_ms.p99, total.time_to_first_chunk_ms.p99]
        ] as const) {
          assert.closeTo(latency ?? 0, exact(times, part), exact(times, part) * 0.02 + 1)
          assert.closeTo(chunk ?? 0, exact(chunks, part), exact(chunks, part) * 0.02 + 1)
        }
      })
    )

    it.effect("what an hour has of each bucket is added up, whether it comes one by one or many at once", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const book = yield* makeBook
        const account = "histogram-hours"
        const took = (...times: ReadonlyArray<number>) =>
          book.write(times.map((latencyMs) => record(account, noon, { latencyMs, firstChunkMs: null })))
        yield* took(7)
        yield* took(7, 7)
        yield* took(9)
        yield* took(7, 9, 9)
        yield* book.write([record(account, noon, { status: 502, outcome: "refunded" })])
        const [row] = yield* sql<{ latency: string; first_chunk: string; requests: string }>`SELECT latency::text AS latency,
          first_chunk::text AS first_chunk, requests::text AS requests FROM usage_hours WHERE account = ${account}`
        const counted = { [bucketOf(7)]: 4, [bucketOf(9)]: 3 }
        assert.deepStrictEqual([JSON.parse(row?.latency ?? ""), row?.first_chunk, row?.requests], [counted, "{}", "8"])
      })
    )

    it.effect("a group that is sent twice counts once; a request that ran again takes the place of its failure", () =>
      Effect.gen(function* () {
        const book = yield* makeBook
        const reports = yield* UsageReports
        const log = yield* RequestLog
        const account = `again-${name}`
        const failed = record(account, noon, { status: 502, outcome: "refunded", cost: 0n })
        const rows = [failed, record(account, noon + 1)]
        yield* book.write(rows)
        yield* book.write(rows)
        yield* book.write([{ ...record(account, noon + 5_000), id: failed.id }])
        const { data } = yield* log.list(account, page)
        assert.deepStrictEqual(
          data.map((row) => row.outcome),
          ["ok", "ok"]
        )
        const { total } = yield* reports.report(account, { groupBy: ["model"], from: noon, to: noon + HOUR })
        assert.deepStrictEqual([total.requests, total.errors, total.cost_usd], [3, 1, "0.00246913578"])
      })
    )

    it.effect("what the database can never take keeps no other row from being written", () =>
      Effect.gen(function* () {
        const log = yield* RequestLog
        const account = `bad-${name}`
        const wild = record(account, noon, { requestedModel: `zero \u0000 and half ${"\ud800"} and ${"long".repeat(1_000)}` })
        const impossible = record(account, noon + 1, { tokens: { input: 1.5, cached_read: 0, cache_write: 0, output: 0, reasoning: 0 } })
        for (const row of [record(account, noon + 2), impossible, wild, record(account, noon + 3)]) yield* log.record(row)
        const { data } = yield* log.list(account, page)
        assert.strictEqual(data.length, 3)
        assert.strictEqual(data[2]?.requested_model.length, 200)
      })
    )

    it.effect("rows are forgotten after their days, their sums are kept", () =>
      Effect.gen(function* () {
        const log = yield* RequestLog
        const reports = yield* UsageReports
        const book = yield* makeBook
        const account = `old-${name}`
        const now = Date.now()
        for (let i = 0; i < 1_100; i++) yield* log.record(record(account, now - 31 * DAY - i))
        const kept = record(account, now - 29 * DAY)
        yield* log.record(kept)
        yield* log.flush
        yield* forgetOld(book, 30)
        const { data } = yield* log.list(account, page)
        assert.deepStrictEqual(
          data.map((row) => row.id),
          [kept.id]
        )
        const { total } = yield* reports.report(account, { groupBy: ["model"], from: now - 40 * DAY, to: now })
        assert.strictEqual(total.requests, 1_101)
      })
    )
  })

const migrated = <E>(database: Layer.Layer<SqlClient.SqlClient, E>) => Migrations.layer.pipe(Layer.provideMerge(database))
const url = await freshDatabase(inject("databaseUrl"))

contract("PGlite", migrated(PGlite.layer(null)))
contract("Postgres", migrated(Postgres.layer({ url: Redacted.make(url) })))

class Away extends Data.TaggedError("Away") {}

describe("rows while the database is away", () => {
  it("are kept, and written when it is back, at the latest when the process ends", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      let isAway = true
      const unreliable = new Proxy(sql, {
        get: (target, name) => (name === "unsafe" && isAway ? () => Effect.fail(new Away()) : Reflect.get(target, name))
      })
      const scope = yield* Scope.make()
      const built = yield* Layer.buildWithScope(
        RequestLog.layer({ retentionDays: 30 }).pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, unreliable))),
        scope
      )
      const log = yield* Effect.provide(
        Effect.map(RequestLog, (log) => log),
        built
      )
      for (let i = 0; i < 450; i++) yield* log.record(record("patient", noon + i))
      yield* log.flush
      assert.strictEqual((yield* sql`SELECT 1 FROM requests WHERE account = 'patient'`).length, 0)
      isAway = false
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* sql`SELECT 1 FROM requests WHERE account = 'patient'`).length, 450)
    }).pipe(Effect.provide(migrated(Postgres.layer({ url: Redacted.make(url) }))), Effect.runPromise))
})

describe("histograms", () => {
  it("hold small times exactly and others within their bucket", () => {
    for (let ms = 0; ms < 64; ms++) assert.strictEqual(bucketOf(ms), ms)
    for (let ms = 64; ms < 10_000_000; ms = Math.ceil(ms * 1.07)) assert.closeTo(bucketOf(ms), ms, ms / 50)
    assert.strictEqual(bucketOf(-5), 0)
    assert.isBelow(bucketOf(Number.MAX_SAFE_INTEGER), 2 ** 31)
    assert.deepStrictEqual(percentiles({ "7": 1 }, [0.5, 0.99]), [7, 7])
    assert.deepStrictEqual(percentiles({ "1": 1, "3": 1 }, [0.5]), [2])
    assert.deepStrictEqual(percentiles({}, [0.5]), [null])
    assert.deepStrictEqual(percentiles(merge([{ "1": 90 }, { "1": 5, "50": 5 }]), [0.5, 0.95, 1]), [1, 3, 50])
  })
})
