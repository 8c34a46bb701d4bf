/**
 * One answer out of several providers: breaker permit, attempt, retry, next candidate.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Context, type Effect, Schema, type Scope, type Stream } from "effect"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { ProviderError } from "../../schemas/Provider.ts"

/** What became of one attempt, for the request row. @category models @since 0.1.0 */
export interface Attempt {
  readonly provider: string
  readonly model: string
  /** The provider's status; null when it gave none. */
  readonly status: number | null
  readonly error: string | null
  readonly latencyMs: number
}

/** Every candidate failed, or one failed in a way that no other can mend. @category errors @since 0.1.0 */
export class AllProvidersFailed extends Schema.TaggedError<AllProvidersFailed>()("AllProvidersFailed", {
  /** The failure to report; null when every circuit was open and nobody was asked. */
  last: Schema.NullOr(ProviderError),
  /** How long until a circuit may let a probe through. */
  retryAfterMs: Schema.NullOr(Schema.Number)
}) {}

/** Where attempts are written down while the request runs; read it at any moment, also after a failure. @category models @since 0.1.0 */
export interface AttemptLog {
  readonly attempts: Array<Attempt>
  /** The candidate that is being asked now, from the moment its request leaves until it failed or the answer ended. */
  current: Candidate | null
}

/** @category models @since 0.1.0 */
export interface FailoverRequest {
  readonly request: InferenceRequest
  readonly candidates: Arr.NonEmptyReadonlyArray<Candidate>
  /** See `ProviderCall.maxTokens`. */
  readonly maxTokens: (candidate: Candidate) => number | null
  readonly log: AttemptLog
}

/** A stream whose first content event has arrived. @category models @since 0.1.0 */
export interface OpenedStream {
  readonly candidate: Candidate
  /** From the first event on. Its failure or success has been told to the breaker when it ends. */
  readonly events: Stream.Stream<Arr.NonEmptyReadonlyArray<InferenceEvent>, ProviderError>
}

/** @category services @since 0.1.0 */
export class Failover extends Context.Service<
  Failover,
  {
    readonly send: (
      request: FailoverRequest
    ) => Effect.Effect<{ readonly candidate: Candidate; readonly events: ReadonlyArray<InferenceEvent> }, AllProvidersFailed>
    readonly stream: (request: FailoverRequest) => Effect.Effect<OpenedStream, AllProvidersFailed, Scope.Scope>
  }
>()("sluice/providers/Failover") {}
