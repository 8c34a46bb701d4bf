/**
 * Routers: what their names mean, and which model they choose; the figures are recomputed here from the data.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import type { Model } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { shipped } from "../../src/catalog/CatalogData.ts"
import { CatalogListing } from "../../src/catalog/CatalogListing.ts"
import { Resolution } from "../../src/catalog/Resolution.ts"
import { toConversation } from "../../src/http/OpenAiChatConversation.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { rankCode, savingsOf, tierFor, tierOf } from "../../src/routing/CodeRouter.ts"
import { classify, complexities, taskKinds } from "../../src/routing/CodeTask.ts"
import { blendedPrice, type Contender, qualityOf } from "../../src/routing/Contender.ts"
import { rankGeneral } from "../../src/routing/GeneralRouter.ts"
import { Latencies, type P50 } from "../../src/routing/Latencies.ts"
import { type Recommend, Recommender } from "../../src/routing/Recommender.ts"
import { parseRouter } from "../../src/routing/RouterName.ts"
import { model, request } from "../support/scripted.ts"

const contender = (id: string, more: { quality?: number; blended?: number; p50?: number | null; of?: Partial<Model> } = {}): Contender => {
  const blended = more.blended ?? 1
  const price = Money.make(BigInt(Math.round(blended * 1_000_000)))
  return {
    model: model(id, ["openrouter"], more.of ?? {}),
    pricing: { prompt: price, completion: price },
    quality: more.quality ?? 50,
    blended,
    p50: more.p50 ?? null
  }
}

const firstOf = (ranked: ReadonlyArray<{ readonly contender: Contender }>) => ranked[0]?.contender.model.id
const orderOf = (ranked: ReadonlyArray<{ readonly contender: Contender }>) => ranked.map((entry) => entry.contender.model.id)

interface WorldOptions {
  readonly active?: ReadonlyArray<string>
  readonly p50?: P50
  readonly recommend?: Recommend
}

/** The shipped catalog behind routers. */
const world = ({ active = ["openai", "anthropic", "groq", "openrouter", "google-ai-studio"], p50, recommend }: WorldOptions = {}) =>
  Resolution.layer.pipe(
    Layer.provide([Layer.succeed(Latencies, p50 ?? (() => null)), Layer.succeed(Recommender, recommend ?? null)]),
    Layer.provideMerge(CatalogListing.layer),
    Layer.provideMerge(Catalog.layer),
    Layer.provideMerge(Breakers.layer({ failures: 1, recoveryMs: 60_000 })),
    Layer.provideMerge(
      ProviderRegistry.layer(new Map(active.map((slug) => [slug, { apiKey: Redacted.make("key"), baseUrl: "http://127.0.0.1:9/v1" }])))
    )
  )

const asks = (name: string, body: JsonObject = {}, more: Partial<InferenceRequest> = {}) => {
  const whole = { messages: [{ role: "user", content: "hello" }], ...body }
  return request({ model: name, body: whole, conversation: () => toConversation(whole), ...more })
}

const resolved = (name: string, body?: JsonObject, more?: Partial<InferenceRequest>) =>
  Effect.flatMap(Resolution, (resolution) => resolution.resolve(asks(name, body, more)))

/** The shipped models that a router may choose, as their data has them. */
const choosable = (serves: ReadonlyArray<string>) =>
  shipped().models.flatMap(({ model: entry, pricing }) => {
    const row = entry.providers.find(({ slug }) => serves.includes(slug))
    const price = row?.pricing ?? pricing
    const isChat = entry.modality.split("->")[1]?.split("+").includes("text") === true && !entry.modality.startsWith("audio->")
    if (row === undefined || price === null || !isChat || entry.free || entry.deprecated === true) return []
    const known = Object.values(entry.benchmarks).flatMap((value) => (value === null ? [] : [value]))
    const quality = known.length === 0 ? 50 : known.reduce((sum, value) => sum + value, 0) / known.length
    const usd = (amount: bigint) => Number(Money.toUsd(Money.make(amount))) * 1_000_000
    return [{ id: entry.id, context: entry.contextLength, quality, blended: (2 * usd(price.prompt) + usd(price.completion)) / 3 }]
  })

describe("the general router", () => {
  for (const [row, mode] of [
    ["CM-4.1.1", "quality"],
    ["CM-4.1.2", "cost"],
    ["CM-4.1.3", "latency"],
    ["CM-4.1.4", "balanced"]
  ] as const) {
    it(`${row} router:general:${mode} is the general router in mode ${mode}`, () => {
      assert.deepStrictEqual(parseRouter(`router:general:${mode}`), { router: "general", mode })
      assert.deepStrictEqual(parseRouter(`Router:General:${mode.toUpperCase()}`), { router: "general", mode })
      assert.deepStrictEqual(parseRouter(`sluice-general-${mode}`), { router: "general", mode })
    })
  }

  it("CM-4.1.4 without a mode it is balanced: half quality, three tenths cost, two tenths latency", () => {
    assert.deepStrictEqual(parseRouter("router:general"), { router: "general", mode: "balanced" })
    const ranked = rankGeneral("balanced", [
      contender("a/good-dear-slow", { quality: 90, blended: 10, p50: 1_000 }),
      contender("a/bad-cheap-fast", { quality: 50, blended: 1, p50: 100 }),
      contender("a/between", { quality: 80, blended: 2, p50: 200 })
    ])
    const scores = new Map(ranked.map((entry) => [entry.contender.model.id, entry.score]))
    assert.closeTo(scores.get("a/good-dear-slow") ?? 0, 0.5, 1e-9)
    assert.closeTo(scores.get("a/bad-cheap-fast") ?? 0, 0.5, 1e-9)
    assert.closeTo(scores.get("a/between") ?? 0, 0.5 * (30 / 40) + 0.3 * (8 / 9) + 0.2 * (800 / 900), 1e-9)
    assert.strictEqual(firstOf(ranked), "a/between")
  })

  it.effect("CM-4.1.5 quality takes the highest mean of the known benchmarks", () =>
    Effect.gen(function* () {
      const best = choosable(["openai"]).toSorted((a, b) => b.quality - a.quality)[0]
      const { candidates, routing } = yield* resolved("router:general:quality")
      assert.strictEqual(candidates[0].model.id, best?.id)
      assert.strictEqual(routing?.model, best?.id)
      assert.strictEqual(routing?.quality, Number(best?.quality.toFixed(2)))
      assert.strictEqual(qualityOf({ benchmarks: { mmlu: 80, math: 60, gpqa: null, arena_elo: 1_300 } }), 70)
      assert.strictEqual(qualityOf({ benchmarks: { mmlu: null } }), 50)
    }).pipe(Effect.provide(world({ active: ["openai"] })))
  )

  it.effect("CM-4.1.6 cost takes the lowest price per token of those with a quality of 60 at least", () =>
    Effect.gen(function* () {
      const cheapest = choosable(["openai"])
        .filter((entry) => entry.quality >= 60)
        .toSorted((a, b) => a.blended - b.blended)[0]
      const { candidates, routing } = yield* resolved("router:general:cost")
      assert.strictEqual(candidates[0].model.id, cheapest?.id)
      assert.closeTo(routing?.blended_usd ?? 0, cheapest?.blended ?? -1, 1e-6)
      const ranked = rankGeneral("cost", [
        contender("a/poor", { quality: 59.9, blended: 0.1 }),
        contender("a/fair", { quality: 60, blended: 1 }),
        contender("a/dear", { quality: 99, blended: 2 })
      ])
      assert.deepStrictEqual(orderOf(ranked), ["a/fair", "a/dear", "a/poor"])
      assert.closeTo(blendedPrice({ prompt: Money.usd("0.000003"), completion: Money.usd("0.000015") }), 7, 1e-9)
    }).pipe(Effect.provide(world({ active: ["openai"] })))
  )

  it.effect("CM-4.1.7 latency takes the lowest P50 of just now; what nobody has measured comes after", () => {
    const times: Record<string, number> = { "openai/gpt-4o": 900, "openai/gpt-4o-mini": 300, "openai/gpt-4.1": 301 }
    return Effect.gen(function* () {
      const { candidates, routing } = yield* resolved("router:general:latency")
      assert.strictEqual(candidates[0].model.id, "openai/gpt-4o-mini")
      assert.strictEqual(routing?.p50_ms, 300)
      assert.deepStrictEqual(routing?.alternatives, ["openai/gpt-4.1", "openai/gpt-4o"])
      times["openai/gpt-4o-mini"] = 5_000
      assert.strictEqual((yield* resolved("router:general:latency")).candidates[0].model.id, "openai/gpt-4.1")
    }).pipe(Effect.provide(world({ active: ["openai"], p50: (id) => times[id] ?? null })))
  })

  it.effect("CM-4.1.8 a mode or a router that does not exist is the caller's mistake", () =>
    Effect.gen(function* () {
      for (const name of [
        "router:general:invalid",
        "router:generalx",
        "router:",
        "router",
        "router:general:cost:x",
        "router:code:cheap",
        "router:x"
      ]) {
        const error = yield* Effect.flip(resolved(name))
        assert.strictEqual(error.reason._tag, "InvalidRoute", name)
      }
      assert.isNull(parseRouter("routerlike/model"))
    }).pipe(Effect.provide(world()))
  )

  it.effect("only models that can do what is asked, at providers that can be asked, are chosen; the next best follow", () =>
    Effect.gen(function* () {
      const modelsOf = (found: { readonly candidates: ReadonlyArray<{ readonly model: Model }> }) => [
        ...new Set(found.candidates.map((entry) => entry.model))
      ]
      const tools = { tools: [{ type: "function", function: { name: "f", parameters: {} } }] }
      for (const entry of modelsOf(yield* resolved("router:general:cost", tools))) assert.isTrue(entry.supports.tools)
      for (const entry of modelsOf(yield* resolved("router:general:cost", {}, { promptImages: 1 }))) assert.isTrue(entry.supports.vision)
      const schema = { response_format: { type: "json_schema", json_schema: { name: "x", schema: {} } } }
      for (const entry of modelsOf(yield* resolved("router:general:cost", schema))) assert.isTrue(entry.supports.json_schema)
      for (const entry of modelsOf(yield* resolved("router:general:cost", {}, { promptCharacters: 2_000_000, maxTokens: 1_000 }))) {
        assert.isAtLeast(entry.contextLength, 501_000)
      }
      const routed = yield* resolved("router:general:quality")
      assert.lengthOf(modelsOf(routed), 3)
      assert.deepStrictEqual(
        modelsOf(routed).map((entry) => entry.id),
        [routed.routing?.model, ...(routed.routing?.alternatives ?? [])]
      )
      const tooMuch = yield* Effect.flip(resolved("router:general", {}, { promptCharacters: 900_000_000 }))
      assert.strictEqual(tooMuch.reason._tag, "InvalidRoute")
      const breakers = yield* Breakers
      for (const slug of ["openai", "openrouter", "anthropic", "google-ai-studio"])
        yield* (yield* breakers.permit(slug))?.tell("failure") ?? Effect.void
      for (const entry of modelsOf(yield* resolved("router:general:quality"))) {
        assert.include(
          entry.providers.map((row) => row.slug),
          "groq"
        )
      }
    }).pipe(Effect.provide(world()))
  )

  it.effect("log probabilities are wished for, and no reason to have no answer in chat", () =>
    Effect.gen(function* () {
      const wish = { logprobs: true }
      const openAis = yield* Effect.provide(resolved("router:general:cost", wish), world({ active: ["openai", "anthropic"] }))
      for (const candidate of openAis.candidates) assert.isTrue(candidate.model.supports.logprobs)
      const anthropics = world({ active: ["anthropic"] })
      const { candidates } = yield* Effect.provide(resolved("router:general:cost", wish), anthropics)
      assert.strictEqual(candidates[0].provider, "anthropic")
      const other = resolved("router:general:cost", wish, { protocol: "openai-responses" })
      assert.strictEqual((yield* Effect.flip(Effect.provide(other, anthropics)))._tag, "CatalogError")
    })
  )

  it.effect("the sandbox stands in where there is nobody else", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* resolved("router:general")).candidates[0].provider, "sandbox")
    }).pipe(Effect.provide(world({ active: [] })))
  )

  it.effect("a caller's `only` holds for routers", () =>
    Effect.gen(function* () {
      const preference = { order: [], only: ["anthropic"], allowFallbacks: true }
      for (const { provider } of (yield* resolved("router:general:quality", {}, { preference })).candidates)
        assert.strictEqual(provider, "anthropic")
    }).pipe(Effect.provide(world()))
  )

  it.effect("a provider that the caller names is the first of every model that a router takes", () =>
    Effect.gen(function* () {
      const preference = { order: ["anthropic"], only: [], allowFallbacks: true, named: "anthropic" }
      const { candidates } = yield* resolved("router:general:quality", {}, { preference })
      const first = new Map<string, string>()
      for (const { model: entry, provider } of candidates) if (!first.has(entry.id)) first.set(entry.id, provider)
      assert.deepStrictEqual([...first.values()], ["anthropic", "anthropic", "anthropic"])
    }).pipe(Effect.provide(world()))
  )

  it.effect("a provider that the caller names is the model's own: a fallback model that it does not serve is another's", () =>
    Effect.gen(function* () {
      const preference = { order: ["openai"], only: [], allowFallbacks: true, named: "openai" }
      const { candidates } = yield* resolved("gpt-4o", {}, { preference, fallbackModels: ["anthropic/claude-sonnet-4"] })
      assert.strictEqual(candidates[0].provider, "openai")
      assert.isTrue(candidates.some(({ model: { id }, provider }) => id === "anthropic/claude-sonnet-4" && provider === "anthropic"))
      const unknown = yield* Effect.flip(resolved("gpt-4o", {}, { fallbackModels: ["nobody/nothing"] }))
      assert.deepInclude({ ...unknown.reason }, { _tag: "ModelNotFound", model: "nobody/nothing", param: "models" })
    }).pipe(Effect.provide(world()))
  )

  it.effect("a recommender is heard, unless it fails, knows no such model, or takes too long", () => {
    const answers: { next: Effect.Effect<ReadonlyArray<string>, unknown> } = { next: Effect.succeed(["openai/gpt-4o"]) }
    return Effect.gen(function* () {
      const recommended = yield* resolved("router:general:quality")
      assert.strictEqual(recommended.candidates[0].model.id, "openai/gpt-4o")
      assert.strictEqual(recommended.routing?.reason, "recommended")
      const own = choosable(["openai"]).toSorted((a, b) => b.quality - a.quality)[0]?.id
      for (const next of [Effect.fail("no"), Effect.die("defect"), Effect.succeed(["nobody/nothing"])]) {
        answers.next = next
        assert.strictEqual((yield* resolved("router:general:quality")).candidates[0].model.id, own)
      }
      answers.next = Effect.never
      const waiting = yield* Effect.forkChild(resolved("router:general:quality"), { startImmediately: true })
      yield* TestClock.adjust(Duration.millis(150))
      assert.strictEqual((yield* Fiber.join(waiting)).candidates[0].model.id, own)
    }).pipe(Effect.provide(world({ active: ["openai"], recommend: () => answers.next })))
  })
})

describe("the code router", () => {
  it("CM-4.2.1 router:code and router:code:auto are the code router in mode auto", () => {
    for (const name of ["router:code", "router:code:auto", "sluice-code", "ROUTER:CODE:AUTO"]) {
      assert.deepStrictEqual(parseRouter(name), { router: "code", mode: "auto" })
    }
  })

  for (const [row, mode] of [
    ["CM-4.2.2", "agentic"],
    ["CM-4.2.3", "price"],
    ["CM-4.2.4", "quality"]
  ] as const) {
    it(`${row} router:code:${mode} is the code router in mode ${mode}`, () =>
      assert.deepStrictEqual(parseRouter(`router:code:${mode}`), { router: "code", mode }))
  }

  it("CM-4.2.5 a higher SWE-bench score alone changes the choice", () => {
    const task = classify({ text: "refactor this", messages: 1 })
    const tier = tierFor("quality", task.category)
    const of = (swe: number) => ({ of: { tier, benchmarks: { swe_bench: swe, humaneval: 90 } } })
    const chosen = (mine: number) => firstOf(rankCode("quality", task, [contender("a/mine", of(mine)), contender("a/other", of(60))]))
    assert.strictEqual(chosen(59), "a/other")
    assert.strictEqual(chosen(61), "a/mine")
    const agentic = (mine: number) =>
      firstOf(
        rankCode("agentic", task, [
          contender("a/mine", { of: { tier: 1, benchmarks: { swe_bench: mine } } }),
          contender("a/other", { of: { tier: 1, benchmarks: { swe_bench: 72 } } })
        ])
      )
    assert.strictEqual(agentic(71), "a/other")
    assert.strictEqual(agentic(73), "a/mine")
  })

  it("CM-4.2.6 tasks are told apart by their words, and weighed", () => {
    const of = (text: string, messages = 1) => classify({ text, messages })
    const weight = (text: string) => complexities.indexOf(of(text).complexity)
    assert.strictEqual(of("fix a typo").category, "simple_code")
    assert.strictEqual(of("design a scalable microservice system").category, "architecture")
    assert.isBelow(weight("fix a typo"), weight("design a scalable microservice system"))
    assert.strictEqual(of("explain what does this regex match").category, "code_explanation")
    assert.strictEqual(of("write a function that sorts").category, "code_generation")
    assert.strictEqual(of("it is not working, there is an error").category, "debugging")
    assert.strictEqual(of("Traceback (most recent call last):\n  File x").category, "debugging")
    assert.strictEqual(of("build it end-to-end and from scratch, a multi-step job").category, "agentic")
    assert.strictEqual(of("change a.ts, b.ts, c.ts and d.ts").category, "architecture")
    assert.deepStrictEqual(of("hello"), { category: "code_generation", complexity: "medium", confidence: 0.3 })
    // One match of six letters: 1 + 6 / 50, of the five that make certain.
    assert.closeTo(of("rename it").confidence, 1.12 / 5, 1e-9)
    // "reformat" is no "format".
    assert.strictEqual(of("an unformatted paragraph").category, "code_generation")
    assert.strictEqual(of("hello", 11).category, "refactoring")
  })

  it("CM-4.2.7 a more complex task never gets a weaker tier", () => {
    const kinds = Object.entries(taskKinds).toSorted(
      ([, a], [, b]) => complexities.indexOf(a.complexity) - complexities.indexOf(b.complexity)
    )
    for (const mode of ["auto", "quality", "price", "agentic"] as const) {
      const tiers = kinds.flatMap(([category]) => Object.keys(taskKinds).filter((name) => name === category))
      let before = 4
      for (const name of tiers) {
        for (const category of [
          "simple_code",
          "code_explanation",
          "code_generation",
          "debugging",
          "refactoring",
          "architecture",
          "agentic"
        ] as const) {
          if (category !== name) continue
          const tier = tierFor(mode, category)
          assert.isAtMost(tier, before, `${mode} ${category}`)
          assert.isAtMost(tier, taskKinds[category].minimumTier)
          before = tier
        }
      }
    }
    assert.strictEqual(tierOf(model("a/b", [], { benchmarks: { swe_bench: 70 } })), 1)
    assert.strictEqual(tierOf(model("a/b", [], { benchmarks: { swe_bench: 55 } })), 2)
    assert.strictEqual(tierOf(model("a/b", [], { benchmarks: { swe_bench: 35 } })), 3)
    assert.strictEqual(tierOf(model("a/b", [])), 4)
  })

  it("one of the tier asked for is taken, else a stronger one; price takes the cheapest that the task allows", () => {
    const of = (tier: number, blended: number) => contender(`a/tier-${tier}`, { blended, of: { tier } })
    const all = [of(1, 10), of(2, 5), of(3, 2), of(4, 1)]
    const generation = classify({ text: "write a function", messages: 1 })
    assert.deepStrictEqual(orderOf(rankCode("auto", generation, all)), ["a/tier-3", "a/tier-2", "a/tier-1", "a/tier-4"])
    assert.strictEqual(firstOf(rankCode("quality", generation, all)), "a/tier-2")
    assert.strictEqual(firstOf(rankCode("agentic", generation, all)), "a/tier-1")
    assert.deepStrictEqual(orderOf(rankCode("price", generation, all)), ["a/tier-3", "a/tier-2", "a/tier-1", "a/tier-4"])
    assert.strictEqual(firstOf(rankCode("price", generation, [of(1, 1), of(3, 2), of(4, 0.1)])), "a/tier-1")
    assert.strictEqual(firstOf(rankCode("price", classify({ text: "fix a typo", messages: 1 }), all)), "a/tier-4")
  })

  it.effect("it says what it did: task, tier, and what was saved", () =>
    Effect.gen(function* () {
      const body = { messages: [{ role: "user", content: "design a scalable microservice system" }] }
      const { candidates, routing } = yield* resolved("router:code:quality", body)
      assert.deepInclude(routing, { router: "code", mode: "quality", task_category: "architecture", complexity: "high", tier: 1 })
      assert.strictEqual(candidates[0].model.tier, 1)
      assert.deepStrictEqual(savingsOf({ input: 2.5, output: 10 }), [0.003, 0])
      const typo = yield* resolved("router:code:auto", { messages: [{ role: "user", content: "fix a typo" }] })
      assert.strictEqual(typo.candidates[0].model.tier, 4)
    }).pipe(Effect.provide(world()))
  )
})
