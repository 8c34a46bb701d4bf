/**
 * Inference: each public protocol at its path.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { Digest } from "effect/crypto"
import { HttpApiBuilder } from "effect/http-api"
import * as AnthropicEdge from "./AnthropicEdge.ts"
import { Api } from "./Api.ts"
import * as InferenceLine from "./InferenceLine.ts"
import * as OpenAiChatEdge from "./OpenAiChatEdge.ts"
import * as OpenAiMediaEdges from "./OpenAiMediaEdges.ts"
import * as OpenAiResponsesEdge from "./OpenAiResponsesEdge.ts"

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "inference",
  Effect.fnUntraced(function* (handlers) {
    const line = yield* InferenceLine.make
    const transcriptions = OpenAiMediaEdges.transcriptions(yield* Digest.Digest)
    return handlers
      .handleRaw("chatCompletions", ({ request }) => line.answer(OpenAiChatEdge.edge, request))
      .handleRaw("embeddings", ({ request }) => line.answer(OpenAiMediaEdges.embeddings, request))
      .handleRaw("images", ({ request }) => line.answer(OpenAiMediaEdges.images, request))
      .handleRaw("transcriptions", ({ request }) => line.answer(transcriptions, request))
      .handleRaw("messages", ({ request }) => line.answer(AnthropicEdge.edge, request))
      .handleRaw("countTokens", ({ request }) => line.countTokens(AnthropicEdge.countEdge, request))
      .handleRaw("responses", ({ request }) => line.answer(OpenAiResponsesEdge.edge, request))
  })
)
