/**
 * How bytes reach a provider and come back.
 *
 * @since 0.1.0
 */
import { Context, type Effect, Schema, type Scope, type Stream } from "effect"
import { ProviderConnection, ProviderTimeout } from "../../schemas/Provider.ts"

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
  readonly body: Stream.Stream<Uint8Array, TransportError>
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
  }
>()("sluice/providers/Transport") {}
