/**
 * A cache of answers that somebody else runs: asked last and only by who wants it, and never waited for.
 */
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeEach, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { Digest } from "effect/crypto"
import { TestClock } from "effect/testing"
import * as ExternalCacheEndpoint from "../../layers/ExternalCacheEndpoint.ts"
import { AnswerCache } from "../../src/caches/AnswerCache.ts"
import type { CachedAnswer } from "../../src/caches/CachedAnswer.ts"
import { exactKey } from "../../src/caches/CacheKey.ts"
import { Embedder } from "../../src/caches/Embedder.ts"
import { ExternalCache } from "../../src/caches/ExternalCache.ts"
import { ResponseCache } from "../../src/caches/ResponseCache.ts"
import { SemanticCache } from "../../src/caches/SemanticCache.ts"
import { SharedStoreError, type Store } from "../../src/caches/SharedStore.ts"
import { house } from "../support/house.ts"
import { request } from "../support/scripted.ts"
import { eventually, jsonCall, newCustomer } from "../support/server.ts"

const answer = (text: string): CachedAnswer => ({
  model: "org/model",
  provider: "groq",
  events: [
    { _tag: "Text", choice: 0, text },
    { _tag: "Finish", choice: 0, reason: "stop" }
  ]
})
const textOf = (found: CachedAnswer) => found.events.map((event) => (event._tag === "Text" ? event.text : "")).join("")
const facts = (words: string) => ({
  accountId: "account",
  models: ["org/model"],
  request: request({ body: { messages: [{ role: "user", content: words }] } })
})

/** A store that does as it is told, and says what it was asked. */
const scriptedStore = () => {
  const kept = new Map<string, string>()
  const reads: Array<string> = []
  const state: { get: Effect.Effect<string | null, SharedStoreError> | null; set: Effect.Effect<void, SharedStoreError> | null } = {
    get: null,
    set: null
  }
  const store: Store = {
    get: (key) =>
      Effect.suspend(() => {
        reads.push(key)
        return state.get ?? Effect.succeed(kept.get(key) ?? null)
      }),
    set: (key, value) => Effect.suspend(() => state.set ?? Effect.sync(() => void kept.set(key, value)))
  }
  return { kept, reads, state, store }
}

const layerOf = (store: Store) =>
  AnswerCache.layer({ byDefault: false, semantic: true }).pipe(
    Layer.provideMerge(ExternalCache.layer(store)),
    Layer.provide([ResponseCache.layer, SemanticCache.layer.pipe(Layer.provide(Embedder.layerHashed))]),
    Layer.provideMerge(Digest.layerWebCrypto)
  )

/** Asks as the gateway does; what no cache has is answered with `made`, and kept. */
const ask = (words: string, made: string, external = true) =>
  Effect.scoped(
    Effect.gen(function* () {
      const found = yield* Effect.flatMap(AnswerCache, (cache) => cache.lookup(facts(words), external))
      if (found._tag === "Hit") return textOf(found.answer)
      yield* found.store(answer(made))
      return made
    })
  )

describe("the external cache", () => {
  it.effect("X-22 is asked after the semantic and the exact cache, before the provider, and what it gives is kept here", () => {
    const { kept, reads, store } = scriptedStore()
    return Effect.gen(function* () {
      const key = yield* exactKey(facts("what is the capital of France"))
      assert.strictEqual(yield* ask("what is the capital of France", "Paris"), "Paris")
      assert.deepStrictEqual(reads, [key])
      assert.deepStrictEqual([...kept.keys()], [key])
      assert.strictEqual(yield* ask("what is the capital of France", "Lyon"), "Paris")
      assert.strictEqual(yield* ask("what is the capital of  France", "Lyon"), "Paris", "the same words, and no other request")
      assert.lengthOf(reads, 1)
      // Another gateway with the same external cache.
      const elsewhere = ask("what is the capital of France", "Lyon")
      const fresh = Effect.provide(Effect.all([elsewhere, elsewhere]), layerOf(store), { local: true })
      assert.deepStrictEqual(yield* fresh, ["Paris", "Paris"])
      assert.lengthOf(reads, 2)
    }).pipe(Effect.provide(layerOf(store)))
  })

  it.effect("X-21 nobody who did not ask for it has anything read or kept there", () => {
    const { kept, reads, store } = scriptedStore()
    return Effect.gen(function* () {
      yield* ask("a", "b", false)
      assert.deepStrictEqual([reads.length, kept.size], [0, 0])
      const { isExternal, isWanted } = yield* AnswerCache
      const of = (asked: "on" | "off" | "external" | null, key: "on" | "off" | "external" | null) => {
        const wishes = { request: asked, key }
        return isWanted(wishes, "chat") && isExternal(wishes)
      }
      assert.isTrue(of("external", null))
      assert.isTrue(of(null, "external"))
      assert.isTrue(of("external", "on"))
      for (const [asked, key] of [
        [null, null],
        ["on", "external"],
        ["off", "external"],
        ["external", "off"],
        ["on", null]
      ] as const)
        assert.isFalse(of(asked, key), `${asked} ${key}`)
    }).pipe(Effect.provide(layerOf(store)))
  })

  it.effect("X-21 is waited for 50 ms and no longer; a failure is passed over at once", () => {
    const { state, store } = scriptedStore()
    return Effect.gen(function* () {
      state.get = Effect.never
      const waiting = yield* Effect.forkChild((yield* ExternalCache).find("key", 1), { startImmediately: true })
      yield* TestClock.adjust(49)
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.isNull(yield* Fiber.join(waiting))
      for (const broken of [
        Effect.fail(new SharedStoreError({ message: "no" })),
        Effect.die("defect"),
        Effect.succeed("{}"),
        Effect.succeed("x")
      ]) {
        state.get = broken
        assert.strictEqual(yield* ask(`again ${Math.random()}`, "from the provider"), "from the provider")
      }
      // Nor does anybody wait until it has taken an answer, or care that it did not.
      state.get = Effect.succeed(null)
      for (const broken of [Effect.never, Effect.fail(new SharedStoreError({ message: "no" })), Effect.die("defect")]) {
        state.set = broken
        assert.strictEqual(yield* ask(`again ${Math.random()}`, "from the provider"), "from the provider")
      }
    }).pipe(Effect.provide(layerOf(store)))
  })

  it.effect("X-21 five failures in a row give it a rest of ten seconds", () => {
    const { reads, state, store } = scriptedStore()
    return Effect.gen(function* () {
      const cache = yield* ExternalCache
      state.get = Effect.fail(new SharedStoreError({ message: "no" }))
      for (let i = 0; i < 9; i++) assert.isNull(yield* cache.find("key", 1))
      assert.lengthOf(reads, 5)
      state.get = null
      yield* TestClock.adjust(10_000)
      yield* cache.store("key", answer("x"))
      assert.isNotNull(yield* cache.find("key", 1))
    }).pipe(Effect.provide(layerOf(store)))
  })

  it.effect("X-21 an answer is an hour old at most, whatever the other side keeps, and never one that was cut", () => {
    const { kept, store } = scriptedStore()
    return Effect.gen(function* () {
      const cache = yield* ExternalCache
      yield* cache.store("key", answer("x"))
      assert.isNotNull(yield* cache.find("key", 1))
      assert.isNull(yield* cache.find("key", 2), "one choice is not two")
      yield* TestClock.adjust(3_600_000)
      assert.isNull(yield* cache.find("key", 1))
      assert.isTrue(kept.has("key"))
      yield* cache.store("cut", { ...answer("x"), events: [{ _tag: "Text", choice: 0, text: "x" }] })
      assert.isNull(yield* cache.find("cut", 1))
    }).pipe(Effect.provide(layerOf(store)))
  })
})

/** Somebody else's cache over HTTP. */
const kept = new Map<string, string>()
const seen: Array<{ readonly method: string; readonly key: string; readonly authorization: string | undefined }> = []
const behave: { answer: ((response: ServerResponse) => void) | null } = { answer: null }
const external = createServer((incoming, response) => {
  const chunks: Array<Buffer> = []
  incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
  incoming.on("end", () => {
    const key = (incoming.url ?? "").split("/").at(-1) ?? ""
    seen.push({ method: incoming.method ?? "", key, authorization: incoming.headers.authorization })
    if (behave.answer !== null) return behave.answer(response)
    const text = kept.get(key)
    if (incoming.method === "PUT") kept.set(key, Buffer.concat(chunks).toString("utf8"))
    response.statusCode = incoming.method === "PUT" ? 204 : text === undefined ? 404 : 200
    response.end(incoming.method === "GET" ? text : undefined)
  })
})
await new Promise<void>((resolve) => external.listen(0, "127.0.0.1", resolve))
const portOf = (address: string | AddressInfo | null) => (typeof address === "object" && address !== null ? address.port : 0)
const externalUrl = `http://127.0.0.1:${portOf(external.address())}/answers/`

describe("the external cache over HTTP", () => {
  const here = house({ EXTERNAL_CACHE_URL: externalUrl, EXTERNAL_CACHE_API_KEY: "their-key", CATALOG_SYNC_INTERVAL_MS: "0" })
  afterAll(() => new Promise<void>((resolve) => void external.close(() => resolve())))
  beforeEach(() => {
    behave.answer = null
    seen.length = 0
    kept.clear()
  })

  it.live("X-21 what is kept there is signed: changed, or put under another key, it is no answer", () =>
    Effect.gen(function* () {
      const store = ExternalCacheEndpoint.make({ url: externalUrl, apiKey: null }, Redacted.make("a secret"))
      yield* store.set("one", "text of one", 1_000)
      assert.strictEqual(yield* store.get("one"), "text of one")
      assert.isNull(yield* store.get("nothing"))
      kept.set("two", kept.get("one") ?? "")
      kept.set("one", (kept.get("one") ?? "").replace("text", "test"))
      for (const key of ["one", "two"]) assert.strictEqual((yield* Effect.flip(store.get(key)))._tag, "SharedStoreError")
      const others = ExternalCacheEndpoint.make({ url: externalUrl, apiKey: null }, Redacted.make("another secret"))
      yield* others.set("one", "forged", 1_000)
      yield* Effect.flip(store.get("one"))
      behave.answer = (response) => response.writeHead(500).end()
      yield* Effect.flip(store.get("one"))
      yield* Effect.flip(store.set("one", "x", 1))
    })
  )

  it("X-21 requests that say so, and keys, are answered from it after the exact cache; when it hangs or fails, by the provider", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const ask = async (content: string, headers: Record<string, string> = {}, key = customer.key) => {
      const response = await fetch(`${here.server.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: "gpt-4o", max_tokens: 50, messages: [{ role: "user", content }] })
      })
      await response.text()
      return [response.status, response.headers.get("x-sluice-cache")]
    }
    const wanted = { "x-sluice-cache": "external" }
    assert.deepStrictEqual(await ask("kept here only", { "x-sluice-cache": "on" }), [200, "miss"])
    assert.lengthOf(seen, 0)
    assert.deepStrictEqual(await ask("one", wanted), [200, "miss"])
    await eventually(() => assert.strictEqual(kept.size, 1))
    assert.deepStrictEqual(
      seen.map(({ authorization, method }) => [method, authorization]),
      [
        ["GET", "Bearer their-key"],
        ["PUT", "Bearer their-key"]
      ]
    )
    assert.match(seen[0]?.key ?? "", /^[0-9a-f]{64}$/)
    assert.deepStrictEqual(await ask("one", wanted), [200, "hit"])
    assert.lengthOf(seen, 2, "our own cache comes first")
    const made = await jsonCall<{ id: string; key: string; cache: string }>(here.server.url, customer.key, "POST", "/v1/keys", {
      name: "external",
      cache: "external"
    })
    assert.deepStrictEqual([made.status, made.body.cache], [201, "external"])
    assert.deepStrictEqual(await ask("two", {}, made.body.key), [200, "miss"])
    await eventually(() => assert.strictEqual(kept.size, 2))
    assert.deepStrictEqual(await ask("three", { "x-sluice-cache": "off" }, made.body.key), [200, "bypass"])
    behave.answer = () => {}
    assert.deepStrictEqual(await ask("four", wanted), [200, "miss"])
    behave.answer = (response) => response.destroy()
    assert.deepStrictEqual(await ask("five", wanted), [200, "miss"])
    const metrics = await (await fetch(`${here.server.url}/metrics`)).text()
    assert.match(metrics, /sluice_external_cache_bypasses_total\{reason="slow"\} [1-9]/)
    assert.match(metrics, /sluice_external_cache_bypasses_total\{reason="failed"\} [1-9]/)
  })
})
