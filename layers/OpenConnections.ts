/**
 * The connections of a server that stops: each ends with the answer that is under way on it, and none that is idle is waited for.
 *
 * @since 0.1.0
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import { type Socket, Server as TcpServer } from "node:net"
import { GivenServer } from "./GivenServer.ts"
import { answerOn } from "./Underway.ts"

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
  const open = new Set<Socket>()
  let isLeaving = false
  let isClosing = false

  const endIfIdle = (socket: Socket): void => {
    if (open.has(socket) && answerOn(socket) === null) socket.destroySoon()
  }
  server.on("connection", (socket) => {
    open.add(socket)
    socket.once("close", () => open.delete(socket))
  })
  /** It would hold the stop until it times out. */
  const follow = (socket: Socket, response: ServerResponse): void => {
    response.once("close", () => setTimeout(endIfIdle, lingerMs, socket))
  }
  const begin = (request: IncomingMessage, response: ServerResponse): void => {
    if (isLeaving) response.shouldKeepAlive = false
    if (isClosing) follow(request.socket, response)
  }
  server.on("request", begin)
  server.on("checkContinue", begin)

  const close = (server instanceof GivenServer ? server : TcpServer.prototype).close.bind(server)
  server.close = (done) => {
    isClosing = true
    for (const socket of open) {
      const answer = answerOn(socket)
      if (answer !== null) follow(socket, answer)
    }
    setTimeout(() => {
      for (const socket of open) endIfIdle(socket)
    }, lingerMs)
    close(done)
    return server
  }
  return {
    leave: () => {
      isLeaving = true
      for (const socket of open) {
        const answer = answerOn(socket)
        if (answer !== null) answer.shouldKeepAlive = false
      }
    }
  }
}
