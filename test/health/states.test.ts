/**
 * How models are: judged by their calls, published, listed, and minded by whoever chooses.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { HealthState } from "../../schemas/Health.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { CatalogListing } from "../../src/catalog/CatalogListing.ts"
import { plainQuery } from "../../src/catalog/ModelListing.ts"
import { Resolution } from "../../src/catalog/Resolution.ts"
import { HealthBoard } from "../../src/health/HealthBoard.ts"
import { HealthTrack, KEPT_MS } from "../../src/health/HealthTrack.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { attempt, outcomes, tell } from "../support/outcomes.ts"
import { candidate, model, request } from "../support/scripted.ts"

/** What a track makes of calls that are `stepMs` apart, `x` a failure. */
const judged = (calls: string, stepMs = 1): HealthState | undefined => {
  const track = new HealthTrack()
  return [...calls].map((call, at) => track.observe(at * stepMs, call === ".")).at(-1)
}

describe("a track", () => {
  for (const [calls, state, why] of [
    [".", "healthy", "one that went well"],
    ["x", "healthy", "one failure is no news"],
    ["xx", "healthy", "nor are two at once"],
    ["xxx", "degraded", "three in a row are"],
    ["xxxxx", "down", "five in a row"],
    ["xxxxxxxx.", "healthy", "the first success ends an outage"],
    ["xxxxxxxx..........", "healthy", "and what lay before says nothing any more"],
    ["..x..x..x..", "degraded", "more than a fifth of at least ten"],
    ["..x.......x", "healthy", "less"],
    ["x.x.xx.xx.x", "down", "more than half"],
    ["xx.xx.xx.xx.", "down", "without ever three in a row"]
  ] as const) {
    it(`X-26 ${calls} is ${state}: ${why}`, () => assert.strictEqual(judged(calls), state))
  }

  it("X-26 one that fell ill by shares is well again only when a tenth fails", () => {
    assert.strictEqual(judged(`x..x..x..x..${".".repeat(11)}`), "degraded", "three of the latest twenty")
    assert.strictEqual(judged(`x..x..x..x..${".".repeat(12)}`), "healthy")
  })

  it("X-26 where nobody asks often two failures in a row are enough", () => {
    assert.strictEqual(judged("xx", 300_000), "degraded")
    assert.strictEqual(judged("x.x", 300_000), "healthy")
  })

  it("what others found counts unless something newer is known", () => {
    const track = new HealthTrack()
    track.observe(1_000, true)
    track.hear(500, "down")
    assert.strictEqual(track.read(1_000), "healthy")
    track.hear(2_000, "down")
    assert.strictEqual(track.read(2_000), "down")
  })
})

const listed = [
  model("org/model", ["groq", "together"], { benchmarks: { mmlu: 90 } }),
  model("org/other", ["groq"], { benchmarks: { mmlu: 70 } }),
  model("org/third", ["together"], { benchmarks: { mmlu: 10 } })
]

const layer = Resolution.layer.pipe(
  Layer.provideMerge(CatalogListing.layer),
  Layer.provideMerge(HealthBoard.layer),
  Layer.provideMerge(outcomes),
  Layer.provideMerge(
    Catalog.layerFrom(() => ({ aliases: new Map(), models: listed.map((entry) => ({ model: entry, pricing: candidate("x").pricing })) }))
  ),
  Layer.provideMerge(Breakers.layer({ failures: 100, recoveryMs: 1_000 })),
  Layer.provideMerge(ProviderRegistry.layer(new Map(["groq", "together"].map((slug) => [slug, { apiKey: Redacted.make("key") }]))))
)

const failures = (count: number, provider: string, of = "org/model") =>
  Effect.repeat(tell([{ ...attempt(provider, "status_503"), model: of }]), { times: count - 1 })

interface Row {
  readonly id: string
  readonly health: HealthState | null
  readonly providers: ReadonlyArray<{ readonly slug: string; readonly health: HealthState | null }>
}

const rows = Effect.gen(function* () {
  const written = yield* (yield* CatalogListing).list(plainQuery, { after: null, limit: null })
  const body: { data: ReadonlyArray<Row> } = JSON.parse(new TextDecoder().decode(written))
  return new Map(
    body.data.map((row) => [
      row.id,
      { health: row.health, at: Object.fromEntries(row.providers.map(({ health, slug }) => [slug, health])) }
    ])
  )
})

const chosen = Effect.flatMap(Resolution, (resolution) =>
  Effect.map(resolution.resolve(request({ model: "router:general:quality" })), ({ candidates }) => candidates[0])
)

describe("health of models", () => {
  it.effect("X-26 the list has healthy, degraded and down of each model and of each of its providers", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* rows).get("org/model"), { health: null, at: { together: null, groq: null } })
      yield* tell([attempt("together")])
      yield* failures(3, "groq")
      yield* failures(5, "groq", "org/other")
      const now = yield* rows
      assert.deepStrictEqual(now.get("org/model"), { health: "healthy", at: { together: "healthy", groq: "degraded" } })
      assert.deepStrictEqual(now.get("org/other"), { health: "down", at: { groq: "down" } })
      assert.deepStrictEqual(now.get("org/third"), { health: null, at: { together: null } })
      const { snapshot } = yield* HealthBoard
      assert.strictEqual(snapshot().ofProvider("groq"), "down")
      assert.strictEqual(snapshot().ofProvider("together"), "healthy")
      yield* tell([{ ...attempt("groq"), model: "org/other" }])
      assert.deepStrictEqual((yield* rows).get("org/other"), { health: "healthy", at: { groq: "healthy" } })
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-8.2.4 what is known of a model is kept 360 seconds and then not known any more", () =>
    Effect.gen(function* () {
      assert.strictEqual(KEPT_MS, 360_000)
      yield* failures(5, "groq", "org/other")
      yield* TestClock.adjust(355_000)
      assert.strictEqual((yield* rows).get("org/other")?.health, "down")
      yield* TestClock.adjust(5_000)
      assert.isNull((yield* rows).get("org/other")?.health)
      yield* failures(1, "groq", "org/other")
      assert.strictEqual((yield* rows).get("org/other")?.health, "down", "one more failure of the same row")
    }).pipe(Effect.provide(layer))
  )

  it.effect("a router never chooses a model that is down at all its providers, nor judges it by one at which it is down", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* chosen).model.id, "org/model")
      yield* failures(5, "together")
      assert.strictEqual((yield* chosen).model.id, "org/model", "groq still serves it")
      yield* failures(5, "groq")
      assert.strictEqual((yield* chosen).model.id, "org/other")
      yield* failures(5, "groq", "org/other")
      assert.strictEqual((yield* chosen).model.id, "org/third")
      yield* TestClock.adjust(KEPT_MS)
      assert.strictEqual((yield* chosen).model.id, "org/model", "what is not known is tried again")
    }).pipe(Effect.provide(layer))
  )

  it.effect("a snapshot stays as it was, and only a change makes another", () =>
    Effect.gen(function* () {
      const board = yield* HealthBoard
      yield* tell([attempt("groq")])
      yield* TestClock.adjust(5_000)
      const before = board.snapshot()
      yield* tell([attempt("groq")])
      yield* TestClock.adjust(5_000)
      assert.strictEqual(board.snapshot(), before)
      yield* failures(5, "groq")
      assert.strictEqual(before.of("org/model", "groq"), "healthy")
      assert.strictEqual(board.snapshot().of("org/model", "groq"), "down")
      assert.isAbove(board.snapshot().version, before.version)
    }).pipe(Effect.provide(layer))
  )

  it.effect("limits and callers' mistakes make nobody ill", () =>
    Effect.gen(function* () {
      for (const error of ["status_429", "status_400", "status_404", "answer_not_continued"]) {
        yield* Effect.repeat(tell([attempt("groq", error)]), { times: 9 })
      }
      assert.isNull((yield* HealthBoard).snapshot().of("org/model", "groq"))
    }).pipe(Effect.provide(layer))
  )
})
