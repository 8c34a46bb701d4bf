/**
 * The connections of a server that stops: each ends with the answer that is under way on it, and none that is idle is waited for.
 *
 * @since 0.1.0
 */
import type { Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"

/**
 * Milliseconds that a caller whose stream ended during the stop has to send his next request: he was promised, before the stop,
 * that the connection stays open.
 */
const LINGER = 100

/** @category models @since 0.1.0 */
export interface OpenConnections {
  /** From now on every answer tells its caller that the connection ends with it. */
  readonly leave: () => void
}

/**
 * Watches a server's connections until it closes.
 *
 * **Gotchas**: Node does not count a connection as idle that was opened and never used, as clients keep them ready.
 *
 * @category constructors
 * @since 0.1.0
 */
export const watch = (server: Server): OpenConnections => {
  const unused = new Set<Socket>()
  const running = new Set<ServerResponse>()
  let isLeaving = false

  server.on("connection", (socket) => {
    // One that was waiting to be accepted when the server closed is as unused.
    if (!server.listening) return void socket.destroy()
    unused.add(socket)
    socket.once("close", () => unused.delete(socket))
  })
  const begin = (socket: Socket, response: ServerResponse): void => {
    unused.delete(socket)
    running.add(response)
    if (isLeaving) response.shouldKeepAlive = false
    response.on("close", () => {
      running.delete(response)
      // A connection that falls idle after the server closed would hold it until it times out.
      if (!server.listening) setTimeout(() => server.closeIdleConnections(), LINGER)
    })
  }
  server.on("request", (request, response) => begin(request.socket, response))
  server.on("checkContinue", (request, response) => begin(request.socket, response))

  const close = server.close.bind(server)
  server.close = (done) => {
    for (const socket of unused) if (socket.bytesRead === 0) socket.destroy()
    return close(done)
  }
  return {
    leave: () => {
      isLeaving = true
      for (const response of running) response.shouldKeepAlive = false
    }
  }
}
