/**
 * Google's own protocol: the Gemini API of AI Studio, and Vertex AI.
 *
 * @since 0.1.0
 */
import { Effect, Redacted } from "effect"
import * as Json from "../../../schemas/Json.ts"
import { ProviderError, ProviderStatus } from "../../../schemas/Provider.ts"
import type { ProviderAdapter, ProviderCall } from "../ProviderAdapter.ts"
import { type RegisteredProvider, urlOf } from "../ProviderRegistry.ts"
import type { ProviderTokens } from "../ProviderTokens.ts"
import type { Transport, TransportRequest } from "../Transport.ts"
import { decodeAnswer, GeminiStreamDecoder } from "./GeminiAnswerDecoder.ts"
import * as GeminiMediaCodec from "./GeminiMediaCodec.ts"
import * as GeminiRequestEncoder from "./GeminiRequestEncoder.ts"
import * as HttpProtocol from "./HttpProtocol.ts"
import { transformModelId } from "./ModelIds.ts"

/** Previews are served from everywhere, and only from there. */
const globally = (url: string, nativeId: string): string =>
  nativeId.endsWith("-preview")
    ? url.replace(
        /^https:\/\/[a-z0-9-]+-aiplatform\.googleapis\.com\/(.*)\/locations\/[^/]+\//,
        "https://aiplatform.googleapis.com/$1/locations/global/"
      )
    : url

const chatRequest = (call: ProviderCall): TransportRequest => {
  const { chatPath, paths } = call.provider.definition
  const path = call.request.stream ? (paths.stream ?? chatPath) : chatPath
  return {
    method: "POST",
    url: globally(urlOf(call.provider, path, call.nativeId), call.nativeId),
    headers: HttpProtocol.headersFor(call.provider),
    body: GeminiRequestEncoder.encodeRequest(call)
  }
}

const toRequest = (call: ProviderCall): TransportRequest =>
  call.request.operation === "chat" ? chatRequest(call) : HttpProtocol.mediaRequest(call, GeminiMediaCodec.encodeRequest(call))

/** Vertex takes tokens; an API key goes by another header there, and a service account's is never sent. */
const authorize = (
  provider: RegisteredProvider,
  headers: TransportRequest["headers"],
  token: string | null
): TransportRequest["headers"] => {
  const { authorization: _, ...others } = headers
  if (token !== null) return { ...others, authorization: `Bearer ${token}` }
  const key = provider.apiKey === null ? "" : Redacted.value(provider.apiKey)
  return /^(AIza|AQ\.)/.test(key) ? { ...others, "x-goog-api-key": key } : headers
}

const detailOf = (error: Json.JsonObject, field: string): string | null => {
  const details = Json.isArray(error["details"]) ? error["details"] : []
  for (const detail of details) {
    const value = Json.isObject(detail) ? Json.string(detail[field]) : null
    if (value !== null) return value
  }
  return null
}

/** Google calls a bad key or a closed region the request's fault; these are the gateway's. */
const statusOf = (status: number, error: Json.JsonObject): number => {
  if (status !== 400) return status
  if (detailOf(error, "reason") === "API_KEY_INVALID" || /api key (not valid|expired)/i.test(Json.string(error["message"]) ?? ""))
    return 401
  return error["status"] === "FAILED_PRECONDITION" ? 403 : status
}

const retryDelay = (error: Json.JsonObject): number | null => {
  const seconds = /^(\d+(?:\.\d+)?)s$/.exec(detailOf(error, "retryDelay") ?? "")?.[1]
  return seconds === undefined ? null : Math.ceil(Number(seconds) * 1_000)
}

/** What a failing status of this protocol means. @category decoding @since 0.1.0 */
export const mapError: HttpProtocol.HttpProtocol["mapError"] = (provider, status, headers, body, now) => {
  const parsed = Json.parse(body)
  // A stream that is refused comes as a list of one.
  const holder = Json.isArray(parsed) ? parsed[0] : parsed
  const error = Json.isObject(holder) && Json.isObject(holder["error"]) ? holder["error"] : {}
  return new ProviderError({
    provider,
    reason: new ProviderStatus({
      status: statusOf(status, error),
      message: HttpProtocol.scrub(Json.string(error["message"]) ?? `The provider refused the request with status ${status}.`),
      code: Json.string(error["status"]),
      param: null,
      retryAfterMs: HttpProtocol.retryAfter(headers["retry-after"], now) ?? retryDelay(error)
    })
  })
}

/** @category constructors @since 0.1.0 */
export const make = (transport: Transport["Service"], tokens: ProviderTokens["Service"]): ProviderAdapter =>
  HttpProtocol.make(transport, {
    request: (call) =>
      Effect.map(tokens.bearer(call.provider), (token) => {
        const request = toRequest(call)
        return { ...request, headers: authorize(call.provider, request.headers, token) }
      }),
    decodeAnswer: (call, text) => (call.request.operation === "chat" ? decodeAnswer(text) : GeminiMediaCodec.decodeAnswer(call, text)),
    decoder: () => new GeminiStreamDecoder(),
    unsupported: (call) =>
      call.request.operation === "chat" ? GeminiRequestEncoder.unsupported(call) : GeminiMediaCodec.unsupported(call),
    transformModelId,
    mapError
  })
