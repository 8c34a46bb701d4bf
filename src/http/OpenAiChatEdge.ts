/**
 * `POST /v1/chat/completions`: the OpenAI chat protocol.
 *
 * @since 0.1.0
 */
import * as ApiError from "./ApiError.ts"
import { answerId, ChunkEncoder, encodeAnswer } from "./OpenAiChatAnswer.ts"
import { decodeRequest } from "./OpenAiChatRequest.ts"
import { COMMENT, fromJson, type ProtocolEdge } from "./ProtocolEdge.ts"

/** @category constructors @since 0.1.0 */
export const edge: ProtocolEdge = {
  path: "/v1/chat/completions",
  read: fromJson(decodeRequest),
  encodeAnswer: (events, { createdAt, model, requestId, usage }) => ({
    contentType: "application/json",
    body: JSON.stringify(encodeAnswer(events, { id: answerId(requestId), created: createdAt, model, usage: usage() }))
  }),
  encodeStream: ({ createdAt, model, request, requestId, usage }) => {
    const chunks = new ChunkEncoder({ id: answerId(requestId), created: createdAt, model, includeUsage: request.includeUsage })
    return {
      encode: (batch) => chunks.encode(batch),
      end: () => chunks.end(usage()),
      error: (error) => chunks.error(ApiError.openAiBody(error))
    }
  },
  keepAlive: COMMENT,
  refuse: (error) => ApiError.toResponse(error)
}
