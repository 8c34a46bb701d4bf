/**
 * The connections of a server that stops: each ends with the answer that is under way on it, and none that is idle is waited for.
 *
 * @since 0.1.0
 */
import type { Server, ServerResponse } from "node:http"
import { type Socket, Server as TcpServer } from "node:net"

/** @category models @since 0.1.0 */
export interface OpenConnections {
  /** From now on every answer tells its caller that the connection ends with it. */
  readonly leave: () => void
}

/**
 * Watches a server's connections until it closes. `lingerMs`: how long a caller has to send a request on a connection that was
 * open when the server closed; he may have been about to, and was promised that it stays open.
 *
 * **Gotchas**: Node would cut idle connections at once, even if a request is on its way on one, and would wait for those that
 * were opened and never used, as clients keep them ready.
 *
 * @category constructors
 * @since 0.1.0
 */
export const watch = (server: Server, lingerMs: number): OpenConnections => {
  /** Every connection, with the answers that are under way on it. */
  const open = new Map<Socket, Set<ServerResponse>>()
  let isLeaving = false

  const endIfIdle = (socket: Socket): void => {
    if (open.get(socket)?.size === 0) socket.destroySoon()
  }
  server.on("connection", (socket) => {
    open.set(socket, new Set())
    socket.once("close", () => open.delete(socket))
  })
  const begin = (socket: Socket, response: ServerResponse): void => {
    const running = open.get(socket)
    running?.add(response)
    if (isLeaving) response.shouldKeepAlive = false
    response.on("close", () => {
      running?.delete(response)
      // It would hold the stop until it times out.
      if (!server.listening) setTimeout(endIfIdle, lingerMs, socket)
    })
  }
  server.on("request", (request, response) => begin(request.socket, response))
  server.on("checkContinue", (request, response) => begin(request.socket, response))

  const close = TcpServer.prototype.close.bind(server)
  server.close = (done) => {
    setTimeout(() => {
      for (const socket of open.keys()) endIfIdle(socket)
    }, lingerMs)
    close(done)
    return server
  }
  return {
    leave: () => {
      isLeaving = true
      for (const running of open.values()) for (const response of running) response.shouldKeepAlive = false
    }
  }
}
