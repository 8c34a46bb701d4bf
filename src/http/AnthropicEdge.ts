/**
 * `POST /v1/messages`: the Anthropic protocol.
 *
 * @since 0.1.0
 */
import { encodeAnswer, MessageEncoder, messageId, PING } from "./AnthropicAnswer.ts"
import * as AnthropicError from "./AnthropicError.ts"
import { decodeCount, decodeRequest } from "./AnthropicRequest.ts"
import { fromJson, type ProtocolEdge } from "./ProtocolEdge.ts"

/** @category constructors @since 0.1.0 */
export const edge: ProtocolEdge = {
  path: "/v1/messages",
  read: fromJson(decodeRequest),
  encodeAnswer: (events, { model, requestId, usage }) => ({
    contentType: "application/json",
    body: JSON.stringify(encodeAnswer(events, { id: messageId(requestId), model, usage: usage() }))
  }),
  encodeStream: ({ model, requestId, usage }) => {
    const events = new MessageEncoder({ id: messageId(requestId), model }, usage)
    return {
      encode: (batch) => events.encode(batch),
      end: () => events.end(),
      error: (error) => `event: error\ndata: ${JSON.stringify(AnthropicError.body(error, requestId))}\n\n`
    }
  },
  keepAlive: PING,
  refuse: AnthropicError.toResponse
}

/** `POST /v1/messages/count_tokens` reads the same without a bound on the output, and asks no provider. @category constructors @since 0.1.0 */
export const countEdge: ProtocolEdge = { ...edge, path: "/v1/messages/count_tokens", read: fromJson(decodeCount) }
