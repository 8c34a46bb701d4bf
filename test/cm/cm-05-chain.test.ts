import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { definitions } from "../../src/providers/RegistryData.ts"

/** Every provider that can be switched on is. */
const everything = new Map(
  definitions.map((definition) => [definition.slug, { apiKey: Redacted.make("key"), baseUrl: "http://127.0.0.1:1/v1" }])
)
const registry = ProviderRegistry.layer(everything)
const layer = Catalog.layer.pipe(Layer.provideMerge(registry))

const chainOf = (name: string) =>
  Effect.flatMap(Catalog, (catalog) => Effect.map(catalog.candidates(name, null), (found) => found.map((candidate) => candidate.provider)))

describe("the failover chain", () => {
  it.effect("CM-5.1.1 the default chain has exactly 14 distinct, registered providers", () =>
    Effect.gen(function* () {
      const { chain, get } = yield* ProviderRegistry
      assert.strictEqual(new Set(chain).size, 14)
      assert.deepStrictEqual(
        chain.filter((slug) => get(slug) === undefined),
        []
      )
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.1.2 the chain's order is descending reliability", () =>
    Effect.gen(function* () {
      const { all, chain } = yield* ProviderRegistry
      const rank = (slug: string) => all.find((provider) => provider.definition.slug === slug)?.definition.failoverPosition ?? Number.NaN
      assert.deepStrictEqual(
        chain.map(rank),
        Array.from({ length: 14 }, (_, i) => i + 1)
      )
      assert.deepStrictEqual(chain.slice(0, 5), ["onerouter", "openai", "anthropic", "google-vertex", "openrouter"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.2.1 openai/gpt-4o is served by openai, then openrouter, and nobody else", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* chainOf("openai/gpt-4o"), ["openai", "openrouter"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.2.2 anthropic/claude-* is served by anthropic, then openrouter, and nobody else", () =>
    Effect.gen(function* () {
      const registered = yield* ProviderRegistry
      const catalog = yield* Catalog
      const claude = (yield* catalog.models).filter((model) => model.id.startsWith("anthropic/claude-"))
      assert.isAbove(claude.length, 5)
      for (const model of claude) {
        const expected = ["anthropic", "openrouter"].filter(
          (slug) => registered.get(slug)?.active === true && model.providers.some((row) => row.slug === slug)
        )
        assert.deepStrictEqual(yield* chainOf(model.id), expected)
      }
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.2.3 an open-weights model may go to every provider that serves it", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const registered = yield* ProviderRegistry
      const model = (yield* catalog.models).find((entry) => entry.id === "meta-llama/llama-3.3-70b-instruct")
      assert.isDefined(model)
      const serving = model.providers.map((row) => row.slug).filter((slug) => registered.get(slug)?.active === true)
      const chain = yield* chainOf(model.id)
      assert.isAbove(chain.length, 3)
      assert.sameMembers([...chain], serving)
      assert.isAbove((yield* chainOf("openai/gpt-oss-120b")).length, 2)
    }).pipe(Effect.provide(layer))
  )

  it.effect("only active providers stay, in the chain's order", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* chainOf("meta-llama/llama-3.3-70b-instruct"), ["openrouter", "together", "groq"])
    }).pipe(
      Effect.provide(
        Catalog.layer.pipe(
          Layer.provide(
            ProviderRegistry.layer(new Map(["groq", "together", "openrouter"].map((slug) => [slug, { apiKey: Redacted.make("key") }])))
          )
        )
      )
    )
  )

  it.effect("the caller's preference decides before everything else", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const providers = (preference: { order: Array<string>; only: Array<string>; allowFallbacks: boolean }) =>
        Effect.map(catalog.candidates("meta-llama/llama-3.3-70b-instruct", preference), (found) =>
          found.map((candidate) => candidate.provider)
        )
      assert.strictEqual((yield* providers({ order: ["together"], only: [], allowFallbacks: true }))[0], "together")
      assert.deepStrictEqual(yield* providers({ order: ["together"], only: [], allowFallbacks: false }), ["together"])
      assert.deepStrictEqual(yield* providers({ order: [], only: ["groq"], allowFallbacks: true }), ["groq"])
      const unknown = yield* Effect.flip(providers({ order: ["nobody"], only: [], allowFallbacks: true }))
      assert.strictEqual(unknown.reason._tag, "InvalidRoute")
    }).pipe(Effect.provide(layer))
  )
})
