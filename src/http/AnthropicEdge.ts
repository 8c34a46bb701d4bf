/**
 * `POST /v1/messages`: the Anthropic protocol.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { encodeAnswer, MessageEncoder, messageId, PING } from "./AnthropicAnswer.ts"
import * as AnthropicError from "./AnthropicError.ts"
import { decodeCount, decodeRequest } from "./AnthropicRequest.ts"
import { fromJson, type ProtocolEdge } from "./ProtocolEdge.ts"

/** Names of features, as Anthropic lists them. */
const saneBeta = /^[A-Za-z0-9_.,: -]{1,1000}$/

/** What a request asks of Anthropic besides its body goes on to a provider that speaks the protocol. */
const readRequest: ProtocolEdge["read"] = (http) =>
  Effect.map(fromJson(decodeRequest)(http), (request) => {
    const beta = http.headers["anthropic-beta"]
    return beta === undefined || !saneBeta.test(beta) ? request : { ...request, providerHeaders: { "anthropic-beta": beta } }
  })

/** @category constructors @since 0.1.0 */
export const edge: ProtocolEdge = {
  path: "/v1/messages",
  read: readRequest,
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
