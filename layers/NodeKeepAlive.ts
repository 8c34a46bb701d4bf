/**
 * Signs of life on Node's own responses: one timer looks at all open streams, so that a chunk costs nothing. And the last word
 * on those that a stop cuts.
 *
 * @since 0.1.0
 */
import type { ServerResponse } from "node:http"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { Context, Effect, Layer, Scope } from "effect"
import { Lifecycle } from "../src/health/Lifecycle.ts"
import { KeepAlive } from "../src/http/KeepAlive.ts"
import { YoungSet } from "./YoungSet.ts"

interface Watched {
  readonly response: ServerResponse
  readonly sign: string
  readonly cut: () => string
  written: number
  silentLooks: number
}

/** Looks in the time after which a sign is written. */
const LOOKS = 2

/**
 * Every piece of a stream is whole events, so a sign between two writes never cuts one. A caller who does not read gets none.
 */
const look = (watched: Watched): void => {
  const { response } = watched
  const written = response.socket?.bytesWritten ?? 0
  if (written !== watched.written) {
    watched.written = written
    watched.silentLooks = 0
    return
  }
  watched.silentLooks++
  if (watched.silentLooks < LOOKS || !response.headersSent || response.writableEnded || response.writableNeedDrain) return
  watched.silentLooks = 0
  response.write(watched.sign)
}

/** Ends a stream before its time, and says so. */
const cutShort = ({ cut, response }: Watched): void => {
  if (!response.headersSent || response.writableEnded) return
  // Whoever writes the stream may not have heard yet that it is over.
  response.on("error", () => {})
  response.end(cut())
}

/** `silenceMs`: about how long a stream may be silent. @category layers @since 0.1.0 */
export const layer = (silenceMs: number) =>
  Layer.effect(
    KeepAlive,
    Effect.gen(function* () {
      const lifecycle = yield* Lifecycle
      const open = new YoungSet<Watched>()
      const timer = yield* Effect.acquireRelease(
        Effect.sync(() => setInterval(() => open.forEach(look), Math.max(1, silenceMs / LOOKS))),
        (interval) => Effect.sync(() => clearInterval(interval))
      )
      timer.unref()
      yield* Effect.acquireRelease(
        Effect.sync(() => lifecycle.onStopped(() => open.forEach(cutShort))),
        (forget) => Effect.sync(forget)
      )
      const watch: KeepAlive["watch"] = (request, sign, cut) =>
        Effect.contextWith((context: Context.Context<Scope.Scope>) => {
          const response = NodeHttpServerRequest.toServerResponse(request)
          if (!("writableNeedDrain" in response) || !("socket" in response) || "stream" in response) return Effect.void
          const watched: Watched = { response, sign, cut, written: 0, silentLooks: 0 }
          open.add(watched)
          return Scope.addFinalizerExit(Context.get(context, Scope.Scope), () => {
            open.delete(watched)
            return Effect.void
          })
        })
      return { watch }
    })
  )
