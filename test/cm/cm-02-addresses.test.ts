import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import type { Caller } from "../../schemas/Account.ts"
import { plans } from "../../schemas/Plan.ts"
import { limitHeaders } from "../../src/http/LimitHeaders.ts"
import { countedAddress } from "../../src/http/RequestContext.ts"
import { CounterStore } from "../../src/limits/CounterStore.ts"
import { IpLimits } from "../../src/limits/IpLimits.ts"
import { KeyLimits } from "../../src/limits/KeyLimits.ts"
import { VelocityMode } from "../../src/limits/VelocityMode.ts"
import { admit } from "../support/limits.ts"

const limits = (perMinute: number | null) =>
  Layer.mergeAll(IpLimits.layer({ perMinute }), KeyLimits.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(VelocityMode.layer, CounterStore.layerMemory({ size: 10_000 })))
  )

/** How many of so many requests came in. */
const entered = Effect.fnUntraced(function* (address: string, times: number) {
  const ips = yield* IpLimits
  let count = 0
  for (let i = 0; i < times; i++) if (!(yield* Effect.isFailure(ips.enter(address)))) count++
  return count
})

const caller = (plan: Caller["plan"], more: Partial<Caller> = {}): Caller => ({
  accountId: "a",
  keyId: `key-${plan}-${more.role ?? "dev"}`,
  role: "dev",
  plan,
  limits: { ...plans[plan].limits, concurrency: "none", burst: "none", tokensPerMinute: "none" },
  trialEndsAt: null,
  scopes: ["*"],
  maxRequests: null,
  cache: null,
  ...more
})

const admitted = Effect.fnUntraced(function* (who: Caller, times: number) {
  let count = 0
  for (let i = 0; i < times; i++) if ((yield* Effect.scoped(admit(who))).refused === null) count++
  return count
})

describe("limits by address", () => {
  it.effect("CM-2.1.1 CM-2.1.2 an address may send so many a minute and no more, told until when; others are not touched", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust(20_000)
      assert.strictEqual(yield* entered("a", 300), 300)
      const refused = yield* Effect.flip(Effect.flatMap(IpLimits, (ips) => ips.enter("a")))
      assert.deepInclude(refused, { _tag: "SecurityLimit", limit: 300, retryAfterMs: 40_000 })
      assert.strictEqual(yield* entered("b", 1), 1)
      yield* TestClock.adjust(40_000)
      assert.strictEqual(yield* entered("a", 301), 300)
    }).pipe(Effect.provide(limits(300)))
  )

  it.effect("no limit is no limit", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* entered("a", 1_000), 1_000)
    }).pipe(Effect.provide(limits(null)))
  )

  it.effect("CM-2.1.4 an address that sends five minutes' worth within ten seconds is held back for three minutes; only it", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* entered("a", 500), 100)
      yield* TestClock.adjust(60_000)
      assert.strictEqual(yield* entered("a", 100), 50)
      assert.strictEqual(yield* entered("b", 100), 100)
      yield* TestClock.adjust(120_000)
      assert.strictEqual(yield* entered("a", 101), 100)
    }).pipe(Effect.provide(limits(100)))
  )

  it("an address of version 6 counts by its /64, a mapped one as what it maps", () => {
    assert.strictEqual(countedAddress("2001:db8:1:2:3::4"), countedAddress("2001:db8:1:2:ffff::1"))
    assert.notStrictEqual(countedAddress("2001:db8:1:2::1"), countedAddress("2001:db8:1:3::1"))
    assert.strictEqual(countedAddress("::ffff:192.0.2.1"), countedAddress("192.0.2.1"))
    assert.notStrictEqual(countedAddress("192.0.2.1"), countedAddress("192.0.2.2"))
    assert.strictEqual(countedAddress("fe80::1%eth0"), countedAddress("fe80::2"))
    assert.strictEqual(countedAddress("nonsense"), countedAddress(null))
  })
})

const observe = Effect.fnUntraced(function* (total: number, failed: number) {
  const mode = yield* VelocityMode
  for (let i = 0; i < total; i++) yield* mode.observe(i >= total - failed)
})

describe("velocity mode", () => {
  it.effect("CM-2.1.4 a burst of which a quarter fails turns it on, limits shrink by plan, and the cool-down ends it", () =>
    Effect.gen(function* () {
      const gauge = Metric.gauge("sluice_velocity_mode_active", { description: "1 while velocity mode is on" })
      const rates = Effect.all([
        admitted(caller("trial"), 100),
        admitted(caller("dev"), 400),
        admitted(caller("team"), 400),
        admitted(caller("enterprise"), 1_100),
        admitted(caller("trial", { role: "admin" }), 100)
      ])
      assert.deepStrictEqual(yield* rates, [60, 250, 300, 1_000, 60])
      yield* TestClock.adjust(60_000)
      yield* observe(100, 25)
      assert.deepStrictEqual(yield* rates, [30, 187, 270, 1_000, 60])
      assert.strictEqual((yield* Metric.value(gauge)).value, 1)
      const { view } = yield* Effect.scoped(admit(caller("dev", { keyId: "headers" })))
      assert.deepInclude(limitHeaders(view, 60_000), {
        "x-ratelimit-mode": "velocity",
        "x-velocity-mode-active": "true",
        "x-velocity-mode-until": "240",
        "x-velocity-mode-multiplier": "0.75",
        "x-ratelimit-limit": "187"
      })
      assert.strictEqual(yield* entered("somebody", 400), 150)
      yield* TestClock.adjust(180_000)
      assert.deepStrictEqual(yield* rates, [60, 250, 300, 1_000, 60])
      assert.strictEqual((yield* Metric.value(gauge)).value, 0)
      assert.strictEqual(yield* entered("somebody", 400), 300)
    }).pipe(Effect.provide(limits(300)))
  )

  it.effect("fewer than a hundred requests, fewer than a quarter, or longer than a minute ago do not", () =>
    Effect.gen(function* () {
      const mode = yield* VelocityMode
      const isOn = (now: number) => mode.of(null, now) !== null
      yield* observe(99, 99)
      assert.isFalse(isOn(0))
      yield* TestClock.adjust(60_000)
      // What failed a minute ago is forgotten.
      yield* observe(200, 49)
      assert.isFalse(isOn(60_000))
      yield* TestClock.adjust(30_000)
      yield* observe(1, 1)
      assert.isFalse(isOn(90_000))
      yield* observe(1, 1)
      assert.isTrue(isOn(90_000))
    }).pipe(Effect.provide(limits(300)))
  )

  it.effect("a limit shrinks to one at least, and what was bought for a day or a month does not shrink", () =>
    Effect.gen(function* () {
      yield* observe(100, 100)
      const base = caller("trial")
      const low = { ...base, keyId: "low", limits: { ...base.limits, rpm: 1 } }
      assert.strictEqual(yield* admitted(low, 5), 1)
      const daily = { ...base, keyId: "daily", limits: { ...base.limits, rpm: "none" as const, requestsPerDay: 20 } }
      assert.strictEqual(yield* admitted(daily, 30), 20)
    }).pipe(Effect.provide(limits(300)))
  )
})
