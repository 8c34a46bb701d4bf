/**
 * The HTTP server on Node: bounded headers and times, and a shutdown that lets streams end.
 *
 * @since 0.1.0
 */
import { createServer, type Server } from "node:http"
import type { Socket } from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { Lifecycle } from "../src/health/Lifecycle.ts"
import { App } from "../src/http/App.ts"
import * as UploadWatch from "./UploadWatch.ts"

/** @category models @since 0.1.0 */
export interface NodeServerOptions {
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  /** How long running requests may go on after the stop, in milliseconds. */
  readonly shutdownGraceMs: number
}

/** A stop would wait for connections that were opened and never used, as clients keep them ready: Node does not count them as idle. */
const closeUnused = (server: Server): void => {
  const unused = new Set<Socket>()
  server.on("connection", (socket) => {
    // One that was waiting to be accepted when the stop began is as unused.
    if (!server.listening) return void socket.destroy()
    unused.add(socket)
    socket.once("close", () => unused.delete(socket))
  })
  server.on("request", (request) => unused.delete(request.socket))
  const close = server.close.bind(server)
  server.close = (done) => {
    for (const socket of unused) if (socket.bytesRead === 0) socket.destroy()
    return close(done)
  }
}

const make = () => {
  const server = createServer({
    maxHeaderSize: 16 * 1_024,
    headersTimeout: 10_000,
    // Uploads may take longer as long as they move: see UploadWatch.
    requestTimeout: 0,
    keepAliveTimeout: 75_000,
    connectionsCheckingInterval: 2_000
  })
  UploadWatch.watch(server)
  closeUnused(server)
  server.on("request", (_, response) => {
    response.on("close", () => {
      // A connection that falls idle while the server stops would hold the stop until it times out.
      if (!server.listening) setImmediate(() => server.closeIdleConnections())
    })
  })
  return server
}

/** Listens. @category layers @since 0.1.0 */
export const listen = (options: NodeServerOptions) =>
  NodeHttpServer.layer(make, { host: options.host, port: options.port, gracefulShutdownTimeout: options.shutdownGraceMs })

/**
 * Serves the app. Closing first stops admitting, then waits for running requests as long as the grace, then cuts them.
 *
 * @category layers
 * @since 0.1.0
 */
export const serve = Layer.effectDiscard(
  Effect.gen(function* () {
    const app = yield* App
    const lifecycle = yield* Lifecycle
    yield* HttpServer.serveEffect(app)
    yield* lifecycle.set("ready")
    yield* Effect.addFinalizer(() => lifecycle.set("draining"))
  })
)
