/**
 * Providers that speak Anthropic's Messages protocol.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import * as Json from "../../../schemas/Json.ts"
import { ProviderError, ProviderStatus } from "../../../schemas/Provider.ts"
import type { ProviderAdapter, ProviderCall } from "../ProviderAdapter.ts"
import { urlOf } from "../ProviderRegistry.ts"
import type { Transport } from "../Transport.ts"
import { AnthropicStreamDecoder, decodeAnswer } from "./AnthropicAnswerDecoder.ts"
import { encodeRequest, structureOf, unsupported } from "./AnthropicRequestEncoder.ts"
import * as HttpProtocol from "./HttpProtocol.ts"
import { transformModelId } from "./ModelIds.ts"

/** Whether the answer comes as the input of the tool that stands for a schema. */
const isStructured = (call: ProviderCall): boolean =>
  call.request.protocol !== "anthropic-messages" && structureOf(call, call.request.conversation())._tag === "Tool"

const headersOf = (call: ProviderCall): Record<string, string> => {
  const headers = HttpProtocol.headersFor(call.provider)
  const beta = call.request.protocol === "anthropic-messages" ? call.request.providerHeaders?.["anthropic-beta"] : undefined
  return beta === undefined ? headers : { ...headers, "anthropic-beta": beta }
}

/** Anthropic's own statuses as everybody else's; an account without credits is no mistake of the caller's. */
const statusOf = (status: number, message: string): number => {
  if (status === 529) return 503
  return status === 400 && /credit balance is too low/i.test(message) ? 402 : status
}

/** What a failing status of this protocol means. @category decoding @since 0.1.0 */
export const mapError: HttpProtocol.HttpProtocol["mapError"] = (provider, status, headers, body, now) => {
  const parsed = Json.parse(body)
  const error = Json.isObject(parsed) && Json.isObject(parsed["error"]) ? parsed["error"] : {}
  const message = Json.string(error["message"]) ?? `The provider refused the request with status ${status}.`
  return new ProviderError({
    provider,
    reason: new ProviderStatus({
      status: statusOf(status, message),
      message: HttpProtocol.scrub(message),
      code: Json.string(error["type"]),
      param: null,
      retryAfterMs: HttpProtocol.retryAfter(headers["retry-after"], now)
    })
  })
}

/** @category constructors @since 0.1.0 */
export const make = (transport: Transport["Service"]): ProviderAdapter =>
  HttpProtocol.make(transport, {
    request: (call) =>
      Effect.succeed({
        method: "POST",
        url: urlOf(call.provider, call.provider.definition.chatPath, call.nativeId),
        headers: headersOf(call),
        body: encodeRequest(call)
      }),
    decodeAnswer: (call, text) => decodeAnswer(text, isStructured(call)),
    decoder: (call) => new AnthropicStreamDecoder(isStructured(call)),
    unsupported,
    transformModelId,
    mapError
  })
