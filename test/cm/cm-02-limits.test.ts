import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Metric, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { inject } from "vitest"
import * as RedisCounters from "../../layers/RedisCounters.ts"
import type { Caller } from "../../schemas/Account.ts"
import { plans } from "../../schemas/Plan.ts"
import { limitHeaders } from "../../src/http/LimitHeaders.ts"
import { CounterStore, CounterStoreError, makeMemory } from "../../src/limits/CounterStore.ts"
import * as GuardedCounters from "../../src/limits/GuardedCounters.ts"
import { KeyLimits } from "../../src/limits/KeyLimits.ts"
import { VelocityMode } from "../../src/limits/VelocityMode.ts"
import { admit as admitScoped } from "../support/limits.ts"

let keys = 0
const caller = (plan: Caller["plan"], limits: Partial<Caller["limits"]> = {}): Caller => ({
  accountId: "a",
  keyId: `key-${process.pid}-${keys++}`,
  role: "dev",
  plan,
  limits: { ...plans[plan].limits, concurrency: "none", burst: "none", ...limits },
  trialEndsAt: null,
  scopes: ["*"],
  maxRequests: null,
  cache: null
})

const admit = (who: Caller, tokens = 0) => Effect.scoped(admitScoped(who, tokens))
const admitted = (who: Caller, times: number) =>
  Effect.map(Effect.all(Array.from({ length: times }, () => admit(who))), (all) => all.filter((one) => one.refused === null).length)

const keyLimits = KeyLimits.layer.pipe(Layer.provideMerge(VelocityMode.layer))
const memory = CounterStore.layerMemory({ size: 10_000 })
const inMemory = keyLimits.pipe(Layer.provideMerge(memory))
const failing = (failure: Effect.Effect<never, CounterStoreError>): CounterStore["Service"] => ({
  raise: () => failure,
  adjust: () => failure,
  leave: () => failure,
  renew: () => failure,
  conclude: () => failure,
  local: null,
  isAway: () => false
})
const away = Effect.fail(new CounterStoreError({ message: "away" }))
/** Limits over a shared store that may fail, with the counters of the process behind it. */
const guarded = (shared: CounterStore["Service"]) =>
  keyLimits.pipe(Layer.provideMerge(Layer.effect(CounterStore, GuardedCounters.make(shared))))

describe("limits of a key", () => {
  it.effect("CM-2.2.1 one raise a request on rate_limit:{key}:{minute}, which lives 60 s", () => {
    const seen: Array<{ key: string; by: number; ttlMs: number }> = []
    const recording = Layer.succeed(CounterStore, {
      ...makeMemory({ size: 10 }),
      local: null,
      raise: (counters) =>
        Effect.sync(() => {
          seen.push(...counters)
          return { counts: counters.map(() => 1), refused: [] }
        })
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
    }).pipe(Effect.provide(keyLimits.pipe(Layer.provide(recording))))
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
      const first = yield* admit(who, 80)
      assert.isNull(first.refused)
      assert.strictEqual((yield* admit(who, 30)).refused?.limit, "tokens_per_day")
      limits.leave(who, first, 20)
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

  it.effect("a burst lets that many in at once, and one more as it refills within a second", () =>
    Effect.gen(function* () {
      const who = caller("dev", { burst: 4 })
      yield* TestClock.adjust(10_000)
      assert.strictEqual(yield* admitted(who, 10), 4)
      assert.strictEqual((yield* admit(who)).refused?.limit, "burst")
      yield* TestClock.adjust(249)
      assert.strictEqual(yield* admitted(who, 3), 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* admitted(who, 3), 1)
      yield* TestClock.adjust(1_000)
      assert.strictEqual(yield* admitted(who, 10), 4)
      assert.strictEqual(yield* admitted(caller("dev", { burst: 0 }), 2), 0)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("tokens come back to the minute they were taken in, and more count in the minute they were used in", () =>
    Effect.gen(function* () {
      const limits = yield* KeyLimits
      const who = caller("dev", { tokensPerMinute: 100 })
      yield* TestClock.adjust(59_000)
      const first = yield* admit(who, 90)
      assert.isNull(first.refused)
      yield* TestClock.adjust(2_000)
      const second = yield* admit(who, 60)
      assert.isNull(second.refused)
      // The first request used 10: nothing of this minute is given back.
      limits.leave(who, first, 10)
      assert.strictEqual((yield* admit(who, 50)).refused?.limit, "tokens_per_minute")
      // The second used 30 more than expected, now.
      limits.leave(who, second, 90)
      assert.strictEqual((yield* admit(who, 20)).refused?.limit, "tokens_per_minute")
      assert.isNull((yield* admit(who, 10)).refused)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("what is in flight keeps its place however long it takes; a place that nobody keeps is free after a minute", () =>
    Effect.gen(function* () {
      const store = yield* CounterStore
      const who = caller("dev", { rpm: "none", tokensPerMinute: "none", concurrency: 2 })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* admitScoped(who)
          yield* store.raise([
            { key: `in_flight:${who.keyId}`, by: 1, limit: 2, ttlMs: 60_000, kind: "place", member: "of a dead process" }
          ])
          assert.strictEqual((yield* admit(who)).refused?.limit, "concurrency")
          for (let minutes = 0; minutes < 20; minutes++) yield* TestClock.adjust("1 minute")
          yield* admitScoped(who)
          assert.strictEqual((yield* admit(who)).refused?.limit, "concurrency")
        })
      )
      assert.isNull((yield* admit(who)).refused)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("a request counts in flight until its Scope closes", () =>
    Effect.gen(function* () {
      const who = caller("dev", { concurrency: 2 })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* admitScoped(who)
          yield* admitScoped(who)
          assert.strictEqual((yield* admit(who)).refused?.limit, "concurrency")
        })
      )
      assert.isNull((yield* admit(who)).refused)
    }).pipe(Effect.provide(inMemory))
  )

  it.effect("a request that ends gives back its place and corrects its tokens, at once; a refused one has nothing to give", () =>
    Effect.gen(function* () {
      const limits = yield* KeyLimits
      const told: Array<number> = []
      yield* limits.subscribe(({ used }) => told.push(used))
      const who = caller("dev", { tokensPerMinute: "none", tokensPerMonth: "none", tokensPerDay: 100, concurrency: 1 })
      const enter = Effect.fnUntraced(function* (tokens: number) {
        const entered = limits.enterNow(who, tokens)
        return entered ?? (yield* Effect.die("the counters are in this process"))
      })
      const first = yield* enter(60)
      const second = yield* enter(10)
      assert.deepStrictEqual([first.refused, second.refused?.limit], [null, "concurrency"])
      limits.leave(who, second, 50)
      assert.strictEqual((yield* enter(10)).refused?.limit, "concurrency")
      limits.leave(who, first, 20)
      const third = yield* enter(60)
      assert.isNull(third.refused)
      assert.deepStrictEqual(told, [80])
      limits.leave(who, third, 90)
      assert.strictEqual((yield* enter(1)).refused?.limit, "tokens_per_day")
    }).pipe(Effect.scoped, Effect.provide(inMemory))
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
      assert.isTrue((yield* CounterStore).isAway())
    }).pipe(Effect.provide(guarded(failing(away))))
  )

  it.effect("once it failed nobody waits for it; it is asked in the background, and told what it missed before it counts again", () => {
    const store = makeMemory({ size: 1_000 })
    let up = true
    let asked = 0
    const gate = <A>(effect: Effect.Effect<A, CounterStoreError>) =>
      Effect.suspend(() => {
        asked++
        return up ? effect : away
      })
    const shared: CounterStore["Service"] = {
      raise: (counters) => gate(store.raise(counters)),
      adjust: (changes) => gate(store.adjust(changes)),
      leave: (places) => gate(store.leave(places)),
      renew: (places, ttlMs) => gate(store.renew(places, ttlMs)),
      conclude: (end) => gate(store.conclude(end)),
      local: null,
      isAway: () => false
    }
    return Effect.gen(function* () {
      const limits = yield* KeyLimits
      const counters = yield* CounterStore
      const who = caller("dev", { rpm: "none", requestsPerDay: 10, tokensPerDay: 1_000, concurrency: 2 })
      assert.strictEqual(yield* admitted(who, 3), 3)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const first = yield* admitScoped(who, 100)
          assert.isNull(first.refused)
          up = false
          // The first call finds out; the others ask nobody.
          assert.isNull((yield* admit(who, 50)).refused)
          const before = asked
          assert.isNull((yield* admit(who, 50)).refused)
          assert.isNull((yield* admit(who, 50)).refused)
          limits.leave(who, first, 60)
          assert.strictEqual(asked, before)
        })
      )
      up = true
      yield* TestClock.adjust(600)
      assert.isFalse(counters.isAway())
      // The three and the one of before, the two that were counted here; 100 + 50 + 50 - 40 tokens; and no place is taken.
      const { counts } = yield* store.raise([
        { key: `requests_day:${who.keyId}:1970-01-01`, by: 0, limit: null, ttlMs: 1_000 },
        { key: `tokens_day:${who.keyId}:1970-01-01`, by: 0, limit: null, ttlMs: 1_000 },
        { key: `in_flight:${who.keyId}`, by: 1, limit: null, ttlMs: 1_000, kind: "place", member: "probe" }
      ])
      assert.deepStrictEqual(counts, [6, 160, 1])
    }).pipe(Effect.provide(guarded(shared)))
  })

  it.effect("CM-2.4.2 CM-8.2.5 it keeps at most 500 keys and gives up the least recently used", () =>
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

  it.effect("CM-2.4.3 CM-8.2.6 an entry untouched for more than 900 s is gone", () =>
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

  it.effect("CM-2.4.4 when the shared store and the one in memory both throw the request is let in, and that is counted", () =>
    Effect.gen(function* () {
      const counter = Metric.counter("sluice_limits_unchecked_total", {
        description: "Requests let in because no counter could be asked",
        incremental: true
      })
      const before = (yield* Metric.value(counter)).count
      assert.strictEqual(yield* admitted(caller("dev", { rpm: 1 }), 5), 5)
      assert.strictEqual((yield* Metric.value(counter)).count - before, 5)
    }).pipe(Effect.provide(keyLimits.pipe(Layer.provide(Layer.succeed(CounterStore, failing(Effect.die("broken")))))))
  )

  it.effect("CM-8.3.1 a shared store that throws a defect is one that is away", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* admitted(caller("dev", { rpm: 2 }), 5), 2)
    }).pipe(Effect.provide(guarded(failing(Effect.die("broken")))))
  )
})

const redis = RedisCounters.layer({ url: Redacted.make(inject("redisUrl")), patienceMs: 5_000 })

/** Waits until so many tokens of today are counted: nobody waits for the end of a request. */
const tokensToday = Effect.fnUntraced(function* (who: Caller, wanted: number) {
  const store = yield* CounterStore
  const key = `tokens_day:${who.keyId}:${new Date().toISOString().slice(0, 10)}`
  while ((yield* store.raise([{ key, by: 0, limit: null, ttlMs: 60_000 }])).counts[0] !== wanted) yield* Effect.sleep(5)
})
const another = () => keyLimits.pipe(Layer.provideMerge(Layer.fresh(redis)))

layer(another(), { excludeTestServices: true })("limits in Redis", (it) => {
  it.effect("two processes share them to the last request", () =>
    Effect.gen(function* () {
      const who = caller("dev", { rpm: "none", requestsPerDay: 30 })
      const there = Effect.provide(admitted(who, 50), another())
      const both = yield* Effect.all([admitted(who, 50), there], { concurrency: "unbounded" })
      assert.strictEqual(both[0] + both[1], 30)
      assert.strictEqual(yield* admitted(who, 5), 0)
    })
  )

  it.effect("tokens are given back to the windows they were taken from", () =>
    Effect.gen(function* () {
      const limits = yield* KeyLimits
      const who = caller("dev", { rpm: "none", tokensPerMinute: "none", tokensPerDay: 100 })
      limits.leave(who, yield* admit(who, 90), 10)
      yield* tokensToday(who, 10)
      const second = yield* admit(who, 80)
      assert.isNull(second.refused)
      assert.strictEqual((yield* admit(who, 20)).refused?.limit, "tokens_per_day")
      limits.leave(who, second, 280)
      yield* tokensToday(who, 290)
      assert.strictEqual((yield* admit(who, 1)).refused?.limit, "tokens_per_day")
    })
  )

  it.effect("a request that ends is told in one call: its place, and its tokens, be they too many or too few", () =>
    Effect.gen(function* () {
      const limits = yield* KeyLimits
      const who = caller("dev", { rpm: "none", tokensPerMinute: "none", tokensPerMonth: "none", tokensPerDay: 1_000, concurrency: 1 })
      for (const [used, left] of [
        [30, 30],
        [250, 280]
      ]) {
        assert.isNull(limits.enterNow(who, 100))
        const entered = yield* limits.enter(who, 100)
        assert.isNull(entered.refused)
        assert.strictEqual((yield* admit(who, 1)).refused?.limit, "concurrency")
        limits.leave(who, entered, used ?? 0)
        yield* tokensToday(who, left ?? 0)
      }
      assert.isNull((yield* admit(who, 1)).refused)
    })
  )

  it.effect("places are held until the Scope closes, whoever asks, and free again when their process is gone", () =>
    Effect.gen(function* () {
      const store = yield* CounterStore
      const who = caller("dev", { concurrency: 2 })
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* admitScoped(who)
          yield* Effect.provide(
            Effect.gen(function* () {
              assert.isNull((yield* admit(who)).refused)
              yield* Effect.scoped(
                Effect.andThen(
                  admitScoped(who),
                  Effect.map(admit(who), ({ refused }) => assert.strictEqual(refused?.limit, "concurrency"))
                )
              )
            }),
            another()
          )
          assert.isNull((yield* admit(who)).refused)
        })
      )
      const place = (member: string, ttlMs: number) =>
        Effect.map(
          store.raise([{ key: `in_flight:${who.keyId}`, by: 1, limit: 2, ttlMs, kind: "place", member }]),
          ({ refused }) => refused.length === 0
        )
      assert.isTrue(yield* place("dead", 60))
      assert.isTrue(yield* place("kept", 60))
      assert.isFalse(yield* place("third", 60_000))
      yield* store.renew([{ key: `in_flight:${who.keyId}`, member: "kept" }], 60_000)
      yield* Effect.sleep(80)
      assert.isTrue(yield* place("third", 60_000))
      assert.isFalse(yield* place("fourth", 60_000))
    })
  )

  it.effect("a burst lets in what it has room for, and refills evenly", () =>
    Effect.gen(function* () {
      const store = yield* CounterStore
      const key = `burst:${process.pid}-${Math.random()}`
      const raise = store.raise([{ key, by: 1, limit: 5, ttlMs: 60_000, kind: "burst" }])
      const counted = yield* Effect.all(Array.from({ length: 8 }, () => raise))
      assert.deepStrictEqual(
        counted.map(({ refused }) => refused.length),
        [0, 0, 0, 0, 0, 1, 1, 1]
      )
      assert.deepStrictEqual(
        counted.map(({ counts }) => counts[0]),
        [1, 2, 3, 4, 5, 5, 5, 5]
      )
      const quick = store.raise([{ key: `${key}-quick`, by: 1, limit: 2, ttlMs: 40, kind: "burst" }])
      yield* quick
      yield* quick
      yield* Effect.sleep(45)
      assert.deepStrictEqual((yield* quick).refused, [])
    })
  )
})
