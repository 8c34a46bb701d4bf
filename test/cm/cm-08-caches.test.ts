/**
 * Caches: what is the same request, how long things are kept, and that nothing waits for a cache that fails.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { Digest } from "effect/crypto"
import { TestClock } from "effect/testing"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import { plans } from "../../schemas/Plan.ts"
import { AnswerCache } from "../../src/caches/AnswerCache.ts"
import { type CachedAnswer, inPieces, isWhole } from "../../src/caches/CachedAnswer.ts"
import { type CacheFacts, exactKey } from "../../src/caches/CacheKey.ts"
import { cosine, Embedder, normalized } from "../../src/caches/Embedder.ts"
import { ExternalCache } from "../../src/caches/ExternalCache.ts"
import { ResponseCache } from "../../src/caches/ResponseCache.ts"
import { SemanticCache } from "../../src/caches/SemanticCache.ts"
import { makeMemory, SharedStore, SharedStoreError, type Store, withMemory } from "../../src/caches/SharedStore.ts"
import { AuthCache, type KeyRecord } from "../../src/identity/AuthCache.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"
import { request } from "../support/scripted.ts"

const body: JsonObject = { messages: [{ role: "user", content: "What is the capital of France?" }], temperature: 0.5, max_tokens: 50 }

const facts = (
  more: { body?: JsonObject; accountId?: string; models?: ReadonlyArray<string>; request?: Partial<InferenceRequest> } = {}
): CacheFacts => ({
  accountId: more.accountId ?? "account",
  models: more.models ?? ["org/model"],
  request: request({ body: more.body ?? body, ...more.request })
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

const layerOf = (options: { semantic?: boolean; byDefault?: boolean; store?: Store | null; embedder?: Layer.Layer<Embedder> } = {}) =>
  AnswerCache.layer({ byDefault: options.byDefault ?? false, semantic: options.semantic ?? false }).pipe(
    Layer.provideMerge(ResponseCache.layer),
    Layer.provide([
      SemanticCache.layer.pipe(Layer.provide(options.embedder ?? Embedder.layerHashed)),
      Layer.succeed(SharedStore, options.store ?? null),
      ExternalCache.layerNone
    ]),
    Layer.provideMerge(Digest.layerWebCrypto)
  )

/** Asks the cache as the gateway does: what it has, else `answer`, which is then stored. */
const ask = (of: CacheFacts, answer = "Paris") =>
  Effect.scoped(
    Effect.gen(function* () {
      const found = yield* Effect.flatMap(AnswerCache, (cache) => cache.lookup(of))
      if (found._tag === "Hit") return { hit: true, text: said(found.answer) }
      yield* found.store(text(answer))
      return { hit: false, text: answer }
    })
  )

const isHit = (of: CacheFacts) => Effect.map(ask(of), (asked) => asked.hit)

describe("the response cache", () => {
  it.effect("CM-8.1.1 the same messages, model and parameters get the stored answer", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ask(facts()), { hit: false, text: "Paris" })
      assert.deepStrictEqual(yield* ask(facts(), "Lyon"), { hit: true, text: "Paris" })
      assert.isTrue(yield* isHit(facts({ request: { stream: true, includeUsage: true } })), "also as a stream")
    }).pipe(Effect.provide(layerOf()))
  )

  it.effect("CM-8.1.2 any other parameter that can change the answer is a miss", () =>
    Effect.gen(function* () {
      yield* ask(facts())
      const others: ReadonlyArray<JsonObject> = [
        { temperature: 0.6 },
        { top_p: 0.9 },
        { max_tokens: 51 },
        { stop: ["\n"] },
        { seed: 1 },
        { n: 2 },
        { presence_penalty: 1 },
        { frequency_penalty: 1 },
        { tools: [{ type: "function", function: { name: "f" } }] },
        { tool_choice: "none" },
        { response_format: { type: "json_object" } },
        { logprobs: true },
        { logit_bias: { "1": 1 } },
        { reasoning_effort: "high" },
        { user: "someone" },
        { a_field_of_tomorrow: 1 },
        { messages: [{ role: "user", content: "What is the capital of Spain?" }] },
        {
          messages: [
            { role: "system", content: "x" },
            { role: "user", content: "What is the capital of France?" }
          ]
        }
      ]
      for (const other of others) assert.isFalse(yield* isHit(facts({ body: { ...body, ...other } })), JSON.stringify(other))
      assert.isFalse(yield* isHit(facts({ models: ["org/other"] })))
      assert.isFalse(yield* isHit(facts({ models: ["org/model", "org/fallback"] })))
      assert.isFalse(yield* isHit(facts({ request: { protocol: "anthropic-messages" } })))
      assert.isFalse(yield* isHit(facts({ request: { preference: { order: ["groq"], only: [], allowFallbacks: true } } })))
      assert.isTrue(yield* isHit(facts()))
    }).pipe(Effect.provide(layerOf()))
  )

  it.effect("CM-8.1.3 the key is SHA-256 of a canonical form: the order of keys does not matter, that of messages does", () =>
    Effect.gen(function* () {
      const key = yield* exactKey(facts())
      assert.match(key, /^[0-9a-f]{64}$/)
      const turned: JsonObject = {
        max_tokens: 50,
        temperature: 0.5,
        messages: [{ content: "What is the capital of France?", role: "user" }]
      }
      assert.strictEqual(yield* exactKey(facts({ body: turned })), key)
      const two = [
        { role: "user", content: "a" },
        { role: "user", content: "b" }
      ]
      assert.notStrictEqual(
        yield* exactKey(facts({ body: { messages: two } })),
        yield* exactKey(facts({ body: { messages: two.toReversed() } }))
      )
    }).pipe(Effect.provide(Digest.layerWebCrypto))
  )

  const Names = Schema.Literals(["a", "b", "c"])
  const Tenants = Schema.Array(Schema.Struct({ account: Names, words: Names, temperature: Schema.Literals([0, 1]) }))
  it.effect.prop("an answer never crosses accounts, whatever they ask", [Tenants], ([asked]) =>
    Effect.gen(function* () {
      for (const [at, { account, temperature, words }] of asked.entries()) {
        const of = facts({ accountId: account, body: { temperature, messages: [{ role: "user", content: words }] } })
        const got = yield* ask(of, `${account} ${words} ${temperature} ${at}`)
        assert.isTrue(got.text.startsWith(`${account} ${words} ${temperature} `), got.text)
      }
    }).pipe(Effect.provide(layerOf({ semantic: true }), { local: true }))
  )

  it.effect("CM-8.1.4 it keeps 20,000 answers at most and gives up the least recently used; CM-8.1.6 reading makes an answer recent", () =>
    Effect.gen(function* () {
      const cache = yield* ResponseCache
      const store = (key: string) =>
        Effect.flatMap(cache.lookup(key, false), (found) => (found._tag === "Miss" ? found.store(text(key)) : Effect.void))
      const has = (key: string) => Effect.map(cache.lookup(key, false), (found) => found._tag === "Hit")
      for (let i = 0; i < 20_000; i++) yield* store(`k${i}`)
      assert.strictEqual(cache.size(), 20_000)
      assert.isTrue(yield* has("k0"))
      yield* store("one more")
      assert.strictEqual(cache.size(), 20_000)
      assert.isTrue(yield* has("k0"), "read just now")
      assert.isFalse(yield* has("k1"), "unread for longest")
      assert.isTrue(yield* has("k2"))
    }).pipe(Effect.provide(layerOf()))
  )

  it.effect("CM-8.1.5 an answer is there at 59:59 and gone at 60:00", () =>
    Effect.gen(function* () {
      yield* ask(facts())
      yield* TestClock.adjust("59 minutes")
      yield* TestClock.adjust("59 seconds")
      const cache = yield* ResponseCache
      const key = yield* exactKey(facts())
      assert.strictEqual((yield* cache.lookup(key, false))._tag, "Hit")
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* cache.lookup(key, false))._tag, "Miss")
    }).pipe(Effect.provide(layerOf()))
  )

  it.effect("X-24 of many who ask for the same at once one goes on; they all get its answer, or go on when there is none", () =>
    Effect.gen(function* () {
      const cache = yield* ResponseCache
      let calls = 0
      const gate = yield* Deferred.make<boolean>()
      const asker = Effect.gen(function* () {
        const found = yield* cache.lookup("key", true)
        if (found._tag === "Hit") return said(found.answer)
        calls++
        if (yield* Deferred.await(gate)) yield* found.store(text("Paris"))
        else yield* found.abandon
        return "own"
      })
      const many = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.forkChild(asker, { startImmediately: true }))
      assert.strictEqual(calls, 1)
      assert.strictEqual((yield* cache.lookup("key", false))._tag, "Miss", "who does not wait goes on")
      yield* Deferred.succeed(gate, true)
      const answers = yield* Effect.forEach(many, Fiber.join)
      assert.deepStrictEqual(new Set(answers), new Set(["own", "Paris"]))
      assert.strictEqual(calls, 1)
    }).pipe(Effect.provide(layerOf()))
  )

  it.effect("who leads and leaves frees those who wait", () =>
    Effect.gen(function* () {
      const cache = yield* AnswerCache
      const leader = yield* Effect.forkChild(Effect.scoped(Effect.andThen(cache.lookup(facts()), Effect.never)))
      yield* Effect.yieldNow
      while ((yield* ResponseCache).size() > 0) yield* Effect.yieldNow
      const waiting = yield* Effect.forkChild(ask(facts(), "mine"))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(leader)
      assert.strictEqual((yield* Fiber.join(waiting)).text, "mine")
    }).pipe(Effect.provide(layerOf()))
  )

  it("only whole answers are kept, and none that a filter ended", () => {
    const finish = (choice: number, reason: "stop" | "content_filter") => ({ _tag: "Finish" as const, choice, reason })
    assert.isTrue(isWhole([finish(0, "stop")], 1))
    assert.isFalse(isWhole([finish(0, "stop")], 2))
    assert.isTrue(isWhole([finish(0, "stop"), finish(1, "stop")], 2))
    assert.isFalse(isWhole([{ _tag: "Text", choice: 0, text: "cut" }], 1))
    assert.isFalse(isWhole([finish(0, "content_filter")], 1))
    assert.isFalse(isWhole([{ ...finish(0, "stop"), safety: { blocked: true, categories: [] } }], 1))
  })

  it.prop("an answer in pieces is the same answer, no character cut in two", [Schema.String], ([value]) => {
    const batches = inPieces([{ _tag: "Text", choice: 0, text: `${value}👩‍🚀é`.repeat(9) }])
    const pieces = batches.flat().map((event) => (event._tag === "Text" ? event.text : ""))
    assert.strictEqual(pieces.join(""), `${value}👩‍🚀é`.repeat(9))
    for (const piece of pieces) assert.isFalse(/[\uD800-\uDBFF]$/.test(piece) && !/[\uD800-\uDBFF]$/.test(value))
  })

  it.effect("`off` of anybody wins; without a word nothing is kept unless the deployment says so", () =>
    Effect.gen(function* () {
      const quiet = (yield* AnswerCache).isWanted
      assert.isFalse(quiet({ request: null, key: null }, "chat"))
      assert.isFalse(quiet({ request: "on", key: "on" }, "transcription"))
      assert.isTrue(quiet({ request: "on", key: null }, "chat"))
      assert.isTrue(quiet({ request: null, key: "on" }, "chat"))
      assert.isFalse(quiet({ request: "off", key: "on" }, "chat"))
      assert.isFalse(quiet({ request: "on", key: "off" }, "chat"))
    }).pipe(Effect.provide(layerOf()))
  )
})

describe("answers to words that mean the same", () => {
  /** Vectors as a test sets them. */
  const scripted = (vectors: Readonly<Record<string, ReadonlyArray<number>>>) =>
    Layer.succeed(Embedder, { embed: (value) => Effect.succeed(normalized(Float32Array.from(vectors[value] ?? [1, 1, 1]))) })
  const words = (content: string, more: JsonObject = {}) => facts({ body: { messages: [{ role: "user", content }], ...more } })

  it.effect(
    "X-20 above a cosine of 0.95 it is the stored answer, at or below not; within the account, the model and the parameters",
    () => {
      const at = (angle: number) => [angle, Math.sqrt(1 - angle * angle)]
      const vectors = { stored: [1, 0], near: at(0.951), edge: at(0.949) }
      return Effect.gen(function* () {
        yield* ask(words("stored"))
        assert.isTrue(yield* isHit(words("near")))
        assert.isFalse(yield* isHit(words("edge")))
        assert.isFalse(yield* isHit(words("near", { temperature: 1 })))
        assert.isFalse(yield* isHit({ ...words("near"), accountId: "another" }))
        assert.isFalse(yield* isHit({ ...words("near"), models: ["org/other"] }))
      }).pipe(Effect.provide(layerOf({ semantic: true, embedder: scripted(vectors) })))
    }
  )

  it.effect("X-22 what means the same comes before the very same, and both before the provider", () => {
    const vectors = { first: [1, 0, 0], second: [0.999, 0.01, 0] }
    const asked: Array<string> = []
    const store: Store = {
      get: (key) =>
        Effect.sync(() => {
          asked.push(key)
          return null
        }),
      set: () => Effect.void
    }
    return Effect.gen(function* () {
      assert.isFalse(yield* isHit(words("first")))
      assert.lengthOf(asked, 1, "the exact cache was asked after the semantic one had nothing")
      assert.isTrue(yield* isHit(words("second")))
      assert.isTrue(yield* isHit(words("first")))
      assert.lengthOf(asked, 1, "and not when that had something")
    }).pipe(Effect.provide(layerOf({ semantic: true, embedder: scripted(vectors), store })))
  })

  it.effect("the embedder that ships is near for the same words, and far for another number, a negation or another order", () =>
    Effect.gen(function* () {
      const embedder = yield* Embedder
      const alike = (a: string, b: string) => Effect.zipWith(embedder.embed(a), embedder.embed(b), cosine)
      assert.isAbove(yield* alike("What is the capital of France?", "what is the capital of france"), 0.95)
      assert.isAbove(yield* alike("Hello,   world!", "hello world"), 0.95)
      for (const [a, b] of [
        ["What is the sum of 17 and 25 when you add them together?", "What is the sum of 17 and 26 when you add them together?"],
        ["Is this a good idea for our team to do", "Is this not a good idea for our team to do"],
        ["dog bites man", "man bites dog"],
        ["What is the capital of France?", "What is the capital of Spain?"]
      ] as const) {
        assert.isBelow(yield* alike(a, b), 0.95, b)
      }
    }).pipe(Effect.provide(Embedder.layerHashed))
  )
})

/** A key as the database has it. */
const record: KeyRecord = {
  caller: {
    accountId: "account",
    keyId: "key",
    role: "dev",
    plan: "dev",
    limits: plans.dev.limits,
    trialEndsAt: null,
    scopes: ["*"],
    maxRequests: null,
    cache: null
  },
  userStatus: "active",
  ipAllowlist: [],
  domainAllowlist: [],
  expiresAt: null,
  revokedAt: null
}

describe("caches and what stands behind them", () => {
  const down: Store = {
    get: () => Effect.fail(new SharedStoreError({ message: "away" })),
    set: () => Effect.die("a defect")
  }

  it.effect("CM-8.3.1 a shared cache that throws leaves memory to serve", () =>
    Effect.gen(function* () {
      const store = withMemory(down)
      yield* store.set("key", "value", 60_000)
      assert.strictEqual(yield* store.get("key"), "value")
      assert.isNull(yield* store.get("other"))
    })
  )

  it.effect("CM-8.2.5 memory holds 500 entries, the least recently used gone first; CM-8.2.6 for 900 s", () =>
    Effect.gen(function* () {
      const memory = makeMemory()
      for (let i = 0; i < 500; i++) yield* memory.set(`k${i}`, "value", 3_600_000)
      assert.strictEqual(yield* memory.get("k0"), "value")
      yield* memory.set("one more", "value", 3_600_000)
      assert.isNull(yield* memory.get("k1"))
      assert.strictEqual(yield* memory.get("k0"), "value")
      yield* TestClock.adjust("899 seconds")
      assert.strictEqual(yield* memory.get("k0"), "value")
      yield* TestClock.adjust("1 seconds")
      assert.isNull(yield* memory.get("k0"))
    })
  )

  it.effect("CM-8.3.3 whatever fails in a cache, on reading or on writing, the request goes on", () =>
    Effect.gen(function* () {
      const failing = Layer.succeed(Embedder, { embed: () => Effect.die("a defect") })
      for (const store of [
        down,
        { get: () => Effect.succeed("no JSON"), set: () => Effect.fail(new SharedStoreError({ message: "away" })) }
      ]) {
        const cache = layerOf({ semantic: true, embedder: failing, store })
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* ask(facts()), { hit: false, text: "Paris" })
          assert.isTrue(yield* isHit(facts()), "memory has it all the same")
        }).pipe(Effect.provide(cache, { local: true }))
      }
      const broken = Layer.succeed(Digest.Digest, { digest: () => Effect.die("a defect"), digestHex: () => Effect.die("a defect") })
      const cache = AnswerCache.layer({ byDefault: true, semantic: true }).pipe(
        Layer.provide([ResponseCache.layer, SemanticCache.layer.pipe(Layer.provide(Embedder.layerHashed)), ExternalCache.layerNone, broken])
      )
      assert.deepStrictEqual(yield* Effect.provide(ask(facts()), cache, { local: true }), { hit: false, text: "Paris" })
    })
  )

  it.effect(
    "CM-8.3.2 when every cache misses the store is asked and the caches are filled; CM-8.3.4 five reads of a key ask it once",
    () => {
      const kept = new Map<string, string>()
      const asked: Array<string> = []
      const store: Store = {
        get: (key) =>
          Effect.sync(() => {
            asked.push(key)
            return kept.get(key) ?? null
          }),
        set: (key, value) => Effect.sync(() => void kept.set(key, value))
      }
      const of = (i: number) => facts({ body: { messages: [{ role: "user", content: `question ${i}` }] } })
      return Effect.gen(function* () {
        // One replica writes, another reads.
        for (let i = 0; i < 10; i++) yield* Effect.provide(ask(of(i), `answer ${i}`), layerOf({ store }), { local: true })
        assert.strictEqual(kept.size, 10)
        asked.length = 0
        for (let round = 0; round < 5; round++) {
          for (let i = 0; i < 10; i++) assert.deepStrictEqual(yield* ask(of(i)), { hit: true, text: `answer ${i}` })
        }
        assert.lengthOf(asked, 10, "fifty reads, a fifth of them past memory")
      }).pipe(Effect.provide(layerOf({ store })))
    }
  )

  it.effect("CM-8.2.1 what is known of a key is forgotten after 300 to 600 s", () =>
    Effect.gen(function* () {
      const cache = yield* AuthCache
      yield* cache.set("hash", record, cache.generation())
      yield* TestClock.adjust("299 seconds")
      assert.strictEqual(yield* cache.get("hash"), record)
      yield* TestClock.adjust("301 seconds")
      assert.isUndefined(yield* cache.get("hash"))
    }).pipe(Effect.provide(AuthCache.layer.pipe(Layer.provide(Broadcast.layerMemory))))
  )
})
