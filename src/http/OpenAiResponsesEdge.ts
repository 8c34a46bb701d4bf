/**
 * `POST /v1/responses`: OpenAI's responses protocol.
 *
 * @since 0.1.0
 */
import * as ApiError from "./ApiError.ts"
import { encodeAnswer, type ResponseHead } from "./OpenAiResponsesAnswer.ts"
import { decodeRequest } from "./OpenAiResponsesRequest.ts"
import { ResponseEncoder } from "./OpenAiResponsesStream.ts"
import { type AnswerFacts, COMMENT, fromJson, type ProtocolEdge } from "./ProtocolEdge.ts"

const headOf = ({ createdAt, model, request, requestId }: AnswerFacts): ResponseHead => ({
  requestId,
  createdAt,
  model,
  body: request.body
})

/** The bound on the output has another name here. */
const renamed = (error: ApiError.ApiError): ApiError.ApiError =>
  error.param === "max_tokens"
    ? { ...error, param: "max_output_tokens", message: error.message.replaceAll("max_tokens", "max_output_tokens") }
    : error

/** @category constructors @since 0.1.0 */
export const edge: ProtocolEdge = {
  path: "/v1/responses",
  read: fromJson(decodeRequest),
  encodeAnswer: (events, facts) => ({
    contentType: "application/json",
    body: JSON.stringify(encodeAnswer(events, headOf(facts), facts.usage()))
  }),
  encodeStream: (facts) => {
    const events = new ResponseEncoder(headOf(facts), facts.usage)
    return {
      encode: (batch) => events.encode(batch),
      end: () => events.end(),
      error: (error) => events.error(error, ApiError.openAiBody(error).error)
    }
  },
  keepAlive: COMMENT,
  refuse: (error) => ApiError.toResponse(renamed(error))
}
