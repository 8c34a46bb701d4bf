/**
 * `POST /v1/embeddings`, `POST /v1/images/generations` and `POST /v1/audio/transcriptions`, as OpenAI's clients speak them.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { Digest } from "effect/crypto"
import type { HttpServerRequest } from "effect/http"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import * as ApiError from "./ApiError.ts"
import { readForm } from "./AudioForm.ts"
import { encodeEmbeddings, encodeImages, encodeTranscript, encodeTranscriptStream } from "./OpenAiMediaAnswer.ts"
import { decodeEmbeddings, decodeImages, decodeTranscription } from "./OpenAiMediaRequest.ts"
import { COMMENT, fromJson, type ProtocolEdge } from "./ProtocolEdge.ts"
import { RequestIds } from "./RequestContext.ts"

const dataOf = (events: ReadonlyArray<InferenceEvent>): JsonObject => {
  for (const event of events) if (event._tag === "Data") return event.value
  return {}
}

const shared: Pick<ProtocolEdge, "encodeStream" | "keepAlive" | "refuse"> = {
  encodeStream: () => {
    throw new Error("only a chat is answered in pieces")
  },
  keepAlive: COMMENT,
  refuse: (error) => ApiError.toResponse(error)
}

/** @category constructors @since 0.1.0 */
export const embeddings: ProtocolEdge = {
  ...shared,
  path: "/v1/embeddings",
  read: fromJson(decodeEmbeddings),
  encodeAnswer: (events, { model, request, usage }) => encodeEmbeddings(dataOf(events), request.body, model, usage())
}

/** @category constructors @since 0.1.0 */
export const images: ProtocolEdge = {
  ...shared,
  path: "/v1/images/generations",
  read: fromJson(decodeImages),
  encodeAnswer: (events, { createdAt, usage }) => encodeImages(dataOf(events), createdAt, usage())
}

/** What tells one recording from another under the same `Idempotency-Key`; without one nobody asks. */
const fingerprint = (digest: Digest.Digest["Service"], http: HttpServerRequest.HttpServerRequest, file: Uint8Array) =>
  http.headers["idempotency-key"] === undefined ? Effect.succeed("") : digest.digestHex(Digest.sha256, file)

const readTranscription = (digest: Digest.Digest["Service"]) =>
  Effect.fnUntraced(function* (http: HttpServerRequest.HttpServerRequest) {
    const form = yield* readForm(http)
    const { id } = yield* RequestIds
    const request = yield* Effect.fromResult(decodeTranscription(form, `sluice-${id}`))
    const file = [form.fileName, form.contentType, yield* fingerprint(digest, http, form.file)]
    return { ...request, body: { ...request.body, file } }
  })

/** @category constructors @since 0.1.0 */
export const transcriptions = (digest: Digest.Digest["Service"]): ProtocolEdge => ({
  ...shared,
  path: "/v1/audio/transcriptions",
  read: readTranscription(digest),
  encodeAnswer: (events, { request, usage }) =>
    request.body["stream"] === "true"
      ? encodeTranscriptStream(dataOf(events), usage())
      : encodeTranscript(dataOf(events), request.audio?.format ?? "json", usage())
})
