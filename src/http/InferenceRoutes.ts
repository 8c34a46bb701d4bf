/**
 * `POST /v1/chat/completions`: from bytes to the gateway and back.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Stream } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import type { Caller } from "../../schemas/Account.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Money from "../../schemas/Money.ts"
import { estimateTokens, totalTokens } from "../../schemas/Usage.ts"
import { Gateway, type GatewayCall, type GatewayError, type GatewayStream } from "../Gateway.ts"
import { Identity } from "../identity/Identity.ts"
import { KeyHasher } from "../identity/KeyHasher.ts"
import { Idempotency } from "../ledger/Idempotency.ts"
import { KeyLimits } from "../limits/KeyLimits.ts"
import { customer } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { handled } from "./Handled.ts"
import type { Keeping } from "./KeyedRequest.ts"
import * as KeyedRequest from "./KeyedRequest.ts"
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
    case "TrialUsedUp":
      return ApiError.make(
        402,
        "TRIAL_LIMIT_REACHED",
        `The trial has no more ${error.what}. Add credits to go on; models marked free stay open.`
      )
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

const answered = (provider: string, model: string) => ({
  "x-sluice-provider": provider,
  "x-sluice-model": model,
  "x-sluice-cache": "bypass"
})

/** The bytes of a stream: chunks, then the end or the error. A keyed one is kept before its end is told. */
const sse = (opened: GatewayStream, chunks: ChunkEncoder, keeping: Keeping, headers: Record<string, string>): Stream.Stream<Uint8Array> => {
  let text = ""
  const write = (piece: string): Uint8Array => {
    if (keeping.isKeyed) text += piece
    return encoder.encode(piece)
  }
  const end = Effect.suspend(() => {
    const last = write(chunks.end(opened.usage()))
    return Effect.as(keeping.done({ contentType: EVENT_STREAM, headers, body: text }), last)
  })
  return opened.events.pipe(
    Stream.map((batch) => write(chunks.encode(batch))),
    Stream.concat(Stream.fromEffect(end)),
    Stream.catch((error) => {
      const last = encoder.encode(chunks.error(ApiError.openAiBody(ApiError.fromProvider(error))))
      return Stream.fromEffect(Effect.as(keeping.failed, last))
    })
  )
}

const EVENT_STREAM = "text/event-stream"

/** One request with what its answer is written from. `count` is told the tokens that it used. */
interface Exchange {
  readonly call: GatewayCall
  readonly keeping: Keeping
  readonly head: { readonly id: string; readonly created: number }
  readonly headers: Record<string, string>
  readonly count: (tokens: number) => void
}

const whole = Effect.fnUntraced(function* (gateway: Gateway["Service"], { call, count, head, headers, keeping }: Exchange) {
  const { candidate, cost, events, usage } = yield* gateway.answer(call)
  count(totalTokens(usage))
  const body = JSON.stringify(encodeAnswer(events, { ...head, model: candidate.model.id, usage }))
  const about = { ...answered(candidate.provider, candidate.model.id), "x-sluice-cost-usd": Money.toUsd(cost) }
  yield* keeping.done({ contentType: "application/json", headers: about, body })
  return HttpServerResponse.text(body, { contentType: "application/json", headers: { ...headers, ...about } })
})

const streamed = Effect.fnUntraced(function* (gateway: Gateway["Service"], { call, count, head, headers, keeping }: Exchange) {
  const opened = yield* gateway.stream(call)
  const { model, provider } = opened.candidate
  const chunks = new ChunkEncoder({ ...head, model: model.id, includeUsage: call.request.includeUsage })
  const about = { ...answered(provider, model.id), "cache-control": "no-cache, no-transform", "x-accel-buffering": "no" }
  const body = Stream.ensuring(
    sse(opened, chunks, keeping, about),
    Effect.sync(() => count(totalTokens(opened.usage())))
  )
  return HttpServerResponse.stream(body, { contentType: EVENT_STREAM, headers: { ...headers, ...about } })
})

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "inference",
  Effect.fnUntraced(function* (handlers) {
    const gateway = yield* Gateway
    const identity = yield* Identity
    const limits = yield* KeyLimits
    const services = { idempotency: yield* Idempotency, hasher: yield* KeyHasher }

    const admitAndAnswer = Effect.fnUntraced(function* (caller: Caller, request: InferenceRequest, keeping: Keeping) {
      const expected = expectedTokens(request)
      const admitted = yield* limits.admit(caller, expected)
      const now = yield* Clock.currentTimeMillis
      const headers = limitHeaders(admitted.view, now)
      const refuse = (error: ApiError.ApiError) =>
        Effect.as(keeping.failed, HttpServerResponse.setHeaders(ApiError.toResponse(error), headers))
      if (admitted.refused !== null) return yield* refuse(ApiError.fromLimit(admitted.refused))
      let used = 0
      yield* Effect.addFinalizer(() => limits.correct(caller, used - expected, now))
      const { clientId, id } = yield* RequestIds
      const exchange: Exchange = {
        call: { caller, request, rid: keeping.rid, clientRequestId: clientId },
        keeping,
        head: { id: answerId(id), created: Math.floor(now / 1_000) },
        headers,
        count: (tokens) => {
          used = tokens
        }
      }
      const answer = request.stream ? streamed(gateway, exchange) : whole(gateway, exchange)
      return yield* Effect.catch(answer, (error) => refuse(fromGateway(error)))
    })

    const chat = Effect.fnUntraced(function* (http: HttpServerRequest.HttpServerRequest) {
      const caller = yield* customer(identity, http)
      const body = yield* readJsonObject(http)
      const request = yield* Effect.fromResult(decodeRequest(body))
      const { id } = yield* RequestIds
      const keyed = { accountId: caller.accountId, path: "/v1/chat/completions", body, key: yield* KeyedRequest.keyOf(http), requestId: id }
      return yield* KeyedRequest.run(services, keyed, (keeping) => admitAndAnswer(caller, request, keeping))
    })

    return handlers.handleRaw("chatCompletions", ({ request }) => handled(chat(request)))
  })
)
