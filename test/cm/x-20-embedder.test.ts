/**
 * What means the same, as a model of the catalog tells it: paid by the house, waited for a moment, passed over when it fails.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Metric, Schema } from "effect"
import { Digest } from "effect/crypto"
import { TestClock } from "effect/testing"
import { AnswerCache } from "../../src/caches/AnswerCache.ts"
import type { CachedAnswer } from "../../src/caches/CachedAnswer.ts"
import { Embedder } from "../../src/caches/Embedder.ts"
import { ExternalCache } from "../../src/caches/ExternalCache.ts"
import { ResponseCache } from "../../src/caches/ResponseCache.ts"
import { SemanticCache } from "../../src/caches/SemanticCache.ts"
import { SharedStore } from "../../src/caches/SharedStore.ts"
import { house } from "../support/house.ts"
import { parse, valueOf } from "../support/prometheus.ts"
import { request } from "../support/scripted.ts"
import { creditsOf, entriesOf, eventually, jsonCall, newCustomer } from "../support/server.ts"

type Embed = (text: string) => Effect.Effect<ReadonlyArray<number>, unknown>

const bypassed = (reason: string) =>
  Effect.map(Metric.snapshot, (metrics) => {
    const found = metrics.find((metric) => metric.id === "sluice_semantic_cache_bypasses_total" && metric.attributes?.["reason"] === reason)
    return found?.type === "Counter" ? Number(found.state.count) : 0
  })

const text = (value: string): CachedAnswer => ({
  model: "org/model",
  provider: "groq",
  events: [
    { _tag: "Text", choice: 0, text: value },
    { _tag: "Finish", choice: 0, reason: "stop" }
  ]
})

const said = (answer: CachedAnswer): string => answer.events.map((event) => (event._tag === "Text" ? event.text : "")).join("")

const cacheOf = (embed: Embed) =>
  AnswerCache.layer({ byDefault: true, semantic: true }).pipe(
    Layer.provide([
      ResponseCache.layer,
      SemanticCache.layer.pipe(Layer.provide(Embedder.layerOf(embed))),
      Layer.succeed(SharedStore, null),
      ExternalCache.layerNone
    ]),
    Layer.provideMerge(Digest.layerWebCrypto)
  )

/** What the cache has, else `answer`, which is then stored. */
const ask = (accountId: string, words: string, answer: string, more: { readonly temperature?: number; readonly model?: string } = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const body = { temperature: more.temperature ?? 0, messages: [{ role: "user", content: words }] }
      const facts = { accountId, models: [more.model ?? "org/model"], request: request({ body }) }
      const found = yield* (yield* AnswerCache).lookup(facts)
      if (found._tag === "Hit") return said(found.answer)
      yield* found.store(text(answer))
      return answer
    })
  )

describe("an embedder that may fail", () => {
  it.effect("X-20 five failures in a row give it a rest of ten seconds; each request that it fails is counted and goes on", () => {
    const state: { asked: number; next: Effect.Effect<ReadonlyArray<number>, unknown> } = { asked: 0, next: Effect.fail("no") }
    return Effect.gen(function* () {
      const { embed } = yield* Embedder
      const before = { failed: yield* bypassed("failed"), resting: yield* bypassed("resting"), unusable: yield* bypassed("unusable") }
      for (const next of [
        Effect.fail("no"),
        Effect.die("a defect"),
        Effect.succeed([]),
        Effect.succeed([0, 0]),
        Effect.succeed([1, Number.NaN])
      ]) {
        state.next = next
        assert.isTrue(Exit.isFailure(yield* Effect.exit(embed("x"))))
      }
      assert.strictEqual(state.asked, 5)
      state.next = Effect.succeed([3, 4])
      assert.isTrue(Exit.isFailure(yield* Effect.exit(embed("x"))))
      assert.strictEqual(state.asked, 5, "it rests")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        [...(yield* embed("x"))].map((value) => value.toFixed(2)),
        ["0.60", "0.80"]
      )
      assert.strictEqual((yield* bypassed("failed")) - before.failed, 2)
      assert.strictEqual((yield* bypassed("unusable")) - before.unusable, 3)
      assert.strictEqual((yield* bypassed("resting")) - before.resting, 1)
    }).pipe(
      Effect.provide(
        Embedder.layerOf(() =>
          Effect.suspend(() => {
            state.asked++
            return state.next
          })
        )
      )
    )
  })

  it.effect("X-20 it is waited for a second and no longer", () =>
    Effect.gen(function* () {
      const { embed } = yield* Embedder
      const before = yield* bypassed("slow")
      const waiting = yield* Effect.forkChild(Effect.exit(embed("x")), { startImmediately: true })
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(waiting)))
      assert.strictEqual((yield* bypassed("slow")) - before, 1)
    }).pipe(Effect.provide(Embedder.layerOf(() => Effect.never)))
  )

  it.effect("X-20 a first question waits for no vector, and the very same one needs no second", () => {
    const asked: Array<string> = []
    const embed: Embed = (words) =>
      Effect.sync(() => {
        asked.push(words)
        return words.includes("Paris") ? [1, 0] : [0, 1]
      })
    return Effect.gen(function* () {
      assert.strictEqual(yield* ask("one", "about Paris", "A"), "A")
      assert.deepStrictEqual(asked, ["about Paris"], "when it was stored")
      assert.strictEqual(yield* ask("one", "about Paris", "B"), "A")
      assert.lengthOf(asked, 1)
      assert.strictEqual(yield* ask("one", "of Paris", "C"), "A")
      assert.strictEqual(yield* ask("one", "of Rome", "D"), "D")
      assert.deepStrictEqual(asked.slice(1), ["of Paris", "of Rome"])
    }).pipe(Effect.provide(cacheOf(embed)))
  })

  it.effect("X-20 a vector that never comes keeps no first question from its answer", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 100; i++) assert.strictEqual(yield* ask("one", `question ${i}`, `answer ${i}`), `answer ${i}`)
    }).pipe(Effect.provide(cacheOf(() => Effect.never)))
  )

  const Names = Schema.Literals(["a", "b", "c"])
  const Asked = Schema.Array(
    Schema.Struct({
      account: Names,
      words: Schema.String,
      temperature: Schema.Literals([0, 1]),
      model: Schema.Literals(["org/x", "org/y"])
    })
  )
  it.effect.prop("X-20 where all words mean the same, still nothing crosses tenants, models or parameters", [Asked], ([asked]) =>
    Effect.gen(function* () {
      const seen = new Set<string>()
      for (const [at, { account, model, temperature, words }] of asked.entries()) {
        if (words.trim() === "") continue
        const own = `${account} ${model} ${temperature}`
        const got = yield* ask(account, words, `${own}|${at}`, { temperature, model })
        assert.strictEqual(got.split("|")[0], own)
        // And within them everything after the first is a hit.
        assert.strictEqual(got !== `${own}|${at}`, seen.has(own))
        seen.add(own)
      }
    }).pipe(
      Effect.provide(
        cacheOf(() => Effect.succeed([1, 2, 3])),
        { local: true }
      )
    )
  )
})

describe("the semantic cache over an embedding model", () => {
  const EMBEDDER = "text-embedding-3-small"
  const here = house({ RESPONSE_CACHE: "on", SEMANTIC_CACHE: "on", SEMANTIC_CACHE_MODEL: EMBEDDER, CATALOG_SYNC_INTERVAL_MS: "0" })
  const vector = (...embedding: ReadonlyArray<number>) => ({
    model: EMBEDDER,
    contentType: "application/json",
    raw: JSON.stringify({
      object: "list",
      data: [{ object: "embedding", index: 0, embedding }],
      usage: { prompt_tokens: 7, total_tokens: 7 }
    })
  })
  const ask = async (key: string, content: string) => {
    const response = await fetch(`${here.server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-4o", max_tokens: 50, messages: [{ role: "user", content }] })
    })
    await response.text()
    return { status: response.status, cache: response.headers.get("x-sluice-cache"), cost: response.headers.get("x-sluice-cost-usd") }
  }
  const embedded = () => here.mock.calls().filter((call) => call.path.endsWith("/embeddings"))
  const metrics = async () => parse(await (await fetch(`${here.server.url}/metrics`)).text())

  it("X-20 near questions get the answer by the model's vectors; the house pays, the caller does not", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    here.mock.script(vector(1, 0), vector(0.999, 0.04), vector(0, 1))
    const first = await ask(customer.key, "What is the capital of France?")
    assert.deepInclude(first, { status: 200, cache: "miss" })
    await eventually(() => assert.lengthOf(embedded(), 1))
    assert.deepInclude(embedded()[0]?.body, { model: EMBEDDER, input: "What is the capital of France?" })
    await eventually(async () => {
      assert.deepInclude(await ask(customer.key, "Which city is France's capital?"), { status: 200, cache: "hit" })
    })
    assert.deepInclude(await ask(customer.key, "How do magnets work?"), { status: 200, cache: "miss" })
    assert.lengthOf(embedded(), 3)
    const charges = (await entriesOf(here.server, customer.key)).filter((row) => row.kind === "charge")
    assert.lengthOf(charges, 2, "two answers of the provider, and no vector")
    const rows = await jsonCall<{ data: ReadonlyArray<{ model: string }> }>(here.server.url, customer.key, "GET", "/v1/requests")
    assert.deepStrictEqual([...new Set(rows.body.data.map((row) => row.model))], ["openai/gpt-4o"])
    const labels = { purpose: "semantic_cache", provider: "openai", model: "openai/text-embedding-3-small" }
    const families = await metrics()
    assert.strictEqual(valueOf(families, "sluice_house_tokens_total", labels), 21)
    assert.closeTo(valueOf(families, "sluice_house_cost_usd_total", labels), 21 * 0.00000002, 1e-12)
  })

  it("X-20 where no vector comes the request goes on as if there were no such cache, and is counted", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    here.mock.script(vector(1, 0))
    await ask(customer.key, "first")
    await eventually(() => assert.lengthOf(embedded(), 1))
    const troubles = [
      { status: 500 },
      { hang: "head" as const },
      { malformed: true },
      { raw: '{"data":[{"embedding":"?"}]}', contentType: "application/json" }
    ]
    for (const [at, trouble] of troubles.entries()) {
      const asked = embedded().length
      here.mock.script({ model: EMBEDDER, ...trouble })
      // No provider but this one has a key, so there is no second to ask.
      const answer = await ask(customer.key, `question ${at}`)
      assert.deepInclude(answer, { status: 200, cache: "miss" })
      assert.isAbove(embedded().length, asked)
    }
    const families = await metrics()
    assert.isAtLeast(valueOf(families, "sluice_semantic_cache_bypasses_total", { reason: "failed" }), 3)
    assert.isAbove(Number((await creditsOf(here.server, customer.key)).available_usd), 9)
  })
})
