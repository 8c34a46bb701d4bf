/**
 * Messages between replicas over Redis's publish and subscribe, the listening on a connection of its own.
 *
 * @since 0.1.0
 */
import { randomUUID } from "node:crypto"
import { Effect, Layer, type Redacted } from "effect"
import { Broadcast, makeListeners } from "../src/replicas/Broadcast.ts"
import * as RedisConnection from "./RedisConnection.ts"

/** @category models @since 0.1.0 */
export interface RedisBroadcastOptions {
  readonly url: Redacted.Redacted
  /** Between two looks whether the listening connection still answers, in milliseconds. */
  readonly heartbeatMs?: number
}

/** One Redis channel for all of ours: who subscribes later needs no round trip, and a gap is a gap of everything. */
const CHANNEL = "sluice:broadcast"

/** Sender, channel and message, one under the other; a message without a channel says that others were lost. */
const decode = (text: string): { readonly from: string; readonly channel: string; readonly message: string } | null => {
  const [from, channel] = text.split("\n", 2)
  return from === undefined || channel === undefined ? null : { from, channel, message: text.slice(from.length + channel.length + 2) }
}

const make = Effect.fnUntraced(function* (options: RedisBroadcastOptions) {
  const self = randomUUID()
  const listeners = makeListeners()
  const publisher = yield* RedisConnection.connect(options.url)
  const subscriber = yield* RedisConnection.connect(options.url)
  let connected = false
  let unsent = false

  const send = (line: string): void => {
    publisher.publish(CHANNEL, line).catch(() => {
      unsent = true
    })
  }
  // What could not be sent is not kept, but the others learn that they missed something.
  publisher.on("ready", () => {
    if (!unsent) return
    unsent = false
    send(`${self}\n\n`)
  })

  // Subscribed anew by hand, so that the gap is told only when nothing can be missed any more.
  subscriber.on("ready", () => {
    subscriber.subscribe(CHANNEL).then(
      () => {
        connected = true
        listeners.gap()
      },
      () => subscriber.disconnect(true)
    )
  })
  subscriber.on("close", () => {
    connected = false
  })
  subscriber.on("message", (_, text) => {
    const heard = decode(text)
    if (heard === null || heard.from === self) return
    if (heard.channel === "") listeners.gap()
    else listeners.tell(heard.channel, { _tag: "Message", message: heard.message })
  })

  // A connection that died without a word is closed, so that it is made anew.
  const heartbeatMs = options.heartbeatMs ?? 2_000
  const alive = Effect.tryPromise(() => subscriber.ping()).pipe(
    Effect.timeout(heartbeatMs),
    Effect.catch(() => Effect.sync(() => subscriber.disconnect(true)))
  )
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.andThen(
        Effect.sleep(heartbeatMs),
        Effect.suspend(() => (connected ? alive : Effect.void))
      )
    )
  )

  return Broadcast.of({
    publish: (channel, message) =>
      Effect.sync(() => {
        listeners.tell(channel, { _tag: "Message", message })
        send(`${self}\n${channel}\n${message}`)
      }),
    subscribe: listeners.subscribe,
    isConnected: () => connected
  })
})

/** @category layers @since 0.1.0 */
export const layer = (options: RedisBroadcastOptions): Layer.Layer<Broadcast> => Layer.effect(Broadcast, make(options))
