import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { shipped } from "../../src/catalog/CatalogData.ts"
import { detectProvider, orgProviders } from "../../src/catalog/ProviderDetection.ts"
import { defaultChain, ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { definitions } from "../../src/providers/RegistryData.ts"
import { order } from "../../src/routing/CandidateOrder.ts"

const everything = new Map(
  definitions.map((definition) => [definition.slug, { apiKey: Redacted.make("key"), baseUrl: "http://127.0.0.1:1/v1" }])
)
const layer = Catalog.layer.pipe(Layer.provide(ProviderRegistry.layer(everything)))
const candidates = (name: string) => Effect.flatMap(Catalog, (catalog) => catalog.candidates(name, null))
const canonical = (name: string) => Effect.map(Catalog, (catalog) => catalog.canonical(name))

describe("model resolution", () => {
  it.effect("CM-3.1 r1 is deepseek/deepseek-r1", () =>
    Effect.provide(
      Effect.map(canonical("r1"), (id) => assert.strictEqual(id, "deepseek/deepseek-r1")),
      layer
    )
  )

  it.effect("CM-3.2 gpt-4o is openai/gpt-4o in any letter case", () =>
    Effect.gen(function* () {
      for (const name of ["gpt-4o", "GPT-4o", "Gpt-4O"]) assert.strictEqual(yield* canonical(name), "openai/gpt-4o")
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-3.4 a canonical id stays, and resolving twice is resolving once, for every alias", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* canonical("openai/gpt-4o"), "openai/gpt-4o")
      for (const name of shipped().aliases.keys()) {
        const once = yield* canonical(name)
        assert.strictEqual(yield* canonical(once), once)
      }
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-3.5 an explicit provider is chosen whatever the other rules say", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const preference = { order: ["deepinfra"], only: [], allowFallbacks: true }
      const [first] = yield* catalog.candidates("accounts/fireworks/models/llama-v3p3-70b-instruct", preference)
      assert.strictEqual(first?.provider, "deepinfra")
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-3.5 a provider named alone is first with others after it, and is never passed over", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const at = (model: string, named: string) => catalog.candidates(model, { order: [named], only: [], allowFallbacks: true, named })
      const [first, ...others] = yield* at("meta-llama/llama-3.3-70b-instruct", "deepinfra")
      assert.strictEqual(first?.provider, "deepinfra")
      assert.isNotEmpty(others)
      const refused = (yield* Effect.flip(at("openai/gpt-4o", "anthropic"))).reason
      assert.strictEqual(refused._tag, "InvalidRoute")
      const off = yield* Effect.flip(
        Effect.provide(
          Effect.flatMap(Catalog, (few) =>
            few.candidates("openai/gpt-4o", { order: ["openrouter"], only: [], allowFallbacks: true, named: "openrouter" })
          ),
          Catalog.layer.pipe(Layer.provide(ProviderRegistry.layer(new Map([["openai", { apiKey: Redacted.make("key") }]])))),
          { local: true }
        )
      )
      assert.deepInclude({ ...off.reason }, { _tag: "NoActiveProvider", providers: ["openrouter"], asked: true })
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-3.6 the form of a name points to its provider", () =>
    Effect.gen(function* () {
      const [fireworks] = yield* candidates("accounts/fireworks/models/llama-v3p3-70b-instruct")
      assert.strictEqual(fireworks?.provider, "fireworks")
      const [cloudflare] = yield* candidates("@cf/meta/llama-3.3-70b-instruct-fp8-fast")
      assert.strictEqual(cloudflare?.provider, "cloudflare-workers-ai")
      const [groq] = yield* candidates("groq/llama-3.3-70b-versatile")
      assert.strictEqual(groq?.provider, "groq")
      const [vertex] = yield* candidates("google/gemini-2.5-flash")
      assert.strictEqual(vertex?.provider, "google-vertex")
      const [free] = yield* candidates("meta-llama/llama-3.3-70b-instruct:free")
      assert.strictEqual(free?.provider, "openrouter")
      for (const [name, provider] of [
        ["openai/gpt-4o:free", "openrouter"],
        ["a/b:exacto", "openrouter"],
        ["a/b/c:extended", "openrouter"],
        // A variant of a Fireworks name is first of all a variant.
        ["accounts/fireworks/models/x:free", "openrouter"],
        ["accounts/fireworks/models/x", "fireworks"],
        ["accounts/other/models/x", null],
        ["@cf/meta/llama-3", "cloudflare-workers-ai"],
        ["projects/p/locations/l/publishers/google/models/gemini-2.5-pro", "google-vertex"],
        ["@google/models/gemini-2.5-pro", "google-vertex"],
        ["@google/other", "openrouter"],
        ["gemini-3-flash-preview", "google-vertex"],
        ["gemini-2.0-flash", "google-vertex"],
        ["gemini-1.0-pro", "google-vertex"],
        ["gemini-pro", null],
        ["google/gemini-2.5-pro", "google-vertex"],
        ["google/gemma-3-27b-it", null],
        ["@anybody/model", "openrouter"],
        ["openai/gpt-4o", null],
        ["plain", null]
      ] as const) {
        assert.strictEqual(detectProvider(name), provider, name)
      }
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-3.7 meta-llama/... gets a provider where nothing else says so", () =>
    Effect.gen(function* () {
      const [first, ...others] = yield* candidates("meta-llama/llama-3.3-70b-instruct")
      const serving = [first, ...others].map((candidate) => candidate?.provider)
      assert.strictEqual(
        first?.provider,
        defaultChain(definitions).find((slug) => serving.includes(slug)),
        "the first of the chain that serves it"
      )
      // Where nobody of the chain serves a model, the organisation's own provider goes before others.
      const preferred = (org: string, slugs: ReadonlyArray<string>) => {
        const row = { id: `${org}/model`, openWeights: true, providers: slugs.map((slug) => ({ slug, nativeId: "x", pricing: null })) }
        return order(row, { chain: [], detected: null, org: orgProviders[org] ?? [], preference: null })[0]
      }
      assert.strictEqual(preferred("qwen", ["novita", "cerebras", "alibaba-cloud"]), "alibaba-cloud")
      assert.strictEqual(preferred("qwen", ["novita", "cerebras"]), "cerebras")
      assert.strictEqual(preferred("deepseek", ["novita", "fireworks"]), "fireworks")
      assert.strictEqual(preferred("z-ai", ["novita", "zai"]), "zai")
      assert.strictEqual(preferred("x-ai", ["novita", "xai"]), "xai")
      assert.strictEqual(preferred("mistralai", ["novita", "openrouter", "mistral"]), "mistral")
      assert.strictEqual(preferred("stabilityai", ["deepinfra", "fal"]), "fal")
      assert.strictEqual(preferred("meta-llama", ["novita", "deepinfra"]), "novita")
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-3.8 a canonical id at fireworks is accounts/fireworks/models/..., and none is made up", () =>
    Effect.gen(function* () {
      const at = (name: string) => Effect.map(candidates(name), (found) => found.find((candidate) => candidate.provider === "fireworks"))
      assert.strictEqual((yield* at("meta-llama/llama-3.3-70b-instruct"))?.nativeId, "accounts/fireworks/models/llama-v3p3-70b-instruct")
      assert.isUndefined(yield* at("openai/gpt-4o"))
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-3.9 each provider gets its own native id, letter case kept", () =>
    Effect.gen(function* () {
      const found = yield* candidates("meta-llama/llama-3.3-70b-instruct")
      const native = (slug: string) => found.find((candidate) => candidate.provider === slug)?.nativeId
      assert.strictEqual(native("groq"), "llama-3.3-70b-versatile")
      assert.strictEqual(native("together"), "meta-llama/Llama-3.3-70B-Instruct-Turbo")
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-3.10 an unknown name passes unchanged, and nobody serves it", () =>
    Effect.gen(function* () {
      for (const name of ["no-such-model", "nobody/Nothing-1"]) {
        assert.strictEqual(yield* canonical(name), name)
        const error = yield* Effect.flip(candidates(name))
        assert.strictEqual(error.reason._tag, "ModelNotFound")
      }
    }).pipe(Effect.provide(layer))
  )
})
