/**
 * `POST /v1/chat/completions`: the OpenAI chat protocol.
 *
 * @since 0.1.0
 */
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import * as ApiError from "./ApiError.ts"
import { type AnswerForm, answerId, encodeAnswer } from "./OpenAiChatAnswer.ts"
import { decodeRequest } from "./OpenAiChatRequest.ts"
import { ChunkEncoder } from "./OpenAiChatStream.ts"
import { COMMENT, fromJson, type ProtocolEdge } from "./ProtocolEdge.ts"

const formOf = ({ body }: InferenceRequest): AnswerForm => ({
  legacyFunctions: Json.isArray(body["functions"]) && body["tools"] === undefined,
  logprobs: body["logprobs"] === true
})

/** @category constructors @since 0.1.0 */
export const edge: ProtocolEdge = {
  path: "/v1/chat/completions",
  read: fromJson(decodeRequest),
  encodeAnswer: (events, { createdAt, model, request, requestId, usage }) => ({
    contentType: "application/json",
    body: JSON.stringify(encodeAnswer(events, { id: answerId(requestId), created: createdAt, model, usage: usage() }, formOf(request)))
  }),
  encodeStream: ({ createdAt, model, request, requestId, usage }) => {
    const head = { id: answerId(requestId), created: createdAt, model }
    const chunks = new ChunkEncoder({ ...head, ...formOf(request), includeUsage: request.includeUsage })
    return {
      encode: (batch) => chunks.encode(batch),
      end: () => chunks.end(usage()),
      error: (error) => chunks.error(ApiError.openAiBody(error))
    }
  },
  keepAlive: COMMENT,
  refuse: (error) => ApiError.toResponse(error)
}
