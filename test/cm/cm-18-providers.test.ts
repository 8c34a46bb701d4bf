import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Stream } from "effect"
import { anthropic } from "../../bench/mock/Anthropic.ts"
import { gemini } from "../../bench/mock/Gemini.ts"
import { openAi } from "../../bench/mock/OpenAi.ts"
import type { Spoken } from "../../bench/mock/Spoken.ts"
import { ProviderAdapters } from "../../src/providers/ProviderAdapters.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { ProviderTokens } from "../../src/providers/ProviderTokens.ts"
import { definitions } from "../../src/providers/RegistryData.ts"
import { fromSend, Transport, type TransportRequest } from "../../src/providers/Transport.ts"
import * as Source from "../../src/streams/Source.ts"
import { sourceOf } from "../support/bytes.ts"
import { callOf, textOf } from "../support/calls.ts"

const everything = new Map(
  definitions.map((definition) => [
    definition.slug,
    {
      apiKey: Redacted.make("the-key"),
      variables: Object.fromEntries(Object.keys(definition.variables ?? {}).map((name) => [name, `the-${name.replaceAll("_", "-")}`]))
    }
  ])
)

const protocolOf = (url: string): Spoken => (url.includes("enerateContent") ? gemini : url.endsWith("/messages") ? anthropic : openAi)

const framed = (spoken: Spoken) =>
  spoken
    .events({ text: "hello" }, {})
    .map(({ data }) => `data: ${JSON.stringify(data)}\n\n`)
    .join("") + spoken.done

/** Every provider at the other end of one transport, answering in its own protocol. */
const world = () => {
  const sent: Array<TransportRequest> = []
  const transport = Layer.succeed(
    Transport,
    fromSend((request) =>
      Effect.sync(() => {
        sent.push(request)
        const spoken = protocolOf(request.url)
        const isStream = request.url.includes("stream") || (typeof request.body === "string" && request.body.includes('"stream":true'))
        const text = isStream ? framed(spoken) : JSON.stringify(spoken.unary({ text: "hello" }, {}))
        return { status: 200, headers: {}, body: sourceOf([new TextEncoder().encode(text)]) }
      })
    )
  )
  const adapters = ProviderAdapters.layer.pipe(Layer.provide([transport, ProviderTokens.layerMemory]))
  return { sent, layer: Layer.merge(adapters, ProviderRegistry.layer(everything)) }
}

const notChat = ["fal", "stability"]
const notSpoken = ["aws-bedrock", ...notChat]

describe("the provider ecosystem", () => {
  it.effect("CM-18.1 at least 30 distinct providers are registered, and can be switched on", () =>
    Effect.gen(function* () {
      const { all } = yield* ProviderRegistry
      const active = all.filter((provider) => provider.active)
      assert.isAtLeast(new Set(active.map((provider) => new URL(provider.baseUrl || "sandbox:").host)).size, 30)
      assert.deepStrictEqual(
        all
          .filter((provider) => !provider.active)
          .map((provider) => provider.definition.slug)
          .sort(),
        [...notSpoken].sort()
      )
    }).pipe(Effect.provide(world().layer))
  )

  it.effect(
    "CM-18.2 each registered provider resolves to a client: it is asked where it lives, with its key, and its answer is read",
    () => {
      const { layer, sent } = world()
      return Effect.gen(function* () {
        const { all } = yield* ProviderRegistry
        const adapters = yield* ProviderAdapters
        for (const provider of all) {
          const { auth, protocol, slug } = provider.definition
          if (notSpoken.includes(slug)) continue
          for (const stream of [false, true]) {
            const call = { ...callOf(slug, { messages: [{ role: "user", content: "hello" }], stream }), provider }
            const adapter = adapters.for(provider)
            const events = stream
              ? (yield* Effect.scoped(Effect.flatMap(adapter.stream(call), (source) => Stream.runCollect(Source.toStream(source))))).flat()
              : yield* adapter.send(call)
            assert.strictEqual(textOf(events), "hello", slug)
            assert.isTrue(
              events.some((event) => event._tag === "Finish" && event.reason === "stop"),
              slug
            )
            if (protocol === "sandbox") continue
            const request = sent.at(-1)
            assert.isTrue(request?.url.startsWith(provider.baseUrl), slug)
            assert.notInclude(request?.url, "{", slug)
            assert.strictEqual(request?.headers[auth.header.toLowerCase()], auth.format.replace("{key}", "the-key"), slug)
          }
        }
      }).pipe(Effect.provide(layer))
    }
  )

  it.effect("CM-18.3 every adapter does the same things: send, stream, transformModelId, mapError", () =>
    Effect.gen(function* () {
      const { all } = yield* ProviderRegistry
      const adapters = yield* ProviderAdapters
      for (const provider of all) {
        const adapter = adapters.for(provider)
        const { slug } = provider.definition
        assert.deepStrictEqual([typeof adapter.send, typeof adapter.stream], ["function", "function"])
        const error = adapter.mapError(slug, 429, { "retry-after": "2" }, "<html>")
        assert.deepInclude(error.reason, { _tag: "ProviderStatus", status: 429 })
        assert.strictEqual(error.provider, slug)
        const id = adapter.transformModelId(provider, `${slug}/some-model`)
        assert.isTrue(id === null || id.endsWith("some-model") || id === "some-model@latest", slug)
      }
    }).pipe(Effect.provide(world().layer))
  )

  it.effect("CM-18.3 a canonical id becomes each provider's own by its rule, and none is made up", () =>
    Effect.gen(function* () {
      const { get } = yield* ProviderRegistry
      const adapters = yield* ProviderAdapters
      const rows: ReadonlyArray<readonly [string, string, string | null]> = [
        ["openai", "openai/gpt-4o", "gpt-4o"],
        ["openai", "anthropic/claude-3.5-sonnet", null],
        ["google-ai-studio", "google/gemini-2.5-flash", "gemini-2.5-flash"],
        ["google-vertex", "@google/models/gemini-2.5-pro", "gemini-2.5-pro"],
        ["openrouter", "meta-llama/llama-3.3-70b-instruct", "meta-llama/llama-3.3-70b-instruct"],
        ["openrouter", "openrouter/auto", "openrouter/auto"],
        ["onerouter", "openai/gpt-4o", "gpt-4o@latest"],
        ["vercel-ai-gateway", "openai/gpt-4o", "openai/gpt-4o"],
        ["aihubmix", "openai/gpt-4o", "gpt-4o"],
        ["alibaba-cloud", "qwen/qwen-2.5-coder-32b-instruct", "qwen2.5-coder-32b-instruct"],
        ["alibaba-cloud", "qwen/qwen-plus", "qwen-plus"],
        ["xai", "x-ai/grok-3", "grok-3"],
        ["morpheus", "meta-llama/llama-3.1-8b", "llama-3.1-8b"],
        ["meta", "meta/muse-spark-1.1", "muse-spark-1.1"],
        ["fireworks", "accounts/fireworks/models/deepseek-v3p1", "accounts/fireworks/models/deepseek-v3p1"],
        ["fireworks", "deepseek/deepseek-v9", null],
        ["cloudflare-workers-ai", "@cf/openai/gpt-oss-120b", "@cf/openai/gpt-oss-120b"],
        ["together", "deepseek/deepseek-v9", null],
        ["anthropic", "anthropic/claude-9", null]
      ]
      for (const [slug, canonical, native] of rows) {
        const provider = get(slug)
        if (provider === undefined) return yield* Effect.die(slug)
        assert.strictEqual(adapters.for(provider).transformModelId(provider, canonical), native, `${slug} ${canonical}`)
      }
    }).pipe(Effect.provide(world().layer))
  )
})
