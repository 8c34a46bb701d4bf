import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { inject } from "vitest"
import * as RedisCounters from "../../layers/RedisCounters.ts"
import type { Caller } from "../../schemas/Account.ts"
import { plans } from "../../schemas/Plan.ts"
import { limitHeaders } from "../../src/http/LimitHeaders.ts"
import { CounterStore, CounterStoreError, makeMemory } from "../../src/limits/CounterStore.ts"
import { KeyLimits } from "../../src/limits/KeyLimits.ts"

let keys = 0
const caller = (plan: Caller["plan"], limits: Partial<Caller["limits"]> = {}): Caller => ({
  accountId: "a",
  keyId: `key-${process.pid}-${keys++}`,
  role: "dev",
  plan,
  limits: { ...plans[plan].limits, concurrency: "none", ...limits },
  trialEndsAt: null
})

const admit = (who: Caller, tokens = 0) => Effect.scoped(Effect.flatMap(KeyLimits, (limits) => limits.admit(who, tokens)))
const admitted = (who: Caller, times: number) =>
  Effect.map(Effect.all(Array.from({ length: times }, () => admit(who))), (all) => all.filter((one) => one.refused === null).length)

const memory = CounterStore.layerMemory({ size: 10_000 })
const inMemory = KeyLimits.layer.pipe(Layer.provideMerge(memory))
const away = Layer.succeed(CounterStore, {
  raise: () => Effect.fail(new CounterStoreError({ message: "away" })),
  adjust: () => Effect.fail(new CounterStoreError({ message: "away" }))
})

describe("limits of a key", () => {
  it.effect("CM-2.2.1 one raise a request on rate_limit:{key}:{minute}, which lives 60 s", () => {
    const seen: Array<{ key: string; by: number; ttlMs: number }> = []
    const recording = Layer.succeed(CounterStore, {
      raise: (counters) =>
        Effect.sync(() => {
          seen.push(...counters)
          return { counts: counters.map(() => 1), refused: [] }
        }),
      adjust: () => Effect.void
    })
    return Effect.gen(function* () {
      yield* TestClock.adjust(125_000)
      const who = caller("dev")
      yield* admit(who)
      const counter = seen.filter(({ key }) => key.startsWith("rate_limit:"))
      assert.deepStrictEqual(
        counter.map(({ by, key, ttlMs }) => ({ key, by, ttlMs })),
        [{ key: `rate_limit:${who.keyId}:2`, by: 1, ttlMs: 60_000 }]
      )
    }).pipe(Effect.provide(KeyLimits.layer.pipe(Layer.provide(recording))))
  })

  it.effect("CM-2.2.2 requests a minute rise with the plan, and each plan's own is enforced", () =>
    Effect.gen(function* () {
      const counts = yield* Effect.all((["dev", "team", "enterprise"] as const).map((plan) => admitted(caller(plan), 1_100)))
      assert.deepStrictEqual(counts, [250, 300, 1_000])
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("the window ends with the minute, right at its edge", () =>
    Effect.gen(function* () {
      const who = caller("dev", { rpm: 2 })
      yield* TestClock.adjust(59_999)
      assert.strictEqual(yield* admitted(who, 3), 2)
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* admitted(who, 3), 2)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("CM-2.2.3 tokens a day are counted and corrected, refused beyond, and begin anew the next UTC day", () =>
    Effect.gen(function* () {
      const limits = yield* KeyLimits
      const who = caller("dev", { tokensPerMinute: "none", tokensPerMonth: "none", tokensPerDay: 100 })
      assert.isNull((yield* admit(who, 80)).refused)
      assert.strictEqual((yield* admit(who, 30)).refused?.limit, "tokens_per_day")
      yield* limits.correct(who, -60)
      assert.isNull((yield* admit(who, 80)).refused)
      assert.strictEqual((yield* admit(who, 1)).refused?.limit, "tokens_per_day")
      yield* TestClock.adjust("1 day")
      assert.isNull((yield* admit(who, 100)).refused)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("CM-2.2.4 tokens a month are counted over the UTC month", () =>
    Effect.gen(function* () {
      const who = caller("dev", { tokensPerMinute: "none", tokensPerDay: "none", tokensPerMonth: 100 })
      assert.isNull((yield* admit(who, 100)).refused)
      yield* TestClock.adjust("30 days")
      const refused = (yield* admit(who, 1)).refused
      assert.deepInclude(refused, { limit: "tokens_per_month", retryAfterMs: 86_400_000 })
      yield* TestClock.adjust("1 day")
      assert.isNull((yield* admit(who, 100)).refused)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("CM-2.2.5 answers carry limit, remaining and reset, admitted or refused", () =>
    Effect.gen(function* () {
      const who = caller("dev", { rpm: 2 })
      yield* TestClock.adjust(30_000)
      const headers = Effect.map(admit(who), ({ view }) => limitHeaders(view, 30_000))
      assert.deepInclude(yield* headers, {
        "x-ratelimit-limit": "2",
        "x-ratelimit-remaining": "1",
        "x-ratelimit-reset": "60",
        "x-ratelimit-reset-requests": "30s"
      })
      yield* headers
      assert.deepInclude(yield* headers, { "x-ratelimit-limit": "2", "x-ratelimit-remaining": "0", "x-ratelimit-limit-requests": "2" })
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("a request counts in flight until its Scope closes", () =>
    Effect.gen(function* () {
      const who = caller("dev", { concurrency: 2 })
      const limits = yield* KeyLimits
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* limits.admit(who, 0)
          yield* limits.admit(who, 0)
          assert.strictEqual((yield* admit(who)).refused?.limit, "concurrency")
        })
      )
      assert.isNull((yield* admit(who)).refused)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("a request that one limit refuses is not counted by the others", () =>
    Effect.gen(function* () {
      const who = caller("dev", { rpm: 10, requestsPerDay: 1 })
      yield* admit(who)
      for (let i = 0; i < 5; i++) yield* admit(who)
      assert.strictEqual((yield* admit(who)).view.requests?.remaining, 9)
    }).pipe(Effect.provide(inMemory))
  )
})

describe("when the counters' store is away", () => {
  it.effect("CM-2.4.1 the limiter in memory answers, and the request sees no error", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* admitted(caller("dev", { rpm: 3 }), 5), 3)
    }).pipe(Effect.provide(KeyLimits.layer.pipe(Layer.provide(away))))
  )

  it.effect("CM-2.4.2 it keeps at most 500 keys and gives up the least recently used", () =>
    Effect.gen(function* () {
      const store = makeMemory({ size: 500 })
      const raise = (key: string) => store.raise([{ key, by: 1, limit: null, ttlMs: 1_000_000 }])
      for (let i = 0; i < 500; i++) yield* raise(`k${i}`)
      yield* raise("k0")
      yield* raise("k500")
      assert.strictEqual(store.size(), 500)
      assert.deepStrictEqual((yield* raise("k0")).counts, [3])
      assert.deepStrictEqual((yield* raise("k1")).counts, [1])
    })
  )

  it.effect("CM-2.4.3 an entry untouched for more than 900 s is gone", () =>
    Effect.gen(function* () {
      const store = makeMemory({ size: 500, idleMs: 900_000 })
      const raise = store.raise([{ key: "k", by: 1, limit: null, ttlMs: 10_000_000 }])
      yield* raise
      yield* TestClock.adjust(900_000)
      assert.deepStrictEqual((yield* raise).counts, [2])
      yield* TestClock.adjust(900_001)
      assert.deepStrictEqual((yield* raise).counts, [1])
    })
  )

  it.effect("CM-2.4.4 when everything throws the request is let in", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* admitted(caller("dev", { rpm: 1 }), 5), 5)
    }).pipe(
      Effect.provide(
        KeyLimits.layer.pipe(
          Layer.provide(Layer.succeed(CounterStore, { raise: () => Effect.die("broken"), adjust: () => Effect.die("broken") }))
        )
      )
    )
  )
})

const shared = KeyLimits.layer.pipe(Layer.provideMerge(RedisCounters.layer(Redacted.make(inject("redisUrl")))))

layer(shared, { excludeTestServices: true })("limits in Redis", (it) => {
  it.effect("two processes share them to the last request", () =>
    Effect.gen(function* () {
      // The connection may still be on its way.
      yield* Effect.retry(
        Effect.flatMap(CounterStore, (store) => store.raise([{ key: "hello", by: 1, limit: null, ttlMs: 1_000 }])),
        { times: 50, while: () => Effect.as(Effect.sleep(20), true) }
      )
      const who = caller("dev", { rpm: "none", requestsPerDay: 30 })
      const here = admitted(who, 50)
      const there = Effect.provide(
        admitted(who, 50),
        KeyLimits.layer.pipe(Layer.provide(Layer.fresh(RedisCounters.layer(Redacted.make(inject("redisUrl"))))))
      )
      const first = yield* here
      assert.strictEqual(first, 30)
      assert.isAtMost(yield* there, 50)
      assert.strictEqual(yield* admitted(who, 5), 0)
      const limits = yield* KeyLimits
      const tokens = caller("dev", { rpm: "none", tokensPerDay: 100 })
      yield* admit(tokens, 90)
      yield* limits.correct(tokens, -80)
      assert.isNull((yield* admit(tokens, 80)).refused)
    })
  )
})
