/**
 * Prepared answers written to Node's own responses, with nothing between them and the socket.
 *
 * @since 0.1.0
 */
import { ServerResponse } from "node:http"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { type Array as Arr, Cause, Effect, Layer, Result } from "effect"
import { HttpServerRequest, type HttpServerResponse } from "effect/http"
import { type Pieces, prepared, preparedOf, Respond } from "../src/http/Responses.ts"

/** Of a server whose app is {@link written}. @category layers @since 0.1.0 */
export const layer: Layer.Layer<never> = Layer.succeed(Respond, prepared)

/** Waits until a response takes more; nobody waits for one that is closed. */
const drained = (response: ServerResponse): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const done = (): void => {
      stop()
      resume(Effect.void)
    }
    const stop = (): void => void response.off("drain", done).off("close", done)
    response.once("drain", done).once("close", done)
    return Effect.sync(stop)
  })

/** Writes piece after piece, as fast as they are taken. A stream that breaks leaves a response that was not ended. */
const writePieces = (response: ServerResponse, pieces: Pieces): Effect.Effect<void> => {
  const write = (read: Arr.NonEmptyReadonlyArray<Uint8Array>): boolean => response.write(read.length === 1 ? read[0] : Buffer.concat(read))
  const orDrained = (then: () => Effect.Effect<void>): Effect.Effect<void> =>
    response.writableNeedDrain && !response.destroyed ? Effect.andThen(drained(response), flowing) : then()
  const flowing: Effect.Effect<void> = Effect.flatMap(pieces.flow(write), () => orDrained(() => next))
  const next: Effect.Effect<void> = Effect.matchCauseEffect(pieces.pull, {
    onSuccess: (read) => {
      write(read)
      return orDrained(() => flowing)
    },
    onFailure: (cause) => {
      const found = Cause.findError(cause)
      if (Result.isFailure(found)) return Effect.failCause(found.failure)
      response.end()
      return Effect.void
    }
  })
  return Effect.onError(Effect.interruptible(next), () => Effect.sync(() => void response.destroy()))
}

/** An app whose prepared answers are written; others are left to the server. @category combinators @since 0.1.0 */
export const written = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(app, (answered) => {
    const answer = preparedOf(answered)
    if (answer === null) return Effect.succeed(answered)
    return Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const response = NodeHttpServerRequest.toServerResponse(request)
      if (!(response instanceof ServerResponse)) return Effect.die(new Error("a prepared answer is written over HTTP/1 only"))
      if (response.destroyed) return Effect.succeed(answered)
      const { body, headers } = answer
      if (typeof body === "string") {
        headers["content-length"] = String(Buffer.byteLength(body))
        response.writeHead(answered.status, headers).end(body)
        return Effect.succeed(answered)
      }
      response.writeHead(answered.status, headers)
      return Effect.as(writePieces(response, body), answered)
    })
  })
