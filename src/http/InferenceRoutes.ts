/**
 * Inference: each public protocol at its path.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import { Digest } from "effect/crypto"
import type { HttpServerRequest } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import * as AnthropicEdge from "./AnthropicEdge.ts"
import { Api } from "./Api.ts"
import * as InferenceLine from "./InferenceLine.ts"
import * as OpenAiChatEdge from "./OpenAiChatEdge.ts"
import * as OpenAiMediaEdges from "./OpenAiMediaEdges.ts"
import * as OpenAiResponsesEdge from "./OpenAiResponsesEdge.ts"

/** Answers one request of a path. @category models @since 0.1.0 */
export type InferenceHandler = (http: HttpServerRequest.HttpServerRequest) => ReturnType<InferenceLine.Handler>

/** Inference by path: what the routes are made of, and what the app asks before its router. @category services @since 0.1.0 */
export class InferenceHandlers extends Context.Service<
  InferenceHandlers,
  Readonly<
    Record<"chatCompletions" | "embeddings" | "images" | "transcriptions" | "messages" | "countTokens" | "responses", InferenceHandler>
  >
>()("sluice/http/InferenceHandlers") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const line = yield* InferenceLine.make
      const transcriptions = OpenAiMediaEdges.transcriptions(yield* Digest.Digest)
      return InferenceHandlers.of({
        chatCompletions: (http) => line.answer(OpenAiChatEdge.edge, http),
        embeddings: (http) => line.answer(OpenAiMediaEdges.embeddings, http),
        images: (http) => line.answer(OpenAiMediaEdges.images, http),
        transcriptions: (http) => line.answer(transcriptions, http),
        messages: (http) => line.answer(AnthropicEdge.edge, http),
        countTokens: (http) => line.countTokens(AnthropicEdge.countEdge, http),
        responses: (http) => line.answer(OpenAiResponsesEdge.edge, http)
      })
    })
  )
}

/** The handlers that are worth a way of their own, by URL: a router's look-up and a description's context cost more than the rest of the way. @category accessors @since 0.1.0 */
export const byUrl = (handlers: InferenceHandlers["Service"]): ReadonlyMap<string, InferenceHandler> =>
  new Map([
    ["/v1/chat/completions", handlers.chatCompletions],
    ["/v1/messages", handlers.messages],
    ["/v1/responses", handlers.responses],
    ["/v1/embeddings", handlers.embeddings]
  ])

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "inference",
  Effect.fnUntraced(function* (handlers) {
    const answer = yield* InferenceHandlers
    return handlers
      .handleRaw("chatCompletions", ({ request }) => answer.chatCompletions(request))
      .handleRaw("embeddings", ({ request }) => answer.embeddings(request))
      .handleRaw("images", ({ request }) => answer.images(request))
      .handleRaw("transcriptions", ({ request }) => answer.transcriptions(request))
      .handleRaw("messages", ({ request }) => answer.messages(request))
      .handleRaw("countTokens", ({ request }) => answer.countTokens(request))
      .handleRaw("responses", ({ request }) => answer.responses(request))
  })
)
