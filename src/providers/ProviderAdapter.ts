/**
 * The port every provider is reached through.
 *
 * @since 0.1.0
 */
import type { Array as Arr, Effect, Scope } from "effect"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { Model } from "../../schemas/Model.ts"
import type { ProviderError } from "../../schemas/Provider.ts"
import type { Source } from "../streams/Source.ts"
import type { RegisteredProvider } from "./ProviderRegistry.ts"

/** One attempt at one provider. @category models @since 0.1.0 */
export interface ProviderCall {
  readonly provider: RegisteredProvider
  /** The provider's own id of the model, letter case kept. */
  readonly nativeId: string
  readonly model: Model
  readonly request: InferenceRequest
  /** A bound on the output that the hold imposes where the caller set none; null: the caller's own holds. */
  readonly maxTokens: number | null
  /** Tells the provider of the trace that the call belongs to (W3C); absent: none. */
  readonly traceparent?: string
}

/** Events in batches: everything one read brought. @category models @since 0.1.0 */
export type AnswerStream = Source<Arr.NonEmptyReadonlyArray<InferenceEvent>, ProviderError>

/** What a provider's protocol must be able to do. @category models @since 0.1.0 */
export interface ProviderAdapter {
  /** The whole answer at once, ended by a Finish for each choice; fails when it is empty or malformed. */
  readonly send: (call: ProviderCall) => Effect.Effect<ReadonlyArray<InferenceEvent>, ProviderError>
  /** Done when the provider has accepted. The stream fails unless it brings content and a Finish (an end without is `cut`). Closing the Scope aborts the provider. */
  readonly stream: (call: ProviderCall) => Effect.Effect<AnswerStream, ProviderError, Scope.Scope>
  /** The field of the request that this provider cannot do, by the caller's name for it; null when there is none. Such a candidate is passed over, and a route of nothing else is a 400. */
  readonly unsupported: (call: ProviderCall) => string | null
  /** The provider's own id for a canonical id that no catalog row maps, or null when none may be made up. */
  readonly transformModelId: (provider: RegisteredProvider, canonicalId: string) => string | null
  /** What a status and body of this protocol mean. */
  readonly mapError: (provider: string, status: number, headers: Readonly<Record<string, string>>, body: string) => ProviderError
}
