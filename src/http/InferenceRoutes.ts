/**
 * Inference: each public protocol at its path.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { Digest } from "effect/crypto"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "./Api.ts"
import * as InferenceLine from "./InferenceLine.ts"
import * as OpenAiChatEdge from "./OpenAiChatEdge.ts"
import * as OpenAiMediaEdges from "./OpenAiMediaEdges.ts"

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "inference",
  Effect.fnUntraced(function* (handlers) {
    const line = yield* InferenceLine.make
    const transcriptions = OpenAiMediaEdges.transcriptions(yield* Digest.Digest)
    return handlers
      .handleRaw("chatCompletions", ({ request }) => line(OpenAiChatEdge.edge, request))
      .handleRaw("embeddings", ({ request }) => line(OpenAiMediaEdges.embeddings, request))
      .handleRaw("images", ({ request }) => line(OpenAiMediaEdges.images, request))
      .handleRaw("transcriptions", ({ request }) => line(transcriptions, request))
  })
)
