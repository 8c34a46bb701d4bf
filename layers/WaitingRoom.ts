/**
 * A server whose database is not there yet: alive, not ready, and saying what it waits for, until it is.
 *
 * @since 0.1.0
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Clock, Effect, Exit, Random, Scope } from "effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as AnthropicError from "../src/http/AnthropicError.ts"
import { VERSION } from "../src/http/ApiDescription.ts"
import * as ApiError from "../src/http/ApiError.ts"
import type { CreateServer } from "./GivenServer.ts"
import { type CannotListen, cannotListen } from "./NodeServer.ts"

/** Why a server cannot be built yet: for the log, and for whoever may ask. @category models @since 0.1.0 */
export interface WaitingReason {
  readonly logged: string
  readonly shown: string
}

/** @category models @since 0.1.0 */
export interface WaitingOptions<E, R> {
  readonly host: string
  /** 0 picks a free port, which the server has then too. */
  readonly port: number
  readonly create: CreateServer
  /** Runs the server on the port for ever; `leave` has to be called the moment before the port is taken. */
  readonly launch: (port: number, leave: Effect.Effect<void>) => Effect.Effect<never, E, R>
  /** Why a failure is waited out; null where waiting does not help. */
  readonly reasonOf: (error: E) => WaitingReason | null
}

/** Milliseconds from one try to the next: the first, and at most. */
const FIRST_PAUSE = 250
const LONGEST_PAUSE = 5_000
/** How often the same reason is told, in milliseconds. */
const AGAIN = 60_000

const unavailable = ApiError.make(503, "SERVICE_UNAVAILABLE", "The server is starting: it waits for its database. Try again shortly.", {
  retryAfterMs: LONGEST_PAUSE
})

/** What is answered meanwhile; the same paths and shapes as ever. */
const answer = (reason: () => string) =>
  Effect.gen(function* () {
    const { url } = yield* HttpServerRequest.HttpServerRequest
    const [path = ""] = url.split("?")
    const waiting = `waiting for the database: ${reason()}`
    if (path === "/health/live") return HttpServerResponse.jsonUnsafe({ status: "live" })
    if (path === "/health/ready") {
      return HttpServerResponse.jsonUnsafe({ status: "starting", message: waiting }, { status: 503, headers: { "retry-after": "5" } })
    }
    if (path === "/health") {
      const timestamp = new Date(yield* Clock.currentTimeMillis).toISOString()
      return HttpServerResponse.jsonUnsafe({
        status: "degraded",
        version: VERSION,
        timestamp,
        components: { database: "down", migrations: "unknown", details: { waiting } }
      })
    }
    return path.startsWith("/v1/messages") ? AnthropicError.toResponse(unavailable, "") : ApiError.toResponse(unavailable)
  })

/** A server of its own that gives its port back when its Scope closes; gives the port. */
const open = Effect.fnUntraced(function* (create: CreateServer, host: string, port: number, reason: () => string) {
  const node = create({ maxHeaderSize: 16 * 1_024, headersTimeout: 10_000, requestTimeout: 10_000 })
  const server = yield* Effect.mapError(
    NodeHttpServer.make(() => node, { host, port, disablePreemptiveShutdown: true }),
    cannotListen(host, port)
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => node.closeAllConnections()))
  yield* Effect.provideService(HttpServer.serveEffect(answer(reason)), HttpServer.HttpServer, server)
  return server.address
})

/**
 * Launches a server, and waits and launches it again as long as it cannot be built for a reason that may pass. Nothing listens
 * before the first failure.
 *
 * @category running
 * @since 0.1.0
 */
export const run = Effect.fnUntraced(function* <E, R>(
  options: WaitingOptions<E, R>
): Effect.fn.Return<never, E | CannotListen, R | Scope.Scope> {
  const outer = yield* Effect.scope
  const { host } = options
  let { port } = options
  let room: Scope.Closeable | null = null
  let reason: WaitingReason = { logged: "", shown: "" }
  let toldAt = 0
  const leave = Effect.suspend(() => {
    const closing = room
    room = null
    return closing === null ? Effect.void : Scope.close(closing, Exit.void)
  })

  const enter = Effect.gen(function* () {
    if (room !== null) return
    const scope = yield* Scope.fork(outer)
    room = scope
    const address = yield* Scope.provide(
      open(options.create, host, port, () => reason.shown),
      scope
    )
    if (address._tag !== "UnixPathAddress") port = address.port
  })

  const tell = Effect.fnUntraced(function* (why: WaitingReason) {
    const now = yield* Clock.currentTimeMillis
    if (why.logged === reason.logged && now - toldAt < AGAIN) return
    reason = why
    toldAt = now
    yield* Effect.logWarning(`Sluice waits for its database, alive on http://${host}:${port} and not ready: ${why.logged}`)
  })

  for (let pause = FIRST_PAUSE; ; pause = Math.min(LONGEST_PAUSE, pause * 2)) {
    const error = yield* Effect.flip(options.launch(port, leave))
    const why = options.reasonOf(error)
    if (why === null) return yield* Effect.fail(error)
    yield* enter
    yield* tell(why)
    yield* Effect.sleep(pause * (0.75 + 0.5 * (yield* Random.next)))
  }
})
