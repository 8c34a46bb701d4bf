/**
 * `POST /v1/chat/completions`: from bytes to the gateway and back.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Stream } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Money from "../../schemas/Money.ts"
import { estimateTokens, totalTokens } from "../../schemas/Usage.ts"
import { Gateway, type GatewayError, type GatewayStream } from "../Gateway.ts"
import { Identity } from "../identity/Identity.ts"
import { KeyLimits } from "../limits/KeyLimits.ts"
import { customer } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { handled } from "./Handled.ts"
import { limitHeaders } from "./LimitHeaders.ts"
import { answerId, ChunkEncoder, encodeAnswer } from "./OpenAiChatAnswer.ts"
import { decodeRequest } from "./OpenAiChatRequest.ts"
import { readJsonObject } from "./RequestBody.ts"
import { RequestIds } from "./RequestContext.ts"

/** @category conversions @since 0.1.0 */
export const fromGateway = (error: GatewayError): ApiError.ApiError => {
  switch (error._tag) {
    case "CatalogError":
      return ApiError.fromCatalog(error)
    case "LedgerError":
      return ApiError.fromLedger(error)
    case "AllProvidersFailed":
      return ApiError.fromFailover(error)
    case "TrialExpired":
      return ApiError.make(402, "TRIAL_EXPIRED", `The trial is over. Add credits to use \`${error.model}\`; models marked free stay open.`)
    case "MaxTokensTooLarge":
      return ApiError.invalid(
        `max_tokens is too large: ${error.maxTokens}. This model supports at most ${error.limit} completion tokens.`,
        "max_tokens",
        "MAX_TOKENS_EXCEEDED"
      )
  }
}

/** What a request may use, for the token limits: its prompt, and the output it asked for. */
const expectedTokens = (request: InferenceRequest): number =>
  estimateTokens(request.promptCharacters) + (request.maxTokens ?? 0) * request.choices

const encoder = new TextEncoder()

const sse = (opened: GatewayStream, chunks: ChunkEncoder): Stream.Stream<Uint8Array> =>
  opened.events.pipe(
    Stream.map((batch) => encoder.encode(chunks.encode(batch))),
    Stream.concat(Stream.fromEffect(Effect.sync(() => encoder.encode(chunks.end(opened.usage()))))),
    Stream.catch((error) => Stream.succeed(encoder.encode(chunks.error(ApiError.openAiBody(ApiError.fromProvider(error))))))
  )

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "inference",
  Effect.fnUntraced(function* (handlers) {
    const gateway = yield* Gateway
    const identity = yield* Identity
    const limits = yield* KeyLimits

    const chat = Effect.fnUntraced(function* (http: HttpServerRequest.HttpServerRequest) {
      const caller = yield* customer(identity, http)
      const ids = yield* RequestIds
      const request = yield* Effect.fromResult(decodeRequest(yield* readJsonObject(http)))
      const expected = expectedTokens(request)
      const admitted = yield* limits.admit(caller, expected)
      const now = yield* Clock.currentTimeMillis
      const headers = limitHeaders(admitted.view, now)
      if (admitted.refused !== null)
        return HttpServerResponse.setHeaders(ApiError.toResponse(ApiError.fromLimit(admitted.refused)), headers)
      let used = 0
      yield* Effect.addFinalizer(() => limits.correct(caller, used - expected))
      const call = { caller, request, rid: ids.id, clientRequestId: ids.clientId }
      const created = Math.floor(now / 1_000)
      const refuse = (error: GatewayError) =>
        Effect.succeed(HttpServerResponse.setHeaders(ApiError.toResponse(fromGateway(error)), headers))

      if (!request.stream) {
        return yield* gateway.answer(call).pipe(
          Effect.map(({ candidate, cost, events, usage }) => {
            used = totalTokens(usage)
            const body = encodeAnswer(events, { id: answerId(ids.id), created, model: candidate.model.id, usage })
            return HttpServerResponse.jsonUnsafe(body, {
              headers: { ...headers, ...answered(candidate.provider, candidate.model.id), "x-sluice-cost-usd": Money.toUsd(cost) }
            })
          }),
          Effect.catch(refuse)
        )
      }
      return yield* gateway.stream(call).pipe(
        Effect.map((opened) => {
          const { model, provider } = opened.candidate
          const chunks = new ChunkEncoder({ id: answerId(ids.id), created, model: model.id, includeUsage: request.includeUsage })
          const body = Stream.ensuring(
            sse(opened, chunks),
            Effect.sync(() => {
              used = totalTokens(opened.usage())
            })
          )
          return HttpServerResponse.stream(body, {
            contentType: "text/event-stream",
            headers: {
              ...headers,
              ...answered(provider, model.id),
              "cache-control": "no-cache, no-transform",
              "x-accel-buffering": "no"
            }
          })
        }),
        Effect.catch(refuse)
      )
    })

    return handlers.handleRaw("chatCompletions", ({ request }) => handled(chat(request)))
  })
)

const answered = (provider: string, model: string) => ({
  "x-sluice-provider": provider,
  "x-sluice-model": model,
  "x-sluice-cache": "bypass"
})
