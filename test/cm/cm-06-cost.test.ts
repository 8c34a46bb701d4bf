import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import * as Money from "../../schemas/Money.ts"
import { none } from "../../schemas/Usage.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { decode, shipped } from "../../src/catalog/CatalogData.ts"
import * as Pricing from "../../src/ledger/Pricing.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"

const price = (prompt: string, completion: string) => ({ prompt: Money.usd(prompt), completion: Money.usd(completion) })
const tokens = (input: number, output: number) => ({ ...none, input, output })
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000_000 }))

const registry = ProviderRegistry.layer(
  new Map([
    ["openai", { apiKey: Redacted.make("k") }],
    ["groq", { apiKey: Redacted.make("k") }]
  ])
)
const row = (id: string, more: object) => ({
  id,
  name: id,
  org: id.split("/")[0],
  contextLength: 8_192,
  maxOutput: 4_096,
  modality: "text->text",
  supports: { streaming: true, tools: false, vision: false, json_schema: false, logprobs: false, reasoning: false, prefill: false },
  free: false,
  premium: false,
  openWeights: true,
  benchmarks: {},
  pricing: null,
  providers: [{ slug: "groq", nativeId: id }],
  ...more
})
const explicit = { prompt: "0.00003", completion: "0.00006" }
const catalog = Catalog.layerFrom(() =>
  decode(
    [
      row("openai/gpt-4", { openWeights: false, premium: true, providers: [{ slug: "openai", nativeId: "gpt-4" }] }),
      row("openai/gpt-4-priced", {
        openWeights: false,
        premium: true,
        pricing: explicit,
        providers: [{ slug: "openai", nativeId: "gpt-4p" }]
      }),
      row("anyone/claude-clone", {}),
      row("google/gemini-x", {}),
      row("openai/o3", { openWeights: false, providers: [{ slug: "openai", nativeId: "o3" }] }),
      row("openai/gpt-oss-20b", {}),
      row("meta-llama/plain", {})
    ],
    {}
  )
).pipe(Layer.provide(registry))

describe("what usage costs", () => {
  it.prop("CM-6.1.1 cost = prompt tokens × prompt price + completion tokens × completion price", [Count, Count], ([input, output]) => {
    const pricing = price("0.0000025", "0.00001")
    assert.strictEqual(Pricing.cost(pricing, tokens(input, output)), Money.make(2_500_000n * BigInt(input) + 10_000_000n * BigInt(output)))
  })

  it("CM-6.1.2 no tokens cost exactly nothing", () =>
    assert.strictEqual(Pricing.cost(price("0.00003", "0.00006"), tokens(0, 0)), Money.zero))

  it.effect("CM-6.1.3 prices come from the model: the same tokens cost differently on GPT-4 and on a Llama", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const cost = Effect.fnUntraced(function* (name: string) {
        const [candidate] = yield* catalog.candidates(name, null)
        return candidate === undefined ? null : Pricing.cost(candidate.pricing, tokens(1_000, 500))
      })
      assert.strictEqual(yield* cost("openai/gpt-4"), Money.usd("0.06"))
      const llama = yield* cost("meta-llama/llama-3.3-70b-instruct")
      assert.isTrue(llama !== null && llama > 0n && llama < Money.usd("0.01"))
    }).pipe(Effect.provide(Catalog.layer.pipe(Layer.provide(registry))))
  )

  it("CM-6.1.4 decimals are exact: no float, nothing rounded to zero", () => {
    assert.strictEqual(Money.toUsd(Money.times(Money.usd("0.1"), 3)), "0.30")
    assert.strictEqual(Money.toUsd(Pricing.cost(price("0.00000055", "0"), tokens(1, 0))), "0.00000055")
    assert.strictEqual(Money.toUsd(Money.usd("0.000000000001")), "0.000000000001")
    assert.isTrue(Option.isNone(Money.fromUsd("0.0000000000001")))
    assert.isTrue(Option.isNone(Money.fromUsd("1e-7")))
  })

  it("classes are disjoint and each has its price, or its family's", () => {
    const pricing = { ...price("0.000002", "0.00001"), cachedRead: Money.usd("0.0000005") }
    const usage = { ...none, input: 10, cachedRead: 100, cacheWrite: 20, output: 5, reasoning: 7 }
    assert.strictEqual(Pricing.cost(pricing, usage), Money.usd("0.00023"))
  })

  it("a prompt above a tier's size is charged at the tier's price as a whole, and the hold covers what it may turn out to be", () => {
    const pricing = shipped().models.find(({ model }) => model.id === "anthropic/claude-sonnet-4.5")?.pricing ?? price("0", "0")
    // 3 and 15 USD per million tokens, 6 and 22.50 above 200,000 tokens of prompt; cached reads a tenth of the prompt.
    assert.strictEqual(Pricing.cost(pricing, tokens(200_000, 100)), Money.usd("0.6015"))
    assert.strictEqual(Pricing.cost(pricing, tokens(200_001, 100)), Money.usd("1.202256"))
    assert.strictEqual(Pricing.cost(pricing, { ...tokens(1, 0), cachedRead: 200_000 }), Money.usd("0.120006"))
    const kept = Pricing.holding(pricing, tokens(200_001, 100))
    assert.strictEqual(Pricing.cost(kept, tokens(200_001, 100)), Money.usd("1.202256"))
    assert.notProperty(Pricing.encodePricing(kept), "tiers")
    assert.strictEqual(Pricing.encodePricing(kept)["prompt"], "0.000006")
    const of = (promptTokens: number) => Pricing.estimate(pricing, { promptTokens, maxOutput: 100, choices: 1 })
    // Cache writes cost a quarter more than the prompt, and may be what it turns out to be.
    assert.strictEqual(of(1_000), Money.usd("0.00525"))
    assert.isTrue(of(100_000) >= Pricing.cost(pricing, tokens(100_000, 100)))
    assert.isTrue(of(60_000) >= Money.times(Money.usd("0.000006"), 60_000))
    assert.isTrue(of(300_000) >= Pricing.cost(pricing, tokens(300_000, 100)))
  })

  it("CM-6.3.2 the estimate is the prompt estimate × prompt price + max_tokens × completion price", () => {
    const pricing = price("0.000001", "0.000002")
    assert.strictEqual(Pricing.estimate(pricing, { promptTokens: 100, maxOutput: 50, choices: 1 }), Money.usd("0.0002"))
    assert.strictEqual(Pricing.estimate(pricing, { promptTokens: 100, maxOutput: 50, choices: 3 }), Money.usd("0.0004"))
    assert.strictEqual(Pricing.affordableOutput(pricing, Money.usd("0.0002"), { promptTokens: 100, choices: 1 }), 50)
    assert.strictEqual(Pricing.affordableOutput(pricing, Money.usd("0.00005"), { promptTokens: 100, choices: 1 }), 0)
  })

  it.prop("amounts go to text and back", [Schema.BigInt], ([amount]) => {
    const within = amount % 10n ** 30n
    assert.strictEqual(Money.usd(Money.toUsd(Money.make(within))), within)
  })
})

describe("high-value models", () => {
  const reasonOf = (name: string) =>
    Effect.flatMap(Catalog, (served) => Effect.map(Effect.flip(served.candidates(name, null)), (error) => error.reason._tag))

  it.effect("CM-6.6.1 GPT, Claude, Gemini and o-series with only a default price are refused", () =>
    Effect.gen(function* () {
      for (const name of ["openai/gpt-4", "anyone/claude-clone", "google/gemini-x", "openai/o3"])
        assert.strictEqual(yield* reasonOf(name), "PricingUnavailable")
    }).pipe(Effect.provide(catalog))
  )

  it.effect("CM-6.6.2 the same with an explicit price is served at it", () =>
    Effect.gen(function* () {
      const [candidate] = yield* (yield* Catalog).candidates("openai/gpt-4-priced", null)
      assert.deepStrictEqual(candidate?.pricing, price("0.00003", "0.00006"))
    }).pipe(Effect.provide(catalog))
  )

  it.effect("CM-6.6.3 an open model without a price is served at the default price, and counted", () =>
    Effect.gen(function* () {
      const served = yield* Catalog
      for (const name of ["meta-llama/plain", "openai/gpt-oss-20b"]) {
        const [candidate] = yield* served.candidates(name, null)
        assert.deepStrictEqual(candidate?.pricing, price("0.00002", "0.00002"))
      }
    }).pipe(Effect.provide(catalog))
  )
})
