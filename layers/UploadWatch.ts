/**
 * How long a caller may take to send a request: a while, and longer only as long as the upload keeps moving.
 *
 * Node's own `requestTimeout` cuts an upload that moves, too; here one look at all connections now and then does, so that
 * a request costs no timer.
 *
 * @since 0.1.0
 */
import type { IncomingMessage, Server } from "node:http"
import type { Socket } from "node:net"
import { answerOn, requestOn } from "./Underway.ts"
import { endLate } from "./UnreadRequests.ts"

/** Times are milliseconds. @category models @since 0.1.0 */
export interface UploadBounds {
  /** A request has this long without being asked how fast it comes. */
  readonly withinMs: number
  /** How often it is looked at. */
  readonly everyMs: number
  /** Bytes that must have come between two looks once that time is over. */
  readonly leastBytes: number
}

/** 300 seconds, then at least 2 KiB a second. @category models @since 0.1.0 */
export const usual: UploadBounds = { withinMs: 300_000, everyMs: 5_000, leastBytes: 10 * 1_024 }

/** What was seen of a connection at the look before. */
interface Watched {
  seen: IncomingMessage | null
  since: number
  bytes: number
}

/** Cuts a request that is late and does not move, or that nobody reads any more. */
const look = (socket: Socket, watched: Watched, bounds: UploadBounds, now: number): void => {
  const request = requestOn(socket)
  if (request === null || request.complete) {
    watched.seen = null
    return
  }
  const moved = socket.bytesRead - watched.bytes
  watched.bytes = socket.bytesRead
  if (watched.seen !== request) {
    watched.seen = request
    watched.since = now
    return
  }
  const response = answerOn(socket)
  const isAnswered = response === null || response.writableEnded
  if (now - watched.since < bounds.withinMs || (moved >= bounds.leastBytes && !isAnswered)) return
  // An answer that has begun cannot be followed by another.
  if (response?.headersSent === false && socket.writable) endLate(socket)
  else socket.destroySoon()
}

/** Cuts requests that take longer than the bounds allow, until the server closes. @category constructors @since 0.1.0 */
export const watch = (server: Server, bounds: UploadBounds = usual): void => {
  const connections = new Map<Socket, Watched>()
  server.on("connection", (socket: Socket) => {
    connections.set(socket, { seen: null, since: 0, bytes: 0 })
    socket.once("close", () => connections.delete(socket))
  })
  const timer = setInterval(() => {
    const now = performance.now()
    for (const [socket, watched] of connections) look(socket, watched, bounds, now)
  }, bounds.everyMs)
  timer.unref()
  server.once("close", () => clearInterval(timer))
}
