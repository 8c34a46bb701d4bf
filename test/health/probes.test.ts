/**
 * Probes over simulated days: who is asked how often, what that costs, what it finds out, and that replicas do it once.
 */
import { assert, describe, it as plain, layer as shared } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as PGlite from "../../layers/PGlite.ts"
import type { Model } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { HealthBoard } from "../../src/health/HealthBoard.ts"
import { HealthBook } from "../../src/health/HealthBook.ts"
import { HealthReporter } from "../../src/health/HealthReporter.ts"
import { ProbeBook } from "../../src/health/ProbeBook.ts"
import { Probes } from "../../src/health/Probes.ts"
import { intervalOf, type Tier, tiers, tiersOf } from "../../src/health/ProbeTiers.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderAdapters } from "../../src/providers/ProviderAdapters.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { fromSend, Transport } from "../../src/providers/Transport.ts"
import { sourceOf } from "../support/bytes.ts"
import { attempt, outcomes, tell } from "../support/outcomes.ts"
import { answer, fail, finish, model, pricing, scripted, status, text } from "../support/scripted.ts"

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

describe("tiers", () => {
  const used = (count: number) => new Map(Array.from({ length: count }, (_, i) => [`org/m${String(i).padStart(3, "0")}`, 1_000 - i]))
  const count = (found: ReadonlyMap<string, Tier>, tier: Tier) => [...found.values()].filter((other) => other === tier).length

  plain("CM-11.1 the top 5 % of models by usage are critical, due every 300 s; at least one is", () => {
    const found = tiersOf(used(100))
    assert.deepStrictEqual(
      [...found].slice(0, 6).map(([, tier]) => tier),
      ["critical", "critical", "critical", "critical", "critical", "popular"]
    )
    for (const [models, critical] of [
      [200, 10],
      [20, 1],
      [5, 1],
      [1, 1],
      [0, 0]
    ] as const) {
      assert.strictEqual(count(tiersOf(used(models)), "critical"), critical, `${models} models`)
    }
    assert.strictEqual(intervalOf("critical", "p", "m", false), 300_000)
    assert.deepInclude(tiers.critical, { timeoutMs: 30_000, maxTokens: 10 })
  })

  plain("CM-11.2 the next 20 % are popular, due every 1800 s", () => {
    assert.strictEqual(count(tiersOf(used(100)), "popular"), 20)
    assert.strictEqual(count(tiersOf(used(20)), "popular"), 4)
    assert.strictEqual(intervalOf("popular", "p", "m", false), 1_800_000)
    assert.deepInclude(tiers.popular, { timeoutMs: 45_000, maxTokens: 10 })
  })

  plain("CM-11.3 the remaining 75 % are standard, due every 7200 to 14400 s, spread between", () => {
    assert.strictEqual(count(tiersOf(used(100)), "standard"), 75)
    const intervals = [...used(200).keys()].map((id) => intervalOf("standard", "p", id, false) ?? 0)
    assert.isTrue(intervals.every((interval) => interval >= 7_200_000 && interval <= 14_400_000))
    assert.isBelow(Math.min(...intervals), 8_000_000)
    assert.isAbove(Math.max(...intervals), 13_600_000)
    assert.deepInclude(tiers.standard, { timeoutMs: 60_000, maxTokens: 5 })
  })

  plain("X-13 a model that nobody used is of no other tier than on demand, which is never due", () => {
    assert.isUndefined(tiersOf(new Map([["a", 0]])).get("a"))
    assert.isNull(intervalOf("on_demand", "p", "m", true))
  })

  plain("what is in trouble is watched as closely as the critical", () => {
    assert.strictEqual(intervalOf("standard", "p", "m", true), 300_000)
  })
})

const MODELS = 20
const ids = Array.from({ length: MODELS }, (_, i) => `org/m${String(i).padStart(2, "0")}`)
const rare = "org/rare"
const picture: Partial<Model> = { modality: "text->image" }

interface Options {
  /** Fails by the time instead of by a script. */
  readonly isDown?: (model: string, at: number) => boolean
  readonly budget?: bigint
  readonly scripts?: Parameters<typeof scripted>[0]
  readonly more?: ReadonlyArray<Model>
}

const listCalls: Array<string> = []
const transport = Layer.succeed(
  Transport,
  fromSend((request) =>
    Effect.sync(() => {
      listCalls.push(`${request.method} ${request.url}`)
      return { status: 200, headers: {}, body: sourceOf([]) }
    })
  )
)

const database = Layer.mergeAll(HealthBook.layer, ProbeBook.layer).pipe(
  Layer.provideMerge(Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null))))
)

/** Answers, or fails, by the time. */
const byTime = (isDown: (model: string, at: number) => boolean) =>
  Layer.succeed(ProviderAdapters, {
    for: () => ({
      send: (call) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          isDown(call.model.id, now) ? Effect.fail(status("groq", 502)) : Effect.succeed([text("pong"), finish("stop")])
        ),
      stream: () => Effect.die("nobody streams a probe"),
      unsupported: () => null,
      transformModelId: () => null,
      mapError: (provider, code) => status(provider, code)
    })
  })

/** One replica over the database. */
const replica = ({ budget = Money.usd("1"), isDown, more = [], scripts = {} }: Options = {}) => {
  const adapters = scripted(scripts)
  const listed = [...[...ids, rare].map((id) => model(id, ["groq"])), ...more]
  const probes = Probes.layer({ everyMs: null, dailyBudget: budget }).pipe(
    Layer.provideMerge(HealthReporter.layer({ refreshMs: DAY })),
    Layer.provideMerge(HealthBoard.layer),
    Layer.provideMerge(outcomes),
    Layer.provideMerge(
      Catalog.layerFrom(() => ({ aliases: new Map(), models: listed.map((entry) => ({ model: entry, pricing })) })).pipe(
        Layer.provideMerge(Breakers.layer({ failures: 1_000, recoveryMs: 1_000 })),
        Layer.provideMerge(ProviderRegistry.layer(new Map(["groq", "together"].map((slug) => [slug, { apiKey: Redacted.make("key") }]))))
      )
    ),
    Layer.provide([isDown === undefined ? adapters.layer : byTime(isDown), transport])
  )
  return { calls: adapters.requests, layer: Layer.fresh(probes) }
}

/** Usage of an hour, the first model the most. */
const use = Effect.fnUntraced(function* (models: ReadonlyArray<string>, at: number) {
  const sql = yield* SqlClient.SqlClient
  for (const [place, id] of models.entries()) {
    yield* sql`INSERT INTO usage_hours (account, hour, key_id, model, provider, requests, errors, cancelled, input, cached_read, cache_write,
      output, reasoning, cost, latency, first_chunk) VALUES ('a', date_trunc('hour', ${new Date(at).toISOString()}::text::timestamptz, 'UTC'), 'k', ${id}, 'groq',
      ${String(1_000 - place)}::text::bigint, 0, 0, 0, 0, 0, 0, 0, 0, '{}', '{}') ON CONFLICT DO NOTHING`
  }
})

/** An empty database that begins at a whole hour, time going on. */
const begin = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const table of ["model_health", "incidents", "probe_spending", "usage_hours", "health_hours"])
    yield* sql.unsafe(`DELETE FROM ${table}`)
  const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  yield* TestClock.setTime(Math.ceil((now + 1) / DAY) * DAY)
  listCalls.length = 0
  return yield* Effect.clockWith((clock) => clock.currentTimeMillis)
})

shared(database)("probes", (it) => {
  it.effect("CM-11.1 CM-11.2 CM-11.3 X-13 a simulated week: each model is asked as often as its tier says, rare ones never", () => {
    const { calls, layer } = replica({ budget: Money.usd("1000") })
    return Effect.gen(function* () {
      const start = yield* begin
      const { round } = yield* Probes
      for (let at = start; at < start + 7 * DAY; at += 5 * MINUTE) {
        if (at % (12 * HOUR) === 0) yield* use(ids, at)
        yield* TestClock.setTime(at)
        yield* round
      }
      const count = (id: string) => calls.filter((call) => call.model.id === id).length
      assert.strictEqual(count(ids[0] ?? ""), (7 * DAY) / (5 * MINUTE), "critical")
      for (const id of ids.slice(1, 5)) assert.approximately(count(id), (7 * DAY) / (30 * MINUTE), 2, `${id} popular`)
      for (const id of ids.slice(5)) assert.isTrue(count(id) <= 84 && count(id) >= 40, `${id} standard: ${count(id)}`)
      assert.strictEqual(count(rare), 0)
      assert.isTrue(
        calls.every((call) => call.request.body["max_tokens"] === call.request.maxTokens && (call.request.maxTokens ?? 99) <= 10)
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("X-13 a rare model is asked when somebody wants to know, and the answer counts", () => {
    const { calls, layer } = replica({ scripts: { groq: [fail(status("groq", 503)), answer()] } })
    return Effect.gen(function* () {
      yield* begin
      const { now, round } = yield* Probes
      assert.deepStrictEqual(yield* round, [])
      const [first] = yield* now(rare, null)
      assert.deepInclude(first, { tier: "on_demand", outcome: "failure", error: "status_503", provider: "groq" })
      assert.deepInclude((yield* now(rare, "groq"))[0], { outcome: "success", error: null })
      assert.deepStrictEqual(yield* now(rare, "together"), [])
      assert.deepStrictEqual(yield* now("org/none", null), [])
      assert.strictEqual(calls.length, 2)
      assert.strictEqual(calls[0]?.request.maxTokens, 5)
      yield* TestClock.adjust(5_000)
      assert.strictEqual((yield* HealthBoard).snapshot().of(rare, "groq"), "healthy")
    }).pipe(Effect.provide(layer))
  })

  it.effect("replicas probe once, and who was just asked by a request is not asked again", () => {
    const [a, b] = [replica(), replica()]
    return Effect.gen(function* () {
      const start = yield* begin
      yield* use(ids.slice(0, 10), start)
      const roundOf = (layer: typeof a.layer) => Effect.flatMap(Probes, ({ round }) => round).pipe(Effect.provide(layer))
      const both = yield* Effect.all([roundOf(a.layer), roundOf(b.layer)], { concurrency: 2 })
      assert.strictEqual(both.flat().length, 10)
      assert.strictEqual(a.calls.length + b.calls.length, 10)
      assert.deepStrictEqual(yield* roundOf(b.layer), [], "not due before 300 seconds have gone")
      yield* TestClock.adjust(5 * MINUTE)
      const found = yield* Effect.gen(function* () {
        yield* tell([{ ...attempt("groq"), model: ids[0] ?? "" }])
        return yield* (yield* Probes).round
      }).pipe(Effect.provide(a.layer))
      assert.deepStrictEqual(found, [], "a request of this replica told of it")
      assert.deepStrictEqual(yield* roundOf(b.layer), [], "and the report of it every other")
      yield* TestClock.adjust(5 * MINUTE)
      assert.deepStrictEqual(
        (yield* roundOf(b.layer)).map((probed) => probed.model),
        [ids[0]]
      )
    })
  })

  it.effect("a replica that dies with a lease keeps nobody from probing for long", () =>
    Effect.gen(function* () {
      const start = yield* begin
      const book = yield* ProbeBook
      const wanted = [{ provider: "groq", model: ids[0] ?? "", notSince: start - 1 }]
      assert.strictEqual((yield* book.claim(start, wanted)).length, 1)
      assert.strictEqual((yield* book.claim(start + 119_999, wanted)).length, 0)
      assert.strictEqual((yield* book.claim(start + 120_000, wanted)).length, 1)
    })
  )

  it.effect("X-14 an outage is found by probes, told by an incident, watched closely and seen to end", () => {
    const scripts = { groq: [answer(), answer(), ...Array.from({ length: 20 }, () => fail(status("groq", 502))), answer(), answer()] }
    const { layer } = replica({ scripts })
    return Effect.gen(function* () {
      const start = yield* begin
      const id = ids[0] ?? ""
      yield* use([id], start)
      const { round } = yield* Probes
      const { flush } = yield* HealthReporter
      const { incidents } = yield* HealthBook
      const seen: Array<string> = []
      for (let at = start; at < start + 2.1 * HOUR; at += 5 * MINUTE) {
        yield* TestClock.setTime(at)
        yield* round
        yield* flush
        const [incident] = (yield* incidents({ limit: 1, cursor: null, model: id })).data
        const word = incident === undefined ? "none" : incident.status === "open" ? incident.severity : incident.status
        if (seen.at(-1) !== word) seen.push(word)
      }
      assert.deepStrictEqual(seen, ["none", "low", "medium", "high", "critical", "resolved"])
      const [incident] = (yield* incidents({ limit: 1, cursor: null, model: id })).data
      assert.deepInclude(incident, { failures: 20, error: "status_502", resolution: "recovered" })
      assert.strictEqual(Date.parse(incident?.resolved_at ?? "") - Date.parse(incident?.opened_at ?? ""), 19 * 5 * MINUTE)
    }).pipe(Effect.provide(layer))
  })

  it.effect(
    "X-14 a simulated week of outages: each is one incident, found and ended as soon as its tier lets it, and nothing else is",
    () => {
      // Hours from the start of the week, and minutes to the first probe and two that confirm it: a critical model, two popular ones, a standard one.
      const outages = [
        { model: ids[0] ?? "", from: 26, to: 28, foundWithin: 15 },
        { model: ids[0] ?? "", from: 50, to: 51, foundWithin: 15 },
        { model: ids[0] ?? "", from: 100.25, to: 130, foundWithin: 15 },
        { model: ids[1] ?? "", from: 30, to: 33, foundWithin: 45 },
        { model: ids[2] ?? "", from: 30.5, to: 36, foundWithin: 45 },
        { model: ids[2] ?? "", from: 90, to: 92, foundWithin: 45 },
        { model: ids[10] ?? "", from: 60, to: 70, foundWithin: 255 }
      ] as const
      let start = 0
      const isDown = (id: string, at: number) =>
        outages.some(({ from, model: other, to }) => other === id && at >= start + from * HOUR && at < start + to * HOUR)
      const [one, other] = [replica({ budget: Money.usd("1000"), isDown }), replica({ budget: Money.usd("1000"), isDown })]
      return Effect.gen(function* () {
        start = yield* begin
        const replicas = [yield* Layer.build(one.layer), yield* Layer.build(other.layer)]
        const step = Effect.gen(function* () {
          yield* (yield* Probes).round
          yield* (yield* HealthReporter).flush
        })
        for (let turn = 0; turn < (7 * DAY) / (5 * MINUTE); turn++) {
          const at = start + turn * 5 * MINUTE
          if (at % (12 * HOUR) === 0) yield* use(ids, at)
          yield* TestClock.setTime(at)
          const context = replicas[turn % 2]
          if (context !== undefined) yield* Effect.provideContext(step, context)
        }
        const { data } = yield* (yield* HealthBook).incidents({ limit: 100, cursor: null })
        assert.strictEqual(
          data.length,
          outages.length,
          data
            .map(
              (i) =>
                `${i.model} ${(Date.parse(i.opened_at) - start) / HOUR}-${(Date.parse(i.resolved_at ?? "") - start) / HOUR} ${i.severity} ${i.failures}`
            )
            .join("; ")
        )
        for (const { foundWithin, from, model: id, to } of outages) {
          const [begins, ends] = [start + from * HOUR, start + to * HOUR]
          const mine = data.filter(
            (incident) => incident.model === id && Date.parse(incident.opened_at) >= begins && Date.parse(incident.opened_at) < ends
          )
          assert.lengthOf(mine, 1, `${id} from hour ${from}`)
          const [incident] = mine
          assert.isAtMost(Date.parse(incident?.opened_at ?? "") - begins, foundWithin * MINUTE, `${id} found`)
          assert.deepInclude(incident, { status: "resolved", resolution: "recovered", severity: "critical", provider: "groq" })
          const late = Date.parse(incident?.resolved_at ?? "") - ends
          assert.isTrue(late >= 0 && late <= 15 * MINUTE, `${id} ended ${late / MINUTE} minutes after`)
        }
      }).pipe(Effect.scoped)
    }
  )

  it.effect("probes of a day cost no more than the budget, and the next day has its own", () => {
    // Each costs at most 16 tokens of 0.000001 and 10 of 0.000002 USD.
    const { calls, layer } = replica({ budget: Money.usd("0.000110") })
    return Effect.gen(function* () {
      const start = yield* begin
      yield* use(ids.slice(0, 1), start)
      const { round } = yield* Probes
      const half = (from: number) =>
        Effect.gen(function* () {
          for (let at = from; at < from + 2 * HOUR; at += 5 * MINUTE) {
            yield* TestClock.setTime(at)
            yield* round
          }
        })
      yield* half(start)
      assert.strictEqual(calls.length, 3)
      yield* use(ids.slice(0, 1), start + DAY)
      yield* half(start + DAY)
      assert.strictEqual(calls.length, 6)
      const sql = yield* SqlClient.SqlClient
      const days = yield* sql<{ spent: string }>`SELECT spent::text AS spent FROM probe_spending ORDER BY day`
      assert.deepStrictEqual(
        days.map((day) => day.spent),
        ["108000000", "108000000"]
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("a picture is not made to find out: the provider's list has to do", () => {
    const { calls, layer } = replica({ more: [model("org/painter", ["together"], picture)] })
    return Effect.gen(function* () {
      yield* begin
      const { now } = yield* Probes
      assert.deepInclude((yield* now("org/painter", null))[0], { outcome: "success", provider: "together" })
      assert.strictEqual(calls.length, 0)
      assert.deepStrictEqual(listCalls, ["GET https://api.together.xyz/v1/models"])
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`SELECT * FROM probe_spending`, [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("limits say nothing; who is silent fails after the tier's time", () => {
    const { calls, layer } = replica({ scripts: { groq: [fail(status("groq", 429)), { _tag: "Hang" }] } })
    return Effect.gen(function* () {
      yield* begin
      const { now } = yield* Probes
      assert.deepInclude((yield* now(rare, null))[0], { outcome: "unclear", error: "status_429" })
      assert.isNull((yield* HealthBoard).snapshot().of(rare, "groq"))
      const probing = yield* Effect.forkChild(now(rare, null), { startImmediately: true })
      while (calls.length < 2) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust(tiers.on_demand.timeoutMs)
      assert.deepInclude((yield* Fiber.join(probing))[0], { outcome: "failure", error: "timeout_probe" })
    }).pipe(Effect.provide(layer))
  })
})
