/**
 * The bytes of a request's body, within a bound.
 *
 * @since 0.1.0
 */
import { ByteSize, Context, Effect, Schema } from "effect"
import { HttpIncomingMessage, type HttpServerError, type HttpServerRequest } from "effect/http"

/** @category errors @since 0.1.0 */
export class BodyFailed extends Schema.TaggedError<BodyFailed>()("BodyFailed", {
  /** `broken`: the caller left, or what came is not a body. */
  why: Schema.Literals(["too_large", "broken"])
}) {}

/** @category models @since 0.1.0 */
export type ReadBody = (request: HttpServerRequest.HttpServerRequest, maxBytes: number) => Effect.Effect<Uint8Array, BodyFailed>

const fromServerError = (error: HttpServerError.HttpServerError): BodyFailed =>
  new BodyFailed({ why: error.reason._tag === "RequestParseError" && error.reason.reason === "BodyTooLarge" ? "too_large" : "broken" })

/** Reads bodies on every server. A body that does not say its length is cut where it passes the bound. @category readers @since 0.1.0 */
export const readAnywhere: ReadBody = (request, maxBytes) =>
  request.arrayBuffer.pipe(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(maxBytes)),
    Effect.mapBoth({ onSuccess: (bytes) => new Uint8Array(bytes), onFailure: fromServerError })
  )

/** How bodies are read; a server that can do it faster says so. @category references @since 0.1.0 */
export const BodyBytes = Context.Reference<ReadBody>("sluice/http/BodyBytes", { defaultValue: () => readAnywhere })
