/**
 * A conversation goes on with the model that it began with, while that is about as good as the best.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../schemas/Json.ts"
import * as Money from "../../schemas/Money.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { CatalogListing } from "../../src/catalog/CatalogListing.ts"
import { Resolution } from "../../src/catalog/Resolution.ts"
import { toConversation } from "../../src/http/OpenAiChatConversation.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { Conversations } from "../../src/routing/Conversations.ts"
import { Latencies } from "../../src/routing/Latencies.ts"
import { PublishedHealth } from "../../src/routing/PublishedHealth.ts"
import { model, request } from "../support/scripted.ts"

/** Price of a token in ten-millionths of a dollar, milliseconds, benchmark; as a test sets them. */
const figures = new Map<string, { price: number; p50: number | null; quality: number; isDown: boolean }>()

const set = (id: string, price: number, p50: number | null, quality: number, isDown = false) =>
  figures.set(id, { price, p50, quality, isDown })

const data = () => ({
  aliases: new Map<string, string>(),
  models: [...figures].map(([id, { price, quality }]) => {
    const each = Money.usd((price / 10_000_000).toFixed(10))
    const entry = model(id, ["groq"], { benchmarks: { mmlu: quality } })
    return {
      model: { ...entry, providers: entry.providers.map((row) => ({ ...row, pricing: null })) },
      pricing: { prompt: each, completion: each }
    }
  })
})

const world = Layer.suspend(() =>
  Resolution.layer.pipe(
    Layer.provide([
      Layer.succeed(Latencies, (id: string) => figures.get(id)?.p50 ?? null),
      Layer.succeed(PublishedHealth, () => ({
        version: 1,
        of: (id: string) => (figures.get(id)?.isDown === true ? ("down" as const) : null),
        ofProvider: () => null
      }))
    ]),
    Layer.provideMerge(CatalogListing.layer),
    Layer.provideMerge(Catalog.layerFrom(data)),
    Layer.provideMerge(Breakers.layer({ failures: 5, recoveryMs: 1_000 })),
    Layer.provideMerge(ProviderRegistry.layer(new Map([["groq", { apiKey: Redacted.make("key") }]])))
  )
)

type Said = ReadonlyArray<readonly [role: "system" | "user" | "assistant", content: string]>
const begun: Said = [
  ["user", "hello"],
  ["assistant", "Hi!"],
  ["user", "and now?"]
]

const choose = Effect.fnUntraced(function* (mode: string, said: Said, account: string | null = "account") {
  const body: JsonObject = { messages: said.map(([role, content]) => ({ role, content })) }
  const resolution = yield* Resolution
  // What is listed is what the figures say now.
  yield* (yield* Catalog).replace(data())
  return yield* resolution.resolve(request({ model: `router:general:${mode}`, body, conversation: () => toConversation(body) }), account)
})
const chosen = (mode: string, said: Said, account?: string | null) =>
  Effect.map(choose(mode, said, account), ({ routing }) => routing?.model)

const fresh = Effect.sync(() => figures.clear())

describe("a conversation with the general router", () => {
  for (const [mode, near, far] of [
    ["quality", () => set("org/b", 10, 100, 84), () => set("org/b", 10, 100, 86)],
    ["cost", () => set("org/b", 9.6, 100, 70), () => set("org/b", 9.4, 100, 70)],
    ["latency", () => set("org/b", 10, 96, 70), () => set("org/b", 10, 94, 70)]
  ] as const) {
    it.effect(`${mode}: goes on with its model while that is within 5 points of the best, and no longer`, () =>
      Effect.gen(function* () {
        yield* fresh
        set("org/a", 10, 100, 80)
        set("org/b", 20, 200, 70)
        assert.strictEqual(yield* chosen(mode, [["user", "hello"]]), "org/a")
        near()
        const kept = yield* choose(mode, begun)
        assert.strictEqual(kept.routing?.model, "org/a")
        assert.include(kept.routing?.reason, "began with")
        assert.strictEqual(kept.candidates[0].model.id, "org/a")
        assert.deepStrictEqual(kept.routing?.alternatives, ["org/b"])
        assert.strictEqual(yield* chosen(mode, [["user", "hello"]], "other"), "org/b", "who begins gets the best")
        far()
        assert.strictEqual(yield* chosen(mode, begun), "org/b")
        set("org/a", 10, 100, 80)
        near()
        assert.strictEqual(yield* chosen(mode, begun), "org/b", "it began anew with the other")
      }).pipe(Effect.provide(world, { local: true }))
    )
  }

  it.effect(
    "is another one for another account, other instructions, other first words and another mode; without an account there is none",
    () =>
      Effect.gen(function* () {
        yield* fresh
        set("org/a", 10, 100, 80)
        set("org/b", 20, 200, 70)
        yield* chosen("quality", [["user", "hello"]])
        yield* chosen("quality", [["user", "hello"]], null)
        set("org/b", 10, 100, 84)
        assert.strictEqual(yield* chosen("quality", begun), "org/a")
        assert.strictEqual(yield* chosen("quality", begun, "stranger"), "org/b")
        assert.strictEqual(yield* chosen("quality", begun, null), "org/b")
        assert.strictEqual(yield* chosen("quality", [["system", "Be brief."], ...begun]), "org/b")
        assert.strictEqual(yield* chosen("quality", [["user", "hullo"], ...begun.slice(1)]), "org/b")
        assert.strictEqual(yield* chosen("balanced", begun), "org/b")
      }).pipe(Effect.provide(world, { local: true }))
  )

  it.effect("leaves a model that is down or gone, and is forgotten an hour after its latest turn", () =>
    Effect.gen(function* () {
      yield* fresh
      set("org/a", 10, 100, 80)
      set("org/b", 10, 100, 79)
      assert.strictEqual(yield* chosen("quality", [["user", "hello"]]), "org/a")
      set("org/b", 10, 100, 82)
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* chosen("quality", begun), "org/a")
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* chosen("quality", begun), "org/a", "each turn counts")
      yield* TestClock.adjust("60 minutes")
      assert.strictEqual(yield* chosen("quality", begun), "org/b")
      set("org/b", 10, 100, 82, true)
      assert.strictEqual(yield* chosen("quality", begun), "org/a")
      figures.delete("org/a")
      set("org/b", 10, 100, 82)
      assert.strictEqual(yield* chosen("quality", begun), "org/b")
    }).pipe(Effect.provide(world, { local: true }))
  )

  it("so many are remembered and no more", () => {
    const conversations = new Conversations()
    for (let i = 0; i < 20_001; i++) conversations.remember({ key: `c${i}`, hasBegun: false }, "org/a", i)
    assert.strictEqual(conversations.size, 20_000)
    assert.isNull(conversations.modelOf({ key: "c0", hasBegun: true }, 20_001))
    assert.strictEqual(conversations.modelOf({ key: "c1", hasBegun: true }, 20_001), "org/a")
  })
})
