/**
 * Providers that speak the OpenAI protocol.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import * as Json from "../../../schemas/Json.ts"
import { ProviderError, ProviderStatus } from "../../../schemas/Provider.ts"
import type { ProviderAdapter, ProviderCall } from "../ProviderAdapter.ts"
import { urlOf } from "../ProviderRegistry.ts"
import type { Transport, TransportRequest } from "../Transport.ts"
import * as HttpProtocol from "./HttpProtocol.ts"
import { transformModelId } from "./ModelIds.ts"
import { decodeAnswer, StreamDecoder } from "./OpenAiChatCodec.ts"
import * as OpenAiMediaCodec from "./OpenAiMediaCodec.ts"
import { encodeRequest, unsupported } from "./OpenAiRequestEncoder.ts"

const toRequest = (call: ProviderCall): TransportRequest => {
  if (call.request.operation !== "chat") return HttpProtocol.mediaRequest(call, OpenAiMediaCodec.encodeRequest(call))
  return {
    method: "POST",
    url: urlOf(call.provider, call.provider.definition.chatPath, call.nativeId),
    headers: HttpProtocol.headersFor(call.provider),
    body: encodeRequest(call)
  }
}

/** What a failing status of this protocol means; `now` in epoch milliseconds, for a `Retry-After` that is a date. @category decoding @since 0.1.0 */
export const mapError: HttpProtocol.HttpProtocol["mapError"] = (provider, status, headers, body, now) => {
  const parsed = Json.parse(body)
  const error = Json.isObject(parsed) ? (parsed["error"] ?? parsed) : undefined
  const message = Json.isObject(error) ? Json.string(error["message"]) : (Json.string(error) ?? null)
  return new ProviderError({
    provider,
    reason: new ProviderStatus({
      // An account without credits is no limit that waiting lifts.
      status: status === 429 && Json.isObject(error) && error["code"] === "insufficient_quota" ? 402 : status,
      message: HttpProtocol.scrub(message ?? `The provider refused the request with status ${status}.`),
      code: Json.isObject(error) ? Json.string(error["code"]) : null,
      param: Json.isObject(error) ? Json.string(error["param"]) : null,
      retryAfterMs: HttpProtocol.retryAfter(headers["retry-after"], now)
    })
  })
}

/** @category constructors @since 0.1.0 */
export const make = (transport: Transport["Service"]): ProviderAdapter =>
  HttpProtocol.make(transport, {
    request: (call) => Effect.succeed(toRequest(call)),
    decodeAnswer: (call, text) => (call.request.operation === "chat" ? decodeAnswer(text) : OpenAiMediaCodec.decodeAnswer(call, text)),
    decoder: () => new StreamDecoder(),
    unsupported: (call) => (call.request.operation === "chat" ? unsupported(call) : null),
    transformModelId,
    mapError
  })
