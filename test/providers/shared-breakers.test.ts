/**
 * Circuits that replicas share: over the stores in memory, over a real Redis, and without one.
 */
import { assert, describe, inject, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Redacted, type Scope } from "effect"
import * as RedisBreakers from "../../layers/RedisBreakers.ts"
import * as RedisBroadcast from "../../layers/RedisBroadcast.ts"
import { BreakerStore } from "../../src/providers/BreakerStore.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"
import { eventually } from "../support/server.ts"
import { freePort, startRedis } from "../support/services.ts"

const FAILURES = 3

const quiet = Logger.layer([])

/** A replica of its own. */
const replica = (
  stores: Layer.Layer<BreakerStore | Broadcast>,
  recoveryMs = 300
): Effect.Effect<Breakers["Service"], never, Scope.Scope> => {
  const layer = Layer.fresh(Breakers.layerShared({ failures: FAILURES, recoveryMs })).pipe(Layer.provide(stores), Layer.provideMerge(quiet))
  return Effect.map(Layer.build(layer), (services) => Context.get(services, Breakers))
}

const fail = (breakers: Breakers["Service"], provider: string) =>
  Effect.repeat(
    Effect.flatMap(breakers.permit(provider), (permit) => permit?.tell("failure") ?? Effect.void),
    { times: FAILURES - 1 }
  )

const stateOf = (breakers: Breakers["Service"], provider: string) =>
  Effect.map(breakers.states, (states) => states.find((state) => state.provider === provider)?.state ?? "closed")

const becomes = (breakers: Breakers["Service"], provider: string, state: string) =>
  Effect.promise(() => eventually(async () => assert.strictEqual(await Effect.runPromise(stateOf(breakers, provider)), state)))

const onRedis = (url: string) =>
  Layer.fresh(Layer.mergeAll(RedisBreakers.layer(Redacted.make(url)), RedisBroadcast.layer({ url: Redacted.make(url), heartbeatMs: 200 })))

/** Whether all of them would let a probe through, and mean the same opening by it. */
const agree = (replicas: ReadonlyArray<Breakers["Service"]>, provider: string) =>
  Effect.promise(() =>
    eventually(async () => {
      const all = await Effect.runPromise(Effect.forEach(replicas, (each) => each.states))
      const seen = all.map((states) => states.find((state) => state.provider === provider))
      assert.strictEqual(new Set(seen.map((state) => state?.opened_at)).size, 1)
      for (const state of seen) assert.strictEqual(state?.state, "half_open")
    })
  )

let names = 0
const newProvider = () => `provider-${process.pid}-${names++}`

const contract = (name: string, stores: () => Effect.Effect<() => Layer.Layer<BreakerStore | Broadcast>, never, Scope.Scope>) =>
  describe(name, () => {
    it.live("what one opens the others have open, one that starts later too; what one closes is closed", () =>
      Effect.gen(function* () {
        const of = yield* stores()
        const provider = newProvider()
        const a = yield* replica(of(), 60_000)
        const b = yield* replica(of(), 60_000)
        yield* fail(a, provider)
        yield* becomes(b, provider, "open")
        const late = yield* replica(of(), 60_000)
        yield* becomes(late, provider, "open")
        assert.isNull(yield* late.permit(provider))
        yield* a.reset(provider)
        yield* becomes(b, provider, "closed")
        yield* becomes(late, provider, "closed")
        assert.isNotNull(yield* b.permit(provider))
      }).pipe(Effect.scoped, Effect.provide(quiet))
    )

    it.live("among all of them there is one probe; its success closes everywhere, its failure opens everywhere", () =>
      Effect.gen(function* () {
        const of = yield* stores()
        const provider = newProvider()
        const replicas = [yield* replica(of()), yield* replica(of()), yield* replica(of())] as const
        yield* fail(replicas[0], provider)
        yield* agree(replicas, provider)
        const probe = Effect.forEach([...replicas, ...replicas], (each) => each.permit(provider), { concurrency: "unbounded" })
        const first = (yield* probe).filter((permit) => permit !== null)
        assert.strictEqual(first.length, 1)
        yield* first[0]?.tell("failure") ?? Effect.void
        yield* agree(replicas, provider)
        const second = (yield* probe).filter((permit) => permit !== null)
        assert.strictEqual(second.length, 1)
        yield* second[0]?.tell("success") ?? Effect.void
        for (const each of replicas) yield* becomes(each, provider, "closed")
      }).pipe(Effect.scoped, Effect.provide(quiet))
    )

    it.live("a probe that found nothing out leaves its place to another", () =>
      Effect.gen(function* () {
        const of = yield* stores()
        const provider = newProvider()
        const a = yield* replica(of())
        const b = yield* replica(of())
        yield* fail(a, provider)
        yield* becomes(b, provider, "half_open")
        const probe = yield* a.permit(provider)
        assert.isTrue(probe?.probe)
        yield* probe?.tell("ignored") ?? Effect.void
        assert.isTrue((yield* b.permit(provider))?.probe)
      }).pipe(Effect.scoped, Effect.provide(quiet))
    )
  })

contract("circuits shared in memory", () =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.mergeAll(BreakerStore.layerMemory, Broadcast.layerMemory))),
    (services) => () => Layer.succeedContext(services)
  )
)
contract("circuits shared over Redis", () => Effect.succeed(() => onRedis(inject("redisUrl"))))

describe("circuits without their Redis", () => {
  it.live("each judges alone, and they find together again when it is back, whatever it has lost", () =>
    Effect.gen(function* () {
      const port = yield* Effect.promise(freePort)
      const url = `redis://127.0.0.1:${port}`
      const first = yield* Effect.promise(() => startRedis({ port }))
      const a = yield* replica(onRedis(url))
      const b = yield* replica(onRedis(url))
      yield* Effect.promise(first.stop)
      const provider = newProvider()
      yield* fail(a, provider)
      assert.strictEqual(yield* stateOf(b, provider), "closed")
      yield* becomes(a, provider, "half_open")
      assert.isTrue((yield* a.permit(provider))?.probe)
      const second = yield* Effect.promise(() => startRedis({ port }))
      yield* Effect.promise(() =>
        eventually(async () => assert.notStrictEqual(await Effect.runPromise(stateOf(b, provider)), "closed"), 10_000)
      )
      yield* Effect.promise(second.stop)
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )

  it.live("a replica that starts without Redis serves", () =>
    Effect.gen(function* () {
      const port = yield* Effect.promise(freePort)
      const only = yield* replica(onRedis(`redis://127.0.0.1:${port}`))
      assert.isNotNull(yield* only.permit("anybody"))
    }).pipe(Effect.scoped, Effect.provide(quiet))
  )
})
