import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { HttpServerRequest } from "effect/http"
import * as NodeCrypto from "../../layers/NodeCrypto.ts"
import * as PGlite from "../../layers/PGlite.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { customer } from "../../src/http/Access.ts"
import { IpGate } from "../../src/http/IpGate.ts"
import { TrustedProxies } from "../../src/http/RequestContext.ts"
import { AuthCache } from "../../src/identity/AuthCache.ts"
import { Identity } from "../../src/identity/Identity.ts"
import { CounterStore } from "../../src/limits/CounterStore.ts"
import { IpLimits } from "../../src/limits/IpLimits.ts"
import { VelocityMode } from "../../src/limits/VelocityMode.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"

/** Counts how often the database was asked for a key: what it says is remembered each time. */
class Lookups extends Context.Service<Lookups, { count: number }>()("test/Lookups") {
  static readonly layer = Layer.sync(this, () => ({ count: 0 }))
}
const countingCache = Layer.effect(
  AuthCache,
  Effect.gen(function* () {
    const cache = yield* AuthCache
    const lookups = yield* Lookups
    return AuthCache.of({
      ...cache,
      set: (hash, record, generation) => {
        lookups.count++
        return cache.set(hash, record, generation)
      }
    })
  })
).pipe(Layer.provide(AuthCache.layer.pipe(Layer.provide(Broadcast.layerMemory))), Layer.provideMerge(Lookups.layer))

const LIMIT = 10
const house = Layer.mergeAll(
  Identity.layer({ adminKey: Redacted.make("admin") }),
  IpGate.layer.pipe(
    Layer.provide(IpLimits.layer({ perMinute: LIMIT })),
    Layer.provide([VelocityMode.layer, CounterStore.layerMemory({ size: 1_000 })])
  )
).pipe(
  Layer.provideMerge(Layer.mergeAll(countingCache, NodeCrypto.layer(Redacted.make("sixteen characters")))),
  Layer.provideMerge(Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null))))
)

let made = 0
const knock = (address: string) =>
  Effect.gen(function* () {
    const key = `gw_test_${String(made++).padStart(43, "A")}`
    const request = HttpServerRequest.fromWeb(
      new Request("http://sluice/v1/credits", { headers: { authorization: `Bearer ${key}`, "x-forwarded-for": address } })
    )
    const error = yield* Effect.flip(customer(yield* Identity, request))
    return error.status
  }).pipe(Effect.provideService(TrustedProxies, 1))

layer(house, { excludeTestServices: true, timeout: 60_000 })("before a key is looked up", (it) => {
  it.effect("CM-2.1.3 an address over its limit has no key looked up, however many come at once", () =>
    Effect.gen(function* () {
      const lookups = yield* Lookups
      // Not across the end of a minute.
      const left = 60_000 - (Date.now() % 60_000)
      if (left < 2_000) yield* Effect.sleep(left)
      const statuses = yield* Effect.all(
        Array.from({ length: 50 }, () => knock("192.0.2.1")),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(statuses.filter((status) => status === 401).length, LIMIT)
      assert.strictEqual(statuses.filter((status) => status === 429).length, 40)
      assert.strictEqual(lookups.count, LIMIT)
      assert.strictEqual(yield* knock("192.0.2.1"), 429)
      assert.strictEqual(lookups.count, LIMIT)
      assert.strictEqual(yield* knock("192.0.2.2"), 401)
      assert.strictEqual(lookups.count, LIMIT + 1)
    })
  )
})
