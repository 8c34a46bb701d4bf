/**
 * The one value that every request ends in, and what hangs off it: the request row and the metrics.
 *
 * Nothing here holds an answer back or decides about money.
 *
 * @since 0.1.0
 */
import { type Cause, Context, Effect, Layer, Metric, type Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import type { Usage } from "../../schemas/Usage.ts"
import type { Attempt } from "../providers/AttemptLog.ts"
import type { Routing } from "../routing/RouterDecision.ts"
import type { RequestRecord } from "./RequestBook.ts"
import { RequestLog } from "./RequestLog.ts"

/** How one request ended. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface Outcome {
  readonly caller: Caller
  readonly request: InferenceRequest
  readonly rid: string
  readonly clientRequestId: string | null
  /** Who answered, or was being asked when the request ended; null when nobody was. */
  readonly candidate: Candidate | null
  readonly attempts: ReadonlyArray<Attempt>
  /** What a router decided; null where the caller named the model. */
  readonly routing: Routing | null
  readonly usage: Usage
  readonly cost: Money.Money
  readonly outcome: "ok" | "cached" | "cancelled" | "rejected" | "refunded"
  /** What guardrails found: `pii.email`, `injection`, `output.topic`, … */
  readonly flags?: ReadonlyArray<string>
  readonly status: number
  readonly startedAt: number
  readonly endedAt: number
  readonly timeToFirstChunkMs: number | null
}

/** A caller who left after this time, in milliseconds, may have left for want of an answer. */
const PATIENCE_OF_CALLERS = 5_000

/** Whether a request ended by our trouble or a provider's. @category predicates @since 0.1.0 */
export const isTrouble = (outcome: Outcome): boolean =>
  outcome.outcome === "refunded" || (outcome.outcome === "cancelled" && outcome.endedAt - outcome.startedAt > PATIENCE_OF_CALLERS)

const requests = Metric.counter("sluice_model_inference_requests_total", {
  description: "Inference requests by provider, model and status",
  incremental: true
})
const tokens = Metric.counter("sluice_tokens_used_total", { description: "Tokens by provider, model and type", incremental: true })
const credits = Metric.counter("sluice_credits_used_total", { description: "USD charged by provider and model", incremental: true })
const seconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60]
const duration = Metric.histogram("sluice_model_inference_duration_seconds", {
  description: "Whole requests, in seconds",
  boundaries: seconds
})
const firstChunk = Metric.histogram("sluice_time_to_first_chunk_seconds", {
  description: "From the request to the first chunk of a stream, in seconds",
  boundaries: [0.1, 0.25, 0.5, 1, 2, 5, 10, 15]
})

const measure = (outcome: Outcome): Effect.Effect<void> => {
  const labels = { provider: outcome.candidate?.provider ?? "none", model: outcome.candidate?.model.id ?? "other" }
  const { usage } = outcome
  const updates = [
    Metric.update(Metric.withAttributes(requests, { ...labels, status: outcome.outcome }), 1),
    Metric.update(Metric.withAttributes(duration, labels), (outcome.endedAt - outcome.startedAt) / 1_000)
  ]
  if (outcome.cost > 0n) {
    updates.push(
      Metric.update(Metric.withAttributes(tokens, { ...labels, token_type: "input" }), usage.input + usage.cachedRead + usage.cacheWrite),
      Metric.update(Metric.withAttributes(tokens, { ...labels, token_type: "output" }), usage.output + usage.reasoning),
      Metric.update(Metric.withAttributes(credits, labels), Number(Money.toUsd(outcome.cost)))
    )
  }
  if (outcome.timeToFirstChunkMs !== null) {
    updates.push(Metric.update(Metric.withAttributes(firstChunk, labels), outcome.timeToFirstChunkMs / 1_000))
  }
  return Effect.all(updates, { discard: true })
}

/** @category services @since 0.1.0 */
export class Outcomes extends Context.Service<
  Outcomes,
  {
    /** Tells everybody who listens. Never waits. */
    readonly publish: (outcome: Outcome) => Effect.Effect<void>
    /** Tells `listener` of every outcome from now on, until the Scope closes. It must not wait; what it throws harms nobody. */
    readonly subscribe: (listener: (outcome: Outcome) => Effect.Effect<void>) => Effect.Effect<void, never, Scope.Scope>
  }
>()("sluice/usage/Outcomes") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const log = yield* RequestLog
      const listeners = new Set<(outcome: Outcome) => Effect.Effect<void>>([
        // Nobody known has no account that could ask for its rows.
        (outcome) => (outcome.caller.isAnonymous ? Effect.void : log.record(toRecord(outcome))),
        measure
      ])
      const failed = (cause: Cause.Cause<never>) => Effect.logError("A listener of outcomes failed", cause)
      return Outcomes.of({
        publish: (outcome) => Effect.forEach(listeners, (listener) => Effect.catchCause(listener(outcome), failed), { discard: true }),
        subscribe: (listener) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              listeners.add(listener)
            }),
            () => Effect.sync(() => listeners.delete(listener))
          )
      })
    })
  )
}

const toRecord = (outcome: Outcome): RequestRecord => ({
  account: outcome.caller.accountId,
  id: outcome.rid,
  keyId: outcome.caller.keyId,
  clientRequestId: outcome.clientRequestId,
  requestedModel: outcome.request.model,
  model: outcome.candidate?.model.id ?? null,
  provider: outcome.candidate?.provider ?? null,
  attempts: outcome.attempts.map((attempt) => ({
    provider: attempt.provider,
    model: attempt.model,
    status: attempt.status,
    error: attempt.error,
    latency_ms: attempt.latencyMs
  })),
  tokens: {
    input: outcome.usage.input,
    cached_read: outcome.usage.cachedRead,
    cache_write: outcome.usage.cacheWrite,
    output: outcome.usage.output,
    reasoning: outcome.usage.reasoning
  },
  usageSource: outcome.usage.source,
  cost: outcome.cost,
  startedAt: outcome.startedAt,
  latencyMs: outcome.endedAt - outcome.startedAt,
  firstChunkMs: outcome.timeToFirstChunkMs,
  status: outcome.status,
  outcome: outcome.outcome,
  details: {
    routing: outcome.routing === null ? null : { ...outcome.routing },
    ...(outcome.flags === undefined || outcome.flags.length === 0 ? {} : { guardrails: outcome.flags })
  },
  stream: outcome.request.stream
})
