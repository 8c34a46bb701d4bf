import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Random } from "effect"
import type { ProviderSort } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { Balancer, type Candidates } from "../../src/routing/Balancer.ts"
import { type Balancing, RoutingOptions } from "../../src/routing/Balancing.ts"
import { type Live, LiveHealth, unknown } from "../../src/routing/LiveHealth.ts"
import { candidate, model, request } from "../support/scripted.ts"

const of = model("org/model", ["a", "b", "c"])
const three: Candidates = [candidate("a", of), candidate("b", of), candidate("c", of)]
const defaults: Balancing = { weights: {}, floor: 0.5, least: 20, alternative: 0.7, slowestMs: 30_000 }

const house = (live: Readonly<Record<string, Partial<Live>>> = {}, options: Partial<Balancing> = {}) =>
  Balancer.layer.pipe(
    Layer.provide([
      Layer.succeed(LiveHealth, (_, provider) => ({ ...unknown, calls: 20, ...live[provider] })),
      Layer.succeed(RoutingOptions, { ...defaults, ...options })
    ])
  )

const prompt = (at: Candidate) => at.pricing.prompt

const ordered = Effect.fnUntraced(function* (sort?: ProviderSort, candidates = three, stream = false) {
  const preference = { order: [], only: [], allowFallbacks: true, ...(sort === undefined ? {} : { sort }) }
  const balanced = yield* (yield* Balancer).order(request({ preference, stream }), candidates, prompt)
  return balanced.map(({ provider }) => provider).join("")
})

describe("load balancing", () => {
  it.effect("without anything known the order is the fixed one", () =>
    Effect.map(ordered(), (order) => assert.strictEqual(order, "abc")).pipe(Effect.provide(house()))
  )

  const rules: ReadonlyArray<readonly [string, Record<string, number>, string]> = [
    ["a provider under 50 % goes behind one at 70 %", { a: 0.49, b: 0.7, c: 0.69 }, "bca"],
    ["at 50 % it stays", { a: 0.5, b: 1, c: 1 }, "abc"],
    ["without one at 70 % it stays", { a: 0.1, b: 0.69, c: 0.6 }, "abc"],
    ["one of whom nothing is known counts as healthy", { a: 0.1, b: 0.2 }, "cab"],
    ["several go back in their order, and nobody is left out", { a: 0, b: 0.3, c: 0.9 }, "cab"],
    ["a middling one stays before an ill one", { a: 0.4, b: 0.6, c: 0.8 }, "bca"]
  ]
  for (const [name, uptimes, expected] of rules) {
    it.effect(`X-9 ${name}`, () =>
      Effect.map(ordered(), (order) => assert.strictEqual(order, expected)).pipe(
        Effect.provide(house(Object.fromEntries(Object.entries(uptimes).map(([slug, uptime]) => [slug, { uptime }]))))
      )
    )
  }

  it.effect("X-9 fewer than twenty calls move nobody", () =>
    Effect.map(ordered(), (order) => assert.strictEqual(order, "abc")).pipe(Effect.provide(house({ a: { uptime: 0, calls: 19 } })))
  )

  it.effect("X-9 a caller's own order stays, also of an ill provider", () =>
    Effect.gen(function* () {
      const preference = { order: ["a"], only: [], allowFallbacks: true, sort: "latency" as const }
      const balanced = yield* (yield* Balancer).order(request({ preference }), three, prompt)
      assert.deepStrictEqual(balanced, three)
    }).pipe(Effect.provide(house({ a: { uptime: 0 }, b: { uptime: 1, latencyP50: 1 } })))
  )

  it.effect("X-9 models stay in their order: providers move within each", () =>
    Effect.gen(function* () {
      const other = model("org/other", ["a", "b"])
      const order = yield* ordered(undefined, [...three, candidate("a", other), candidate("b", other)])
      assert.strictEqual(order, "bcaba")
    }).pipe(Effect.provide(house({ a: { uptime: 0.1 } })))
  )

  it.effect("X-10 the lowest P50 is first: of whole answers, or of first contents when streaming; the unknown last, the ill behind", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ordered("latency"), "bac")
      assert.strictEqual(yield* ordered("latency", three, true), "abc")
    }).pipe(Effect.provide(house({ a: { latencyP50: 300, firstChunkP50: 10 }, b: { latencyP50: 100, firstChunkP50: 20 } })))
  )

  it.effect("X-10 a quick provider that fails is not first", () =>
    Effect.map(ordered("latency"), (order) => assert.strictEqual(order, "bca")).pipe(
      Effect.provide(house({ a: { latencyP50: 1, uptime: 0.2 }, b: { latencyP50: 100 } }))
    )
  )

  it.effect("the one that writes fastest is first where that is asked for", () =>
    Effect.map(ordered("throughput"), (order) => assert.strictEqual(order, "cab")).pipe(
      Effect.provide(house({ a: { tokensPerSecondP50: 50 }, c: { tokensPerSecondP50: 80 } }))
    )
  )

  const priced = (prices: Readonly<Record<string, string>>): Candidates => {
    const at = (slug: string): Candidate => ({
      ...candidate(slug, of),
      pricing: { prompt: Money.usd(prices[slug] ?? "0"), completion: Money.usd("0.000001") }
    })
    return [at("a"), at("b"), at("c")]
  }

  it.effect("X-11 the cheapest is first; one that is ill or too slow is not", () => {
    const candidates = priced({ a: "0.000003", b: "0.000001", c: "0.000002" })
    const order = ordered("price", candidates)
    return Effect.gen(function* () {
      assert.strictEqual(yield* Effect.provide(order, house()), "bca")
      assert.strictEqual(yield* Effect.provide(order, house({ b: { uptime: 0.6 } })), "cab")
      assert.strictEqual(yield* Effect.provide(order, house({ b: { latencyP50: 40_000 } })), "cab")
      assert.strictEqual(yield* Effect.provide(order, house({ b: { uptime: 0.6 }, c: { uptime: 0.6 }, a: { uptime: 0.6 } })), "bca")
    })
  })

  const weights = { "org/model": { a: 70, b: 30 } }
  const firsts = (count: number) => Effect.forEach(Array.from({ length: count }), () => Effect.map(ordered(), (order) => order[0] ?? ""))

  it.effect("X-12 traffic is split by weight, the same way for the same random source", () =>
    Effect.gen(function* () {
      const drawn = yield* Random.withSeed(firsts(2_000), "seed")
      const share = drawn.filter((first) => first === "a").length / drawn.length
      assert.closeTo(share, 0.7, 0.05)
      assert.notInclude(drawn, "c")
      assert.deepStrictEqual(yield* Random.withSeed(firsts(2_000), "seed"), drawn)
      assert.notDeepEqual(yield* Random.withSeed(firsts(2_000), "another"), drawn)
    }).pipe(Effect.provide(house({}, { weights })))
  )

  it.effect("X-12 an ill provider keeps its share only while the other is not well; a model without weights is not split", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual([...new Set(yield* firsts(50))], ["b"])
      const other = model("org/other", ["a", "b"])
      assert.strictEqual(yield* ordered(undefined, [candidate("b", other), candidate("a", other)]), "ba")
    }).pipe(Effect.provide(house({ a: { uptime: 0.1 } }, { weights })))
  )
})
