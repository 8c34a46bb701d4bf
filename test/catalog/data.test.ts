import { assert, describe, it } from "@effect/vitest"
import { shipped } from "../../src/catalog/CatalogData.ts"
import { encodeModel } from "../../src/catalog/ModelListing.ts"
import { definitions } from "../../src/providers/RegistryData.ts"

const { aliases, models } = shipped()
const ids = new Set(models.map(({ model }) => model.id))
const slugs = new Set(definitions.map((definition) => definition.slug))

describe("the catalog's data", () => {
  it("CM-3.3 has at least 120 aliases, none to a missing model and none to another alias", () => {
    assert.isAtLeast(aliases.size, 120)
    assert.deepStrictEqual(
      [...aliases.values()].filter((id) => !ids.has(id)),
      []
    )
    assert.deepStrictEqual(
      [...aliases].filter(([name, id]) => aliases.has(id) || ids.has(name)),
      []
    )
    assert.deepStrictEqual(
      [...aliases.keys()].filter((name) => name !== name.toLowerCase()),
      []
    )
  })

  it("CM-9.1.1 every model has its required fields, each id once", () => {
    assert.isAbove(models.length, 150)
    assert.strictEqual(ids.size, models.length)
    for (const { model } of models) {
      assert.isNotEmpty(model.name)
      assert.isNotEmpty(model.providers, model.id)
      assert.deepStrictEqual(
        model.providers.filter((provider) => !slugs.has(provider.slug)),
        [],
        model.id
      )
    }
  })

  it("CM-9.1.2 every id is {org}/{name} in lower case", () => {
    for (const id of ids) assert.match(id, /^[a-z0-9.-]+\/[a-z0-9._:-]+$/)
  })

  it("CM-9.1.3 no price is missing or zero unless the model is free", () => {
    for (const { model, pricing } of models) {
      const prices = [pricing, ...model.providers.map((provider) => provider.pricing)].filter((price) => price !== null)
      assert.isNotEmpty(prices, model.id)
      for (const price of prices) {
        const positive = price.prompt > 0n || price.completion > 0n || (price.image ?? 0n) > 0n || (price.audioSecond ?? 0n) > 0n
        assert.strictEqual(positive, !model.free, model.id)
      }
    }
  })

  it("CM-9.1.5 every context length is a whole number above zero", () => {
    for (const { model } of models) assert.isTrue(Number.isInteger(model.contextLength) && model.contextLength > 0, model.id)
  })

  it("CM-9.1.4 every modality is of the known kinds", () => {
    const inputs = ["text", "image", "audio", "video"]
    const outputs = ["text", "image", "audio", "embedding"]
    for (const { model } of models) {
      const [from = "", to = ""] = model.modality.split("->")
      assert.isTrue(
        from.split("+").every((kind) => inputs.includes(kind)) && to.split("+").every((kind) => outputs.includes(kind)),
        model.modality
      )
    }
  })

  it("X-15 every model names its benchmarks, a missing one null; percentages stay within 100", () => {
    const known = ["swe_bench", "mmlu", "humaneval", "math", "gpqa", "mmlu_pro", "mt_bench", "livebench", "arena_elo"]
    for (const { model } of models) {
      if (Object.keys(model.benchmarks).length === 0) continue
      assert.sameMembers(Object.keys(model.benchmarks), known, model.id)
      for (const value of Object.values(model.benchmarks)) assert.isTrue(value === null || (value > 0 && value <= 100), model.id)
    }
    assert.isAbove(models.filter(({ model }) => (model.benchmarks["swe_bench"] ?? null) !== null).length, 30)
    assert.isAbove(models.filter(({ model }) => (model.benchmarks["mmlu"] ?? null) !== null).length, 30)
  })

  it("twelve models and more are dearer above some size of the prompt", () => {
    const tiered = models.filter(({ model, pricing }) =>
      [pricing, ...model.providers.map((row) => row.pricing)].some((price) => price?.tiers)
    )
    assert.isAtLeast(tiered.length, 12)
    for (const { pricing } of tiered)
      for (const tier of pricing?.tiers ?? []) assert.isTrue(pricing !== null && tier.prompt > pricing.prompt)
  })

  it("a row's prices are decimal strings and nothing else; dearer sizes stand beside them", () => {
    let tiered = 0
    for (const { model } of models) {
      const row = encodeModel(
        model,
        model.providers.map(({ slug }) => slug),
        () => null
      )
      for (const { pricing, pricing_tiers } of [row, ...row.providers]) {
        for (const [name, price] of Object.entries(pricing ?? {})) {
          if (price === null) continue
          assert.match(String(price), /^\d+\.\d+$/, `${model.id} ${name}`)
          assert.isString(price)
          assert.strictEqual(Number(price) === 0, model.free, `${model.id} ${name}`)
        }
        for (const tier of pricing_tiers ?? []) {
          tiered++
          assert.match(tier.prompt, /^\d+\.\d+$/)
        }
      }
    }
    assert.isAbove(tiered, 12)
  })

  it("CM-18.1 the registry has at least 30 distinct providers", () => {
    assert.isAtLeast(slugs.size, 30)
    assert.strictEqual(slugs.size, definitions.length)
  })
})
