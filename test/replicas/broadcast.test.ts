/**
 * One contract, in one process and over a real Redis; and what Redis's absence does.
 */
import { assert, describe, inject, it } from "@effect/vitest"
import { Effect, Layer, Queue, Redacted } from "effect"
import * as RedisBroadcast from "../../layers/RedisBroadcast.ts"
import { Broadcast, type Heard, makeListeners } from "../../src/replicas/Broadcast.ts"
import { eventually } from "../support/server.ts"
import { freePort, startRedis } from "../support/services.ts"

const hear = Effect.fnUntraced(function* (channel: string) {
  const broadcast = yield* Broadcast
  const heard = yield* Queue.unbounded<Heard>()
  yield* broadcast.subscribe(channel, (event) => Effect.asVoid(Queue.offer(heard, event)))
  return heard
})

/** The next message; gaps are passed over. */
const nextMessage = (heard: Queue.Queue<Heard>): Effect.Effect<string> =>
  Effect.flatMap(Queue.take(heard), (event) => (event._tag === "Message" ? Effect.succeed(event.message) : nextMessage(heard)))

const untilGap = (heard: Queue.Queue<Heard>): Effect.Effect<void> =>
  Effect.flatMap(Queue.take(heard), (event) => (event._tag === "Gap" ? Effect.void : untilGap(heard)))

const connected = (broadcast: Broadcast["Service"], is = true) =>
  Effect.promise(() => eventually(() => assert.strictEqual(broadcast.isConnected(), is)))

const contract = (name: string, layer: () => Layer.Layer<Broadcast>) =>
  describe(name, () => {
    it.live("whoever listens to a channel hears its messages in order, and no other's; a listener that fails hears the next", () =>
      Effect.gen(function* () {
        const broadcast = yield* Broadcast
        const a = yield* hear("a")
        const b = yield* hear("b")
        yield* broadcast.subscribe("a", () => Effect.die(new Error("a listener that breaks")))
        yield* broadcast.publish("a", "1")
        yield* broadcast.publish("b", "line\nbreak")
        yield* broadcast.publish("a", "2")
        assert.strictEqual(yield* nextMessage(a), "1")
        assert.strictEqual(yield* nextMessage(a), "2")
        assert.strictEqual(yield* nextMessage(b), "line\nbreak")
      }).pipe(Effect.scoped, Effect.provide(layer()))
    )

    it.live("nothing is heard once the Scope has closed", () =>
      Effect.gen(function* () {
        const broadcast = yield* Broadcast
        const closed = yield* Effect.scoped(hear("a"))
        const open = yield* hear("a")
        yield* broadcast.publish("a", "late")
        assert.strictEqual(yield* nextMessage(open), "late")
        assert.notInclude(
          (yield* Queue.clear(closed)).map((event) => event._tag),
          "Message"
        )
      }).pipe(Effect.scoped, Effect.provide(layer()))
    )
  })

contract("messages in one process", () => Broadcast.layerMemory)
contract("messages over Redis, as one replica hears them", () => RedisBroadcast.layer({ url: Redacted.make(inject("redisUrl")) }))

describe("messages between replicas", () => {
  const replica = (url: string) => Layer.build(RedisBroadcast.layer({ url: Redacted.make(url), heartbeatMs: 200 }))

  it.live("each replica hears the other's, and its own once; a Redis that comes back is told as a gap", () =>
    Effect.gen(function* () {
      const port = yield* Effect.promise(freePort)
      const first = yield* Effect.promise(() => startRedis({ port }))
      const [left, right] = yield* Effect.all([replica(first.url), replica(first.url)])
      const inLeft = Effect.provide(Broadcast, left)
      const inRight = Effect.provide(Broadcast, right)
      yield* connected(yield* inLeft)
      yield* connected(yield* inRight)
      const heardLeft = yield* Effect.provide(hear("a"), left)
      const heardRight = yield* Effect.provide(hear("a"), right)
      yield* (yield* inLeft).publish("a", "from the left")
      assert.strictEqual(yield* nextMessage(heardRight), "from the left")
      yield* (yield* inRight).publish("a", "from the right")
      assert.strictEqual(yield* nextMessage(heardLeft), "from the left")
      assert.strictEqual(yield* nextMessage(heardLeft), "from the right")
      assert.strictEqual(yield* nextMessage(heardRight), "from the right")

      yield* Effect.promise(first.stop)
      yield* connected(yield* inLeft, false)
      yield* (yield* inLeft).publish("a", "heard here only")
      assert.strictEqual(yield* nextMessage(heardLeft), "heard here only")
      const second = yield* Effect.promise(() => startRedis({ port }))
      yield* untilGap(heardLeft)
      yield* untilGap(heardRight)
      yield* connected(yield* inLeft)
      // The sending connection comes back at a moment of its own.
      const again = Effect.andThen((yield* inLeft).publish("a", "again"), Effect.sleep(20))
      assert.strictEqual(yield* Effect.raceFirst(nextMessage(heardRight), Effect.forever(again)), "again")
      yield* Effect.promise(second.stop)
    }).pipe(Effect.scoped)
  )

  it.effect("a listener that falls far behind hears of a gap instead of everything", () =>
    Effect.gen(function* () {
      const listeners = makeListeners()
      const heard: Array<Heard> = []
      yield* listeners.subscribe("a", (event) => Effect.sync(() => heard.push(event)))
      for (let i = 0; i < 5_000; i++) listeners.tell("a", { _tag: "Message", message: String(i) })
      yield* Effect.yieldNow
      while (heard.at(-1)?._tag !== "Message" || JSON.stringify(heard.at(-1)) !== '{"_tag":"Message","message":"4999"}')
        yield* Effect.yieldNow
      assert.deepStrictEqual(heard[0], { _tag: "Gap" })
      assert.isBelow(heard.length, 4_097)
    }).pipe(Effect.scoped)
  )
})
