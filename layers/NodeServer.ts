/**
 * The HTTP server on Node: bounded headers and times, and a stop that lets streams end.
 *
 * @since 0.1.0
 */
import { createServer, type Server } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Data, Deferred, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { Lifecycle } from "../src/health/Lifecycle.ts"
import { App } from "../src/http/App.ts"
import type { CreateServer } from "./GivenServer.ts"
import * as NodeResponses from "./NodeResponses.ts"
import * as OpenConnections from "./OpenConnections.ts"
import * as RequestScopes from "./RequestScopes.ts"
import * as UnreadRequests from "./UnreadRequests.ts"
import * as UploadWatch from "./UploadWatch.ts"

/** Times are milliseconds. @category models @since 0.1.0 */
export interface NodeServerOptions {
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
  /** How long connections are still taken after the stop, so that whoever asks for readiness has time to turn elsewhere. */
  readonly shutdownDelayMs: number
  /** How long running requests may go on after that. */
  readonly shutdownGraceMs: number
  /** Ends the wait for running requests before its time. */
  readonly hurry?: Effect.Effect<void>
  /** Where the connections come from; one listening socket of this server's own, where that is not said. */
  readonly create?: CreateServer
  /** Gives the address free, the moment before it is taken. */
  readonly beforeListening?: Effect.Effect<void>
}

/** The address is taken, or is not of this machine. @category errors @since 0.1.0 */
export class CannotListen extends Data.TaggedError("CannotListen")<{ readonly message: string }> {}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** @category errors @since 0.1.0 */
export const cannotListen =
  (host: string, port: number) =>
  ({ cause }: { readonly cause: unknown }): CannotListen =>
    new CannotListen({ message: `The server cannot listen on ${host}, port ${port}: ${messageOf(cause)}. Choose another HOST or PORT.` })

/** How long a connection that is idle when the server closes is kept, at most, where nobody has to be gone at once. */
const LINGER = 250

/** How long the last words of connections that are cut may take. */
const LAST = 1_000

const make = (create: CreateServer) => {
  const server = create({
    maxHeaderSize: 16 * 1_024,
    headersTimeout: 10_000,
    // Uploads may take longer as long as they move: see UploadWatch.
    requestTimeout: 0,
    keepAliveTimeout: 75_000,
    connectionsCheckingInterval: 500
  })
  UploadWatch.watch(server)
  return server
}

/** Stops taking connections, and waits until the last has ended. */
const close = Effect.fnUntraced(function* (server: Server) {
  const closed = yield* Deferred.make<void>()
  server.close(() => Deferred.doneUnsafe(closed, Effect.void))
  return Deferred.await(closed)
})

/**
 * Serves the app. A stop first says that the server is not ready, then takes no more connections and waits for running
 * requests as long as the grace, then cuts them.
 *
 * **Gotchas**: listens only when the app stands, so that nobody who comes early is left without an answer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: NodeServerOptions) =>
  Layer.effect(
    HttpServer.HttpServer,
    Effect.gen(function* () {
      const app = yield* App
      const lifecycle = yield* Lifecycle
      const node = make(options.create ?? createServer)
      const { hurry = Effect.never, shutdownDelayMs, shutdownGraceMs } = options
      const connections = OpenConnections.watch(node, Math.min(shutdownDelayMs, LINGER))
      UnreadRequests.answer(node)
      const atMost = (effect: Effect.Effect<void>, ms: number) => Effect.raceFirst(effect, Effect.raceFirst(Effect.sleep(ms), hurry))

      const { beforeListening = Effect.void, host, port } = options
      yield* beforeListening
      const server = yield* Effect.mapError(
        NodeHttpServer.make(() => node, { host, port, disablePreemptiveShutdown: true }),
        cannotListen(host, port)
      )
      let closed: Effect.Effect<void> = Effect.void
      // When every request has ended or was cut, and before the server waits for its connections.
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          Effect.raceFirst(closed, Effect.sleep(LAST)),
          Effect.sync(() => node.closeAllConnections())
        )
      )
      yield* Effect.provideService(HttpServer.serveEffect(NodeResponses.written(app)), HttpServer.HttpServer, server)
      RequestScopes.keepYoung(node, yield* Effect.scope)
      yield* lifecycle.set("ready")
      yield* Effect.addFinalizer(
        Effect.fnUntraced(function* () {
          yield* lifecycle.set("draining")
          connections.leave()
          yield* atMost(Effect.never, shutdownDelayMs)
          closed = yield* close(node)
          yield* atMost(closed, shutdownGraceMs)
          yield* lifecycle.set("stopped")
        })
      )
      return server
    })
  )
