/**
 * What every protocol over HTTP shares: a request to bytes, statuses, whole answers within bounds, streams in batches.
 *
 * @since 0.1.0
 */
import { Array as Arr, Cause, Clock, Effect, type Pull, Redacted, Result } from "effect"
import type { InferenceEvent } from "../../../schemas/Inference.ts"
import { ProviderAnswer, ProviderConnection, ProviderError } from "../../../schemas/Provider.ts"
import type { AnswerStream, ProviderAdapter, ProviderCall } from "../ProviderAdapter.ts"
import { type RegisteredProvider, urlOf } from "../ProviderRegistry.ts"
import {
  isSuccess,
  MAX_FAILURE,
  readText,
  type Transport,
  type TransportAnswer,
  type TransportError,
  type TransportRequest,
  type TransportResponse
} from "../Transport.ts"
import type { AnswerDecoder, Decoded } from "./AnswerDecoding.ts"
import { asksLogprobs, refusesLogprobs, withoutLogprobs } from "./Logprobs.ts"

/** What one protocol says in its own way. @category models @since 0.1.0 */
export interface HttpProtocol extends Pick<ProviderAdapter, "unsupported" | "transformModelId"> {
  readonly request: (call: ProviderCall) => Effect.Effect<TransportRequest, ProviderError>
  readonly decodeAnswer: (call: ProviderCall, text: string) => Decoded
  readonly decoder: (call: ProviderCall) => AnswerDecoder
  /** `now` in epoch milliseconds, for a `Retry-After` that is a date. */
  readonly mapError: (
    provider: string,
    status: number,
    headers: Readonly<Record<string, string>>,
    body: string,
    now: number
  ) => ProviderError
}

/** Bytes of a whole answer that are read. */
const MAX_ANSWER = 32 * 1_024 * 1_024

/** Images come along in the answer, several megabytes each. */
const MAX_IMAGES_ANSWER = 128 * 1_024 * 1_024

/** Making an image or hearing a recording takes as many times longer than the beginning of a text. */
const MEDIA_PATIENCE = 4

/** The headers of a call with a JSON body, the provider's key among them. @category encoding @since 0.1.0 */
export const headersFor = (provider: RegisteredProvider): Record<string, string> => {
  const { auth } = provider.definition
  const headers: Record<string, string> = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    ...auth.also,
    ...provider.headers
  }
  if (provider.apiKey !== null) headers[auth.header.toLowerCase()] = auth.format.replace("{key}", Redacted.value(provider.apiKey))
  return headers
}

/** What a codec of images, recordings or vectors sends. @category models @since 0.1.0 */
export interface MediaRequest {
  readonly path: string
  readonly contentType: string
  readonly body: string | Uint8Array
}

/** A call for something else than chat; the route has only providers that have a way in for it. @category encoding @since 0.1.0 */
export const mediaRequest = (call: ProviderCall, encoded: MediaRequest | null): TransportRequest => {
  const { definition } = call.provider
  if (encoded === null) throw new Error(`${definition.slug} has no way in for ${call.request.operation}`)
  return {
    method: "POST",
    url: urlOf(call.provider, encoded.path, call.nativeId),
    headers: { ...headersFor(call.provider), "content-type": encoded.contentType },
    body: encoded.body,
    ...(call.request.operation === "embeddings" ? {} : { patience: MEDIA_PATIENCE })
  }
}

/** Whatever looks like a credential in a provider's words is not shown to a caller. @category formatting @since 0.1.0 */
export const scrub = (text: string): string =>
  text
    .replace(/\b(sk|pk|gw|key|rk)[-_][A-Za-z0-9*_-]{6,}/g, "[redacted]")
    .replace(/bearer\s+\S+/gi, "Bearer [redacted]")
    .slice(0, 1_000)

/** A `Retry-After` in milliseconds; null when there is none. @category decoding @since 0.1.0 */
export const retryAfter = (header: string | undefined, now: number): number | null => {
  if (header === undefined) return null
  if (/^\d+(\.\d+)?$/.test(header.trim())) return Math.ceil(Number(header) * 1_000)
  const at = Date.parse(header)
  return Number.isNaN(at) ? null : Math.max(0, at - now)
}

const fromTransport = (provider: string) => (error: TransportError) => new ProviderError({ provider, reason: error.reason })

const withTrace = (request: TransportRequest, traceparent: string | undefined): TransportRequest =>
  traceparent === undefined ? request : { ...request, headers: { ...request.headers, traceparent } }

/** The adapter of a protocol over a transport. @category constructors @since 0.1.0 */
export const make = (transport: Transport["Service"], protocol: HttpProtocol): ProviderAdapter => {
  const refused = (slug: string, status: number, headers: Readonly<Record<string, string>>, text: string) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fail(protocol.mapError(slug, status, headers, text, now)))

  const read = (call: ProviderCall, answer: TransportAnswer): Effect.Effect<ReadonlyArray<InferenceEvent>, ProviderError> => {
    const { slug } = call.provider.definition
    const { headers, isWhole, status, text } = answer
    if (!isSuccess(status)) return refused(slug, status, headers, text)
    if (!isWhole) return Effect.fail(answerFault(slug, new ProviderAnswer({ fault: "malformed", message: "the answer is too large" })))
    const { events, fault } = protocol.decodeAnswer(call, text)
    return fault === null ? Effect.succeed(events) : Effect.fail(answerFault(slug, fault))
  }

  const send = (call: ProviderCall): Effect.Effect<ReadonlyArray<InferenceEvent>, ProviderError> => {
    const limit = call.request.operation === "images" ? MAX_IMAGES_ANSWER : MAX_ANSWER
    const steps = {
      onSuccess: (answer: TransportAnswer) => read(call, answer),
      onFailure: (error: TransportError) => Effect.fail(fromTransport(call.provider.definition.slug)(error))
    }
    return Effect.flatMapEager(protocol.request(call), (request) =>
      Effect.matchEffect(transport.ask(withTrace(request, call.traceparent), limit), steps)
    )
  }

  const stream = Effect.fnUntraced(function* (call: ProviderCall) {
    const { slug } = call.provider.definition
    const request = yield* protocol.request(call)
    const response = yield* Effect.mapError(transport.send(withTrace(request, call.traceparent)), fromTransport(slug))
    if (isSuccess(response.status)) return decodeStream(slug, response, protocol.decoder(call))
    const failed = yield* Effect.orElseSucceed(readText(response, MAX_FAILURE), () => ({ text: "" }))
    return yield* refused(slug, response.status, response.headers, failed.text)
  })

  return {
    send: (call) => (asksLogprobs(call) ? orWithoutLogprobs(call, send) : send(call)),
    stream: (call) => (asksLogprobs(call) ? orWithoutLogprobs(call, stream) : stream(call)),
    unsupported: protocol.unsupported,
    transformModelId: protocol.transformModelId,
    mapError: (provider, status, headers, body) => protocol.mapError(provider, status, headers, body, 0)
  }
}

/** Asks once more, without log probabilities, whoever refused because of them. */
const orWithoutLogprobs = <A, R>(
  call: ProviderCall,
  ask: (call: ProviderCall) => Effect.Effect<A, ProviderError, R>
): Effect.Effect<A, ProviderError, R> => Effect.catchIf(ask(call), refusesLogprobs, () => ask(withoutLogprobs(call)))

const answerFault = (provider: string, reason: ProviderAnswer) => new ProviderError({ provider, reason })

/** A connection that breaks after the head has answered, whatever the transport saw of it. */
const brokenMidway = (provider: string) => (error: TransportError) =>
  new ProviderError({
    provider,
    reason:
      error.reason._tag === "ProviderConnection" ? new ProviderConnection({ answered: true, message: error.reason.message }) : error.reason
  })

type Batches = Arr.NonEmptyReadonlyArray<Arr.NonEmptyReadonlyArray<InferenceEvent>>

/** Events of a stream in batches, one for each read; the last pull says whether the answer was whole. */
const decodeStream = (provider: string, { body, finished }: TransportResponse, decoder: AnswerDecoder): AnswerStream => {
  let ended = false
  let broken: ProviderAnswer | null = null
  const give = (events: ReadonlyArray<InferenceEvent>): Pull.Pull<Batches, ProviderError> =>
    Arr.isReadonlyArrayNonEmpty(events) ? Effect.succeed([events]) : pull
  const finish = (): Pull.Pull<Batches, ProviderError> => {
    const { events, fault } = decoder.end()
    broken = fault
    ended = true
    return give(events)
  }
  const decode = (chunks: Arr.NonEmptyReadonlyArray<Uint8Array>): ReadonlyArray<InferenceEvent> => {
    const { events, fault } = decoder.push(chunks[0])
    broken = fault
    for (let i = 1; i < chunks.length && broken === null; i++) {
      const more = decoder.push(chunks[i] ?? new Uint8Array())
      events.push(...more.events)
      broken = more.fault
    }
    return events
  }
  const read = Effect.matchCauseEffect(body.pull, {
    onSuccess: (chunks) => give(decode(chunks)),
    onFailure: (cause): Pull.Pull<Batches, ProviderError> => {
      const found = Cause.findError(cause)
      if (Result.isFailure(found)) return Effect.failCause(found.failure)
      return Cause.isDone(found.success) ? finish() : Effect.fail(brokenMidway(provider)(found.success))
    }
  })
  const pull: Pull.Pull<Batches, ProviderError> = Effect.suspend(() => {
    if (broken !== null) return Effect.fail(answerFault(provider, broken))
    if (ended) return Cause.done()
    if (!decoder.isDone) return read
    finished?.()
    return finish()
  })
  const isOver = (): boolean => broken !== null || ended || decoder.isDone
  const flow: AnswerStream["flow"] = (take) =>
    Effect.suspend(() => {
      if (isOver()) return Effect.void
      return body.flow((chunks) => {
        const events = decode(chunks)
        const goesOn = Arr.isReadonlyArrayNonEmpty(events) ? take([events]) : true
        return goesOn && !isOver()
      })
    })
  return { pull, flow }
}
