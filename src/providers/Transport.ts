/**
 * How bytes reach a provider and come back.
 *
 * @since 0.1.0
 */
import { Context, Effect, Schema, type Scope, Stream } from "effect"
import { ProviderConnection, ProviderTimeout } from "../../schemas/Provider.ts"
import { type Source, toStream } from "../streams/Source.ts"

/** @category models @since 0.1.0 */
export interface TransportRequest {
  readonly method: "GET" | "POST"
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | null
  /** How many times the usual wait for the first byte is waited; 1 when absent. */
  readonly patience?: number
}

/** The head of an answer, and its body as the reads brought it; not reading it holds the provider's socket back. @category models @since 0.1.0 */
export interface TransportResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Source<Uint8Array, TransportError>
  /**
   * What was asked for has come, though the body has not ended: its end may come for a moment after the Scope has closed, so
   * that the connection can be used again.
   */
  readonly finished?: () => void
}

/** An answer that was read to its end, or up to a bound. @category models @since 0.1.0 */
export interface TransportAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** False where the answer went beyond the bound. */
  readonly isWhole: boolean
}

/** @category errors @since 0.1.0 */
export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  reason: Schema.Union([ProviderTimeout, ProviderConnection])
}) {}

/** @category services @since 0.1.0 */
export class Transport extends Context.Service<
  Transport,
  {
    /** Done when the head has arrived. Closing the Scope aborts what is not finished: the provider sees its socket closed at once. */
    readonly send: (request: TransportRequest) => Effect.Effect<TransportResponse, TransportError, Scope.Scope>
    /** The whole answer, up to so many bytes; of a failure no more than tells what is wrong. Whoever is interrupted has it torn down. */
    readonly ask: (request: TransportRequest, maxBytes: number) => Effect.Effect<TransportAnswer, TransportError>
  }
>()("sluice/providers/Transport") {}

/** Bytes of a failing answer that are read, about. @category models @since 0.1.0 */
export const MAX_FAILURE = 64 * 1_024

/** Whether a status is one of success. @category predicates @since 0.1.0 */
export const isSuccess = (status: number): boolean => status >= 200 && status < 300

/** The text of an answer, up to a bound. @category decoding @since 0.1.0 */
export const readText = Effect.fnUntraced(function* (response: TransportResponse, maxBytes: number) {
  const decoder = new TextDecoder("utf-8")
  let text = ""
  let bytes = 0
  yield* Stream.runForEach(
    Stream.takeWhile(toStream(response.body), () => bytes <= maxBytes),
    (chunk) =>
      Effect.sync(() => {
        bytes += chunk.length
        text += decoder.decode(chunk, { stream: true })
      })
  )
  return { text: text + decoder.decode(), isWhole: bytes <= maxBytes }
})

/** A transport that has no shorter way to a whole answer than to read it. @category constructors @since 0.1.0 */
export const fromSend = (send: Transport["Service"]["send"]): Transport["Service"] => ({
  send,
  ask: (request, maxBytes) =>
    Effect.scoped(
      Effect.flatMap(send(request), (response) =>
        Effect.map(readText(response, isSuccess(response.status) ? maxBytes : MAX_FAILURE), (read) => ({
          status: response.status,
          headers: response.headers,
          ...read
        }))
      )
    )
})
