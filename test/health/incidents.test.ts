/**
 * Incidents on both databases: opened, worsened and ended by calls, told of once, kept as history.
 */
import { assert, layer as shared } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { inject } from "vitest"
import * as PGlite from "../../layers/PGlite.ts"
import * as Postgres from "../../layers/Postgres.ts"
import { Severity } from "../../schemas/Health.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { HealthBoard } from "../../src/health/HealthBoard.ts"
import { HealthBook } from "../../src/health/HealthBook.ts"
import { HealthReporter } from "../../src/health/HealthReporter.ts"
import { UptimeReports } from "../../src/health/UptimeReports.ts"
import { freshDatabase } from "../support/database.ts"
import { attempt, caller, outcomes, tell } from "../support/outcomes.ts"

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

const house = HealthReporter.layer({ refreshMs: DAY }).pipe(
  Layer.provideMerge(Layer.mergeAll(HealthBoard.layer, UptimeReports.layer)),
  Layer.provideMerge(outcomes)
)
const databases = [
  ["PGlite", PGlite.layer(null)],
  [
    "Postgres",
    Layer.unwrap(
      Effect.map(
        Effect.promise(() => freshDatabase(inject("databaseUrl"))),
        (url) => Postgres.layer({ url: Redacted.make(url) })
      )
    )
  ]
] as const

let made = 0
/** A model that no other test knows. */
const newModel = () => `org/model-${made++}`

const calls = Effect.fnUntraced(function* (model: string, went: string, stepMs = 1) {
  for (const call of went) {
    yield* TestClock.adjust(stepMs)
    yield* tell([{ ...attempt("groq", call === "." ? null : "status_503", 40), model }])
  }
  yield* Effect.flatMap(HealthReporter, (reporter) => reporter.flush)
})

const of = (model: string) =>
  Effect.flatMap(HealthBook, (book) => Effect.map(book.incidents({ limit: 100, cursor: null, model }), ({ data }) => data))

const eventsOf = (model: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ data: string }>`SELECT data::text AS data FROM events WHERE data ->> 'model' = ${model}`
  )

/** Another process over the same database. */
const another = <A, E, R>(effect: Effect.Effect<A, E, R | HealthBoard | HealthReporter>) =>
  Effect.scoped(Effect.provide(effect, Layer.fresh(house)))

for (const [name, database] of databases) {
  const book = HealthBook.layer.pipe(Layer.provideMerge(Migrations.layer.pipe(Layer.provideMerge(database))))
  shared(house.pipe(Layer.provideMerge(book)))(`incidents on ${name}`, (it) => {
    it.effect("CM-11.9 X-14 severities are critical, high, medium and low, by failures in a row, and an incident only gets worse", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(Severity.literals, ["critical", "high", "medium", "low"])
        const model = newModel()
        yield* calls(model, "xx")
        assert.deepStrictEqual(yield* of(model), [])
        for (const [went, severity] of [
          ["x", "medium"],
          ["x", "medium"],
          ["x", "high"],
          ["xxxx", "high"],
          ["x", "critical"],
          ["xxxxx", "critical"]
        ] as const) {
          yield* calls(model, went)
          assert.deepInclude((yield* of(model))[0], { severity, status: "open", provider: "groq", error: "status_503" })
        }
        assert.strictEqual((yield* of(model))[0]?.failures, 15)
        const sparse = newModel()
        yield* calls(sparse, "xx", 5 * MINUTE)
        assert.deepInclude((yield* of(sparse))[0], { severity: "low", failures: 2 })
      })
    )

    it.effect("X-14 it ends when the model recovers, and goes on where the trouble comes back at once", () =>
      Effect.gen(function* () {
        const model = newModel()
        yield* calls(model, "xxxx")
        const [opened] = yield* of(model)
        yield* TestClock.adjust(2 * MINUTE)
        yield* calls(model, ".")
        const [ended] = yield* of(model)
        assert.strictEqual(ended?.id, opened?.id)
        assert.deepInclude(ended, { status: "resolved", resolution: "recovered", severity: "medium" })
        assert.isAtLeast(Date.parse(ended?.resolved_at ?? "") - Date.parse(ended?.opened_at ?? ""), 2 * MINUTE)
        yield* calls(model, "xxxxx")
        yield* calls(model, ".")
        const [again] = yield* of(model)
        assert.strictEqual(again?.id, opened?.id)
        assert.deepInclude(again, { status: "resolved", severity: "high" })
        yield* TestClock.adjust(11 * MINUTE)
        yield* calls(model, "xxx")
        const all = yield* of(model)
        assert.deepStrictEqual(
          all.map(({ status }) => status),
          ["open", "resolved"],
          "a new one, the old one kept as history"
        )
      })
    )

    it.effect("X-14 one that fails now and then is ill and well again by shares", () =>
      Effect.gen(function* () {
        const model = newModel()
        yield* calls(model, "..x..x..x..x")
        assert.deepInclude((yield* of(model))[0], { severity: "low", status: "open" })
        yield* calls(model, "...")
        assert.deepInclude((yield* of(model))[0], { status: "open" })
        yield* calls(model, "...............")
        assert.deepInclude((yield* of(model))[0], { status: "resolved", resolution: "recovered" })
      })
    )

    it.effect("X-14 replicas share it: failures in a row are counted over all of them, and one event tells of it", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const model = newModel()
        const account = `health-${model}`
        yield* sql`INSERT INTO accounts (id) VALUES (${account})`
        yield* sql`INSERT INTO webhooks (id, account, url, events, secret) VALUES (${account}, ${account}, 'https://x.example', '{model.degraded}', 's')`
        yield* calls(model, "xx")
        yield* another(calls(model, "xx"))
        assert.deepInclude((yield* of(model))[0], { severity: "medium", failures: 4 })
        yield* another(calls(model, "xxxxxx"))
        assert.strictEqual((yield* of(model)).length, 1)
        assert.deepInclude((yield* of(model))[0], { severity: "critical", failures: 10 })
        const told = yield* eventsOf(model)
        assert.strictEqual(told.length, 1)
        assert.deepInclude(JSON.parse(told[0]?.data ?? ""), {
          model,
          provider: "groq",
          severity: "medium",
          incident_id: (yield* of(model))[0]?.id
        })
        yield* another(calls(model, "."))
        assert.deepInclude((yield* of(model))[0], { status: "resolved" })
        yield* sql`DELETE FROM webhooks WHERE id = ${account}`
      })
    )

    it.effect("what one process found another one knows, also one that starts later; after 360 seconds nobody", () =>
      Effect.gen(function* () {
        const model = newModel()
        yield* calls(model, "xxxxx")
        const seen = another(Effect.map(HealthBoard, (board) => board.snapshot().of(model, "groq")))
        assert.strictEqual(yield* seen, "down")
        yield* TestClock.adjust(6 * MINUTE)
        assert.isNull(yield* seen)
      })
    )

    it.effect("an incident of a model that nobody asks any more ends after a day", () =>
      Effect.gen(function* () {
        const model = newModel()
        yield* calls(model, "xxx")
        yield* TestClock.adjust(DAY - 2 * HOUR)
        assert.deepInclude((yield* of(model))[0], { status: "open" })
        yield* TestClock.adjust(4 * HOUR)
        const { sweep } = yield* HealthBook
        yield* sweep(yield* Effect.clockWith((clock) => clock.currentTimeMillis))
        assert.deepInclude((yield* of(model))[0], { status: "resolved", resolution: "no_news" })
      })
    )

    it.effect("X-39 uptimes by model, by provider and by plan, and by hour and by day", () =>
      Effect.gen(function* () {
        const uptimes = yield* UptimeReports
        const model = newModel()
        yield* calls(model, ".......x", 1_000)
        yield* TestClock.adjust(DAY)
        yield* calls(model, "..", 1_000)
        for (const outcome of ["ok", "ok", "refunded", "rejected", "cached"] as const) {
          yield* tell([], { outcome, caller: { ...caller, plan: "team" } })
        }
        yield* Effect.flatMap(HealthReporter, (reporter) => reporter.flush)
        const mine = (days: number) => Effect.map(uptimes.by("model", days), (found) => found.get(model))
        assert.deepStrictEqual(yield* mine(2), { uptime: 0.9, calls: 10, failures: 1, latency_ms: 40 })
        assert.deepStrictEqual(yield* mine(1), { uptime: 1, calls: 2, failures: 0, latency_ms: 40 })
        assert.deepInclude((yield* uptimes.by("provider", 2)).get("groq"), { uptime: 0.9, calls: 10 })
        assert.deepInclude((yield* uptimes.by("plan", 1)).get("team"), { uptime: 0.75, calls: 4, failures: 1 })
        const history = yield* uptimes.history({ provider: "groq", model, interval: "day", days: 30 })
        assert.deepStrictEqual(
          history.map(({ failures, uptime }) => [uptime, failures]),
          [
            [0.875, 1],
            [1, 0]
          ]
        )
        assert.strictEqual((yield* uptimes.history({ provider: null, model, interval: "hour", days: 30 })).length, 2)
        assert.deepStrictEqual(yield* uptimes.history({ provider: "together", model, interval: "hour", days: 30 }), [])
      })
    )

    it.effect("what could not be written is written with what comes next", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const model = newModel()
        yield* sql`ALTER TABLE health_hours RENAME TO away`
        yield* Effect.ignore(calls(model, "xx"))
        yield* sql`ALTER TABLE away RENAME TO health_hours`
        yield* calls(model, "x")
        assert.deepInclude((yield* of(model))[0], { failures: 3 })
        assert.deepInclude((yield* Effect.flatMap(UptimeReports, (reports) => reports.by("model", 1))).get(model), {
          calls: 3,
          failures: 3
        })
      })
    )

    it.effect("X-40 the history is read in pages, newest first, by status and by model", () =>
      Effect.gen(function* () {
        const { incidents } = yield* HealthBook
        const model = newModel()
        for (let i = 0; i < 5; i++) {
          yield* calls(model, "xxx.")
          // The latest is ill at first and well at once.
          yield* calls(model, "xxx")
          yield* calls(model, ".")
          yield* TestClock.adjust(HOUR)
        }
        yield* calls(model, "xxx")
        const all = yield* incidents({ limit: 100, cursor: null, model })
        assert.strictEqual(all.data.length, 6)
        const first = yield* incidents({ limit: 4, cursor: null, model })
        const second = yield* incidents({ limit: 4, cursor: first.next, model })
        assert.deepStrictEqual([...first.data, ...second.data], all.data)
        assert.isNull(second.next)
        assert.strictEqual((yield* incidents({ limit: 100, cursor: null, model, status: "open" })).data.length, 1)
        assert.strictEqual((yield* incidents({ limit: 100, cursor: null, model, status: "resolved" })).data.length, 5)
      })
    )
  })
}
