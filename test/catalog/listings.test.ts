/**
 * Providers' lists, as different as they are, read for their meaning and merged with what ships.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Money from "../../schemas/Money.ts"
import { decode, shipped } from "../../src/catalog/CatalogData.ts"
import { canonicalId, merge } from "../../src/catalog/CatalogMerge.ts"
import { judge, type PriceUnit, perToken } from "../../src/catalog/ListingPrice.ts"
import { readListing } from "../../src/catalog/ProviderListing.ts"

const usd = (value: string | number, unit: PriceUnit) => {
  const price = perToken(value, unit)
  return price === null ? null : Money.toUsd(price)
}

const read = (provider: string, body: unknown) => readListing(provider, JSON.stringify(body))
const rowsOf = (provider: string, body: unknown) => read(provider, body)?.rows ?? []
const pricesOf = (provider: string, row: object) => {
  const pricing = rowsOf(provider, { data: [{ id: "org/model", ...row }] })[0]?.pricing
  return pricing === undefined || pricing === null ? null : [pricing.prompt, pricing.completion]
}

describe("listed prices", () => {
  it("every unit comes to USD per token, exactly", () => {
    assert.strictEqual(usd("0.00000055", "token"), "0.00000055")
    assert.strictEqual(usd(5.5e-7, "token"), "0.00000055")
    assert.strictEqual(usd("0.00055", "thousand"), "0.00000055")
    assert.strictEqual(usd(0.55, "million"), "0.00000055")
    assert.strictEqual(usd("0.000055", "cents_per_token"), "0.00000055")
    assert.strictEqual(usd(5_500, "ten_thousandth_per_million"), "0.00000055")
    assert.strictEqual(usd("1E-3", "thousand"), "0.000001")
    assert.strictEqual(usd("1234567.5", "million"), "1.2345675")
  })

  it("what is finer than a picodollar is rounded up, never to nothing", () => {
    assert.strictEqual(usd("0.0833333333333333", "million"), "0.000000083334")
    assert.strictEqual(usd("0.0000000000001", "token"), "0.000000000001")
    assert.strictEqual(usd("0", "token"), "0.00")
  })

  it("a negative price is one that changes by the minute, and what is no number is no price", () => {
    for (const value of ["-1", "", "free", "1.2.3", "NaN", "1e999"]) assert.isNull(usd(value, "token"), value)
  })

  it("prices far from what tokens cost are not believed, low ones are told", () => {
    assert.strictEqual(judge(Money.usd("0.0000025")), "usual")
    assert.strictEqual(judge(Money.usd("0.00000005")), "odd")
    assert.strictEqual(judge(Money.usd("0.2")), "unbelievable")
    assert.strictEqual(judge(Money.usd("0.0000000001")), "unbelievable")
  })
})

describe("providers' lists", () => {
  const price = ["0.00000055", "0.00000219"]

  it("each provider's way of writing a price is understood", () => {
    assert.deepStrictEqual(pricesOf("openrouter", { pricing: { prompt: "0.00000055", completion: "0.00000219", request: "0" } }), price)
    assert.deepStrictEqual(pricesOf("vercel-ai-gateway", { pricing: { input: "0.00000055", output: "0.00000219" } }), price)
    assert.deepStrictEqual(pricesOf("together", { pricing: { input: 0.55, output: 2.19, hourly: 0, base: 0 } }), price)
    assert.deepStrictEqual(pricesOf("helicone", { pricing: { prompt: 0.55, completion: 2.19 } }), price)
    assert.deepStrictEqual(pricesOf("aihubmix", { pricing: { input: 0.00055, output: 0.00219 } }), price)
    assert.deepStrictEqual(pricesOf("deepinfra", { pricing: { cents_per_input_token: 0.000055, cents_per_output_token: 0.000219 } }), price)
    assert.deepStrictEqual(pricesOf("novita", { input_token_price_per_m: 5_500, output_token_price_per_m: 21_900 }), price)
    assert.isNull(pricesOf("groq", {}))
    assert.isNull(pricesOf("openrouter", { pricing: { prompt: "-1", completion: "-1" } }))
  })

  it("zero is no price unless the name says free", () => {
    const zero = { pricing: { prompt: "0", completion: "0" } }
    const rows = rowsOf("openrouter", {
      data: [
        { id: "a/b", ...zero },
        { id: "a/b:free", ...zero }
      ]
    })
    assert.deepStrictEqual(
      rows.map((row) => [row.nativeId, row.free, row.pricing === null]),
      [
        ["a/b", false, true],
        ["a/b:free", true, false]
      ]
    )
  })

  it("a price that cannot be is an alarm, and the model has none", () => {
    const listing = read("together", { data: [{ id: "a/b", pricing: { input: 550_000, output: 2_190_000 } }] })
    assert.lengthOf(listing?.alarms ?? [], 1)
    assert.isNull(listing?.rows[0]?.pricing)
  })

  it("the forms of lists: data, models, result, a bare array; ids with letter case kept; what is not served left out", () => {
    assert.deepStrictEqual(
      rowsOf("google-ai-studio", { models: [{ name: "models/gemini-9", inputTokenLimit: 1_000, outputTokenLimit: 10 }] }).map((row) => [
        row.nativeId,
        row.contextLength,
        row.maxOutput
      ]),
      [["gemini-9", 1_000, 10]]
    )
    assert.deepStrictEqual(
      rowsOf("together", [{ id: "Meta/Llama-X", type: "chat" }, { id: "x/rerank", type: "rerank" }, { id: "" }, 7]).map(
        (row) => row.nativeId
      ),
      ["Meta/Llama-X"]
    )
    assert.deepStrictEqual(
      rowsOf("openrouter", {
        data: [
          { id: "a/sees", architecture: { modality: "text+image+file->text" } },
          { id: "a/paints", architecture: { input_modalities: ["text"], output_modalities: ["image"] } },
          { id: "a/moves", architecture: { input_modalities: ["text"], output_modalities: ["video"] } }
        ]
      }).map((row) => [row.nativeId, row.modality]),
      [
        ["a/sees", "text+image->text"],
        ["a/paints", "text->image"]
      ]
    )
    for (const bad of ["<html>", "{}", '{"data": 3}', "", "null"]) assert.isNull(readListing("openai", bad), bad)
  })
})

describe("the merged catalog", () => {
  const base = {
    name: "X",
    org: "org",
    contextLength: 100_000,
    maxOutput: 10,
    modality: "text->text",
    supports: { streaming: true, tools: true, vision: false, json_schema: false, logprobs: false, reasoning: false, prefill: false },
    free: false,
    premium: false,
    openWeights: true,
    benchmarks: { mmlu: 70 },
    pricing: { prompt: "0.000001", completion: "0.000002" }
  }
  const ships = decode(
    [
      {
        ...base,
        id: "org/known",
        providers: [{ slug: "groq", nativeId: "Known-Native", pricing: { prompt: "0.000001", completion: "0.000002" } }]
      },
      { ...base, id: "openai/closed", org: "openai", openWeights: false, providers: [{ slug: "openai", nativeId: "closed" }] }
    ],
    { known: "org/known" }
  )
  const merged = (provider: string, rows: ReadonlyArray<object>) =>
    merge(ships, [{ provider, rows: rowsOf(provider, { data: rows }) }]).models
  const find = (models: ReturnType<typeof merged>, id: string) => models.find(({ model }) => model.id === id)?.model

  it("canonical ids are {org}/{name} in lower case", () => {
    assert.strictEqual(canonicalId("together", "Meta-Llama/Llama-3.3-70B"), "meta-llama/llama-3.3-70b")
    assert.strictEqual(canonicalId("xai", "grok-9"), "x-ai/grok-9")
    assert.strictEqual(canonicalId("cloudflare-workers-ai", "@cf/meta/llama-4"), "meta/llama-4")
    assert.strictEqual(canonicalId("fireworks", "accounts/fireworks/models/qwen4"), "fireworks/qwen4")
    assert.strictEqual(canonicalId("akash", "Odd Name+1"), "akash/odd-name-1")
  })

  it("what ships stays, whatever a list leaves out", () => {
    assert.deepStrictEqual(merged("groq", [{ id: "something-else" }]), ships.models)
    assert.deepStrictEqual(
      merge(shipped(), [{ provider: "openai", rows: rowsOf("openai", { data: [{ id: "gpt-4o" }] }) }]).models,
      shipped().models
    )
  })

  it("a list adds models with a price, and providers to models; letter case kept", () => {
    const models = merged("together", [
      { id: "Org/New-Model", pricing: { input: 1, output: 2 }, context_length: 32_768 },
      { id: "org/no-price" },
      { id: "Org/Known", pricing: { input: 3, output: 4 } }
    ])
    const fresh = find(models, "org/new-model")
    assert.deepInclude(fresh, { contextLength: 32_768, org: "org", free: false })
    assert.strictEqual(fresh?.providers[0]?.nativeId, "Org/New-Model")
    assert.isUndefined(find(models, "org/no-price"))
    assert.deepStrictEqual(
      find(models, "org/known")?.providers.map((row) => [row.slug, row.nativeId]),
      [
        ["groq", "Known-Native"],
        ["together", "Org/Known"]
      ]
    )
    assert.deepStrictEqual(find(models, "org/known")?.benchmarks, { mmlu: 70 })
  })

  it("a closed model is served by its house and openrouter only", () => {
    assert.lengthOf(
      find(merged("together", [{ id: "openai/closed", pricing: { input: 1, output: 2 } }]), "openai/closed")?.providers ?? [],
      1
    )
    const through = merged("openrouter", [{ id: "openai/closed", pricing: { prompt: "0.000001", completion: "0.000002" } }])
    assert.lengthOf(find(through, "openai/closed")?.providers ?? [], 2)
    assert.isUndefined(find(merged("together", [{ id: "openai/brand-new", pricing: { input: 1, output: 2 } }]), "openai/brand-new"))
  })

  it("a provider's fresher price replaces the one that ships, unless it is ten times another", () => {
    const priceAt = (pricing: object) =>
      find(merge(ships, [{ provider: "groq", rows: rowsOf("together", { data: [{ id: "known-native", pricing }] }) }]).models, "org/known")
        ?.providers[0]?.pricing
    assert.strictEqual(priceAt({ input: 1.5, output: 3 })?.prompt, Money.usd("0.0000015"))
    assert.strictEqual(priceAt({ input: 100, output: 3 })?.prompt, Money.usd("0.000001"))
    assert.strictEqual(priceAt({ input: 0.01, output: 3 })?.prompt, Money.usd("0.000001"))
  })
})
