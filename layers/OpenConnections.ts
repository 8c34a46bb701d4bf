/**
 * The connections of a server that stops: each ends with the answer that is under way on it, and none that is idle is waited for.
 *
 * @since 0.1.0
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import { Socket, Server as TcpServer } from "node:net"
import type { Duplex } from "node:stream"
import { GivenServer } from "./GivenServer.ts"

/** @category models @since 0.1.0 */
export interface OpenConnections {
  /** From now on every answer tells its caller that the connection ends with it. */
  readonly leave: () => void
  /** The latest answer on a connection, as long as it is of interest. */
  readonly answering: (socket: Duplex) => ServerResponse | null
}

/** A connection with the latest answer on it: those before it have ended when that has, so that a request costs no more than to note it. */
interface Connection {
  last: ServerResponse | null
}

const isIdle = (connection: Connection | undefined): boolean => connection !== undefined && connection.last?.closed !== false

/** How often answers that have ended are forgotten. */
const FORGET_EVERY = 5_000

const forget = (connection: Connection): void => {
  if (isIdle(connection)) connection.last = null
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
  const open = new Map<Socket, Connection>()
  let isLeaving = false
  let isClosing = false

  const endIfIdle = (socket: Socket): void => {
    if (isIdle(open.get(socket))) socket.destroySoon()
  }
  server.on("connection", (socket) => {
    open.set(socket, { last: null })
    socket.once("close", () => open.delete(socket))
  })
  /** It would hold the stop until it times out. */
  const follow = (socket: Socket, response: ServerResponse): void => {
    response.once("close", () => setTimeout(endIfIdle, lingerMs, socket))
  }
  const begin = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = open.get(request.socket)
    if (connection !== undefined) connection.last = response
    if (isLeaving) response.shouldKeepAlive = false
    if (isClosing) follow(request.socket, response)
  }
  server.on("request", begin)
  server.on("checkContinue", begin)
  const sweep = setInterval(() => open.forEach(forget), FORGET_EVERY)
  sweep.unref()
  server.once("close", () => clearInterval(sweep))

  const close = (server instanceof GivenServer ? server : TcpServer.prototype).close.bind(server)
  server.close = (done) => {
    isClosing = true
    for (const [socket, { last }] of open) if (last?.closed === false) follow(socket, last)
    setTimeout(() => {
      for (const socket of open.keys()) endIfIdle(socket)
    }, lingerMs)
    close(done)
    return server
  }
  return {
    leave: () => {
      isLeaving = true
      for (const { last } of open.values()) if (last !== null) last.shouldKeepAlive = false
    },
    answering: (socket) => (socket instanceof Socket && open.get(socket)?.last) || null
  }
}
