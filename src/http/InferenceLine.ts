/**
 * One inference request on its way through HTTP, whatever its protocol: who asks, what for, within which limits, once; then
 * the gateway, and its answer written whole or in pieces.
 *
 * @since 0.1.0
 */
import { Array as Arr, Effect, type Scope } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Caller } from "../../schemas/Account.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Money from "../../schemas/Money.ts"
import type { ProviderError } from "../../schemas/Provider.ts"
import { estimateTokens, totalTokens } from "../../schemas/Usage.ts"
import { Resolution } from "../catalog/Resolution.ts"
import { Gateway, type GatewayCall, type GatewayError } from "../Gateway.ts"
import { Identity } from "../identity/Identity.ts"
import { KeyHasher } from "../identity/KeyHasher.ts"
import { Idempotency } from "../ledger/Idempotency.ts"
import * as Pricing from "../ledger/Pricing.ts"
import { KeyLimits } from "../limits/KeyLimits.ts"
import { Utf8Encoder } from "../streams/Utf8.ts"
import { customer, customerOrNobody, knownCustomer } from "./Access.ts"
import { type Admission, admit } from "./Admission.ts"
import { answerHeaders, cacheWish } from "./AnswerHeaders.ts"
import * as ApiError from "./ApiError.ts"
import type { IpGate } from "./IpGate.ts"
import { KeepAlive } from "./KeepAlive.ts"
import type { Keeping } from "./KeyedRequest.ts"
import * as KeyedRequest from "./KeyedRequest.ts"
import type { AnswerFacts, ProtocolEdge } from "./ProtocolEdge.ts"
import { RequestIds } from "./RequestContext.ts"
import { Respond } from "./Responses.ts"

/** What a request may use, for the token limits: its prompt, and the output it asked for. */
const expectedTokens = (request: InferenceRequest): number =>
  estimateTokens(request.promptCharacters) + (request.maxTokens ?? 0) * request.choices

const statusOf = (error: GatewayError): number => ApiError.fromGateway(error).status

const EVENT_STREAM = "text/event-stream"

/** One request with what its answer is written from. */
interface Exchange {
  readonly edge: ProtocolEdge
  readonly http: HttpServerRequest.HttpServerRequest
  readonly call: GatewayCall
  readonly keeping: Keeping
  readonly requestId: string
  readonly createdAt: number
  /** Those of the limits; the answer's own are added to them. */
  readonly headers: Record<string, string>
  /** Is told the tokens that it used. */
  readonly admission: Admission
}

const factsOf = ({ call, createdAt, requestId }: Exchange, model: string, usage: AnswerFacts["usage"]): AnswerFacts => ({
  requestId,
  createdAt,
  model,
  request: call.request,
  usage
})

const whole = (gateway: Gateway["Service"], respond: Respond, exchange: Exchange) =>
  Effect.flatMap(gateway.answer(exchange.call), (answer) => {
    const { admission, edge, headers, keeping } = exchange
    const { candidate, cost, events, usage } = answer
    // What was kept costs nothing, and nothing of the limits.
    admission.count(() => (answer.cache === "hit" ? 0 : totalTokens(usage)))
    const { body, contentType } = edge.encodeAnswer(
      events,
      factsOf(exchange, candidate.model.id, () => usage)
    )
    const about = answerHeaders(answer)
    about["x-sluice-cost-usd"] = Money.toUsd(cost)
    const response = respond(body, contentType, Object.assign(headers, about))
    return keeping.isKeyed ? Effect.as(keeping.done({ contentType, headers: about, body }), response) : Effect.succeed(response)
  })

/** The bytes of a stream: events, then the end or the error. A keyed one is kept before its end is told. */
const streamed = Effect.fnUntraced(function* (gateway: Gateway["Service"], respond: Respond, utf8: Utf8Encoder, exchange: Exchange) {
  const { admission, call, edge, headers, http, keeping } = exchange
  const opened = yield* gateway.stream(call)
  const { model } = opened.candidate
  const about = { ...answerHeaders(opened), "cache-control": "no-cache, no-transform", "x-accel-buffering": "no" }
  const out = edge.encodeStream(factsOf(exchange, model.id, opened.usage))
  // Nothing may be written before the status is known to be true: a provider has answered.
  yield* (yield* KeepAlive).watch(http, edge.keepAlive, () => out.error(ApiError.stopping))
  let text = ""
  const write = (piece: string): Uint8Array => {
    if (keeping.isKeyed) text += piece
    return utf8.encode(piece)
  }
  const end = Effect.suspend(() => {
    const last = write(out.end())
    return Effect.as(keeping.done({ contentType: EVENT_STREAM, headers: about, body: text }), last)
  })
  const failed = (error: ProviderError) => Effect.as(keeping.failed, utf8.encode(out.error(ApiError.fromProvider(error))))
  const body = yield* opened.through({ each: Arr.map((batch) => write(out.encode(batch))), end, failed })
  admission.count(() => (opened.cache === "hit" ? 0 : totalTokens(opened.usage())))
  return respond(body, EVENT_STREAM, Object.assign(headers, about))
})

/** What a route does with requests: failures come in the protocol's shape. @category models @since 0.1.0 */
export type Handler = (
  edge: ProtocolEdge,
  http: HttpServerRequest.HttpServerRequest
) => Effect.Effect<HttpServerResponse.HttpServerResponse, never, IpGate | Scope.Scope>

/** @category models @since 0.1.0 */
export interface InferenceLine {
  /** Answers requests. */
  readonly answer: Handler
  /** Says what the prompts of requests are taken for. Asks no provider and costs nothing, within the limits. */
  readonly countTokens: Handler
}

/** @category constructors @since 0.1.0 */
export const make = Effect.gen(function* () {
  const gateway = yield* Gateway
  const resolution = yield* Resolution
  const identity = yield* Identity
  const limits = yield* KeyLimits
  const respond = yield* Respond
  const utf8 = new Utf8Encoder()
  const services = { idempotency: yield* Idempotency, hasher: yield* KeyHasher }

  const admitAndAnswer = Effect.fnUntraced(function* (
    edge: ProtocolEdge,
    http: HttpServerRequest.HttpServerRequest,
    caller: Caller,
    request: InferenceRequest,
    keeping: Keeping
  ) {
    const admission = yield* admit(limits, caller, expectedTokens(request))
    const { headers, now, refused } = admission
    const { clientId, headers: names, id } = yield* RequestIds
    const refuse = (error: ApiError.ApiError) =>
      Effect.as(keeping.failed, HttpServerResponse.setHeaders(edge.refuse(error, clientId ?? id), headers))
    Object.assign(headers, names)
    if (refused !== null) return yield* refuse(refused)
    const call = { caller, request, rid: keeping.rid, clientRequestId: clientId, statusOf, cache: cacheWish(http.headers) }
    const exchange: Exchange = { edge, http, call, keeping, requestId: id, createdAt: Math.floor(now / 1_000), headers, admission }
    const answer = request.stream ? streamed(gateway, respond, utf8, exchange) : whole(gateway, respond, exchange)
    return yield* Effect.catch(answer, (error) => {
      const failed = refuse(ApiError.fromGateway(error))
      return error._tag === "ModelNeedsKey" ? Effect.andThen(limits.forget(caller, now), failed) : failed
    })
  })

  const answer = Effect.fnUntraced(function* (edge: ProtocolEdge, http: HttpServerRequest.HttpServerRequest) {
    const caller = knownCustomer(identity, http) ?? (yield* customerOrNobody(identity, http))
    const request = yield* edge.read(http)
    // Nobody known has nothing that a key could be kept for.
    const key = caller.isAnonymous ? null : yield* KeyedRequest.keyOf(http)
    const { id } = yield* RequestIds
    const keyed = { accountId: caller.accountId, path: edge.path, body: request.body, key, requestId: id }
    return yield* KeyedRequest.run(services, keyed, (keeping) => admitAndAnswer(edge, http, caller, request, keeping))
  })

  const countTokens = Effect.fnUntraced(function* (edge: ProtocolEdge, http: HttpServerRequest.HttpServerRequest) {
    const caller = knownCustomer(identity, http) ?? (yield* customer(identity, http))
    const request = yield* edge.read(http)
    const { headers, refused } = yield* admit(limits, caller, 0)
    if (refused !== null) {
      const { clientId, id } = yield* RequestIds
      return HttpServerResponse.setHeaders(edge.refuse(refused, clientId ?? id), headers)
    }
    yield* Effect.mapError(resolution.resolve(request), ApiError.fromCatalog)
    return HttpServerResponse.jsonUnsafe({ input_tokens: Pricing.promptTokens(request) }, { headers })
  })

  const handled =
    <R>(
      handle: (
        edge: ProtocolEdge,
        http: HttpServerRequest.HttpServerRequest
      ) => Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError.ApiError, R>
    ) =>
    (edge: ProtocolEdge, http: HttpServerRequest.HttpServerRequest) =>
      Effect.catch(handle(edge, http), (error) => Effect.map(RequestIds, ({ clientId, id }) => edge.refuse(error, clientId ?? id)))

  const line: InferenceLine = { answer: handled(answer), countTokens: handled(countTokens) }
  return line
})
