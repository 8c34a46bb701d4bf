/**
 * What one public protocol makes of a request, of its answer and of a failure: all that a route needs besides the line
 * that every protocol shares.
 *
 * @since 0.1.0
 */
import type { Effect, Result } from "effect"
import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import type { Usage } from "../../schemas/Usage.ts"
import type { ApiError } from "./ApiError.ts"
import { readJson } from "./RequestBody.ts"

/** What an answer says of itself besides its content. @category models @since 0.1.0 */
export interface AnswerFacts {
  /** The server's id of the request. */
  readonly requestId: string
  /** Unix seconds. */
  readonly createdAt: number
  /** The canonical id of the model that answers. */
  readonly model: string
  readonly request: InferenceRequest
  /** What was used so far; of a whole answer, all of it. */
  readonly usage: () => Usage
}

/** @category models @since 0.1.0 */
export interface EncodedAnswer {
  readonly contentType: string
  readonly body: string
}

/** Writes one stream: complete events of the protocol, which may be none. @category models @since 0.1.0 */
export interface StreamEncoder {
  /** One batch; the first writes the beginning too. */
  readonly encode: (batch: ReadonlyArray<InferenceEvent>) => string
  /** The end of a whole answer, once. */
  readonly end: () => string
  /** The end of a broken one: the protocol's error event, and no normal end. */
  readonly error: (error: ApiError) => string
}

/** @category models @since 0.1.0 */
export interface ProtocolEdge {
  /** Part of what an `Idempotency-Key` names. */
  readonly path: string
  readonly read: (http: HttpServerRequest.HttpServerRequest) => Effect.Effect<InferenceRequest, ApiError>
  readonly encodeAnswer: (events: ReadonlyArray<InferenceEvent>, facts: AnswerFacts) => EncodedAnswer
  readonly encodeStream: (facts: AnswerFacts) => StreamEncoder
  /** What is written on a stream while its provider is silent; clients pass it over. */
  readonly keepAlive: string
  /** An answer that says what went wrong. */
  readonly refuse: (error: ApiError, requestId: string) => HttpServerResponse.HttpServerResponse
}

/** A comment, which a reader of events passes over. @category encoding @since 0.1.0 */
export const COMMENT = ": keep-alive\n\n"

/** Reads requests that are JSON objects. @category readers @since 0.1.0 */
export const fromJson =
  (decode: (body: JsonObject) => Result.Result<InferenceRequest, ApiError>): ProtocolEdge["read"] =>
  (http) =>
    readJson(http, decode)
