/**
 * The one value that every request ends in, and what hangs off it: the request row and the metrics.
 *
 * Nothing here holds an answer back or decides about money.
 *
 * @since 0.1.0
 */
import { Cause, Context, Effect, Layer, type Scope } from "effect"
import type { Routing } from "../routing/RouterDecision.ts"
import type { Finished } from "./InferenceMetrics.ts"
import * as InferenceMetrics from "./InferenceMetrics.ts"
import type { RequestRecord } from "./RequestBook.ts"
import { RequestLog } from "./RequestLog.ts"

/** How one request ended. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface Outcome extends Finished {
  readonly rid: string
  readonly clientRequestId: string | null
  /** What a router decided; null where the caller named the model. */
  readonly routing: Routing | null
  /** What guardrails found: `pii.email`, `injection`, `output.topic`, … */
  readonly flags?: ReadonlyArray<string>
}

/** Is told of ends. It must not wait; it may give an Effect, where it has to do more than note something down. @category models @since 0.1.0 */
export type Listener = ((outcome: Outcome) => void) | ((outcome: Outcome) => Effect.Effect<void>)

/** A caller who left after this time, in milliseconds, may have left for want of an answer. */
const PATIENCE_OF_CALLERS = 5_000

/** Whether a request ended by our trouble or a provider's. @category predicates @since 0.1.0 */
export const isTrouble = (outcome: Outcome): boolean =>
  outcome.outcome === "refunded" || (outcome.outcome === "cancelled" && outcome.endedAt - outcome.startedAt > PATIENCE_OF_CALLERS)

/** @category services @since 0.1.0 */
export class Outcomes extends Context.Service<
  Outcomes,
  {
    /** Tells everybody who listens. Never waits. */
    readonly publish: (outcome: Outcome) => Effect.Effect<void>
    /** Tells `listener` of every outcome from now on, until the Scope closes. It must not wait; what it throws harms nobody. */
    readonly subscribe: (listener: Listener) => Effect.Effect<void, never, Scope.Scope>
  }
>()("sluice/usage/Outcomes") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const log = yield* RequestLog
      const listeners = new Set<Listener>([
        // Nobody known has no account that could ask for its rows.
        (outcome) => {
          if (!outcome.caller.isAnonymous) log.recordUnsafe(toRecord(outcome))
        },
        yield* InferenceMetrics.make
      ])
      return Outcomes.of({
        publish: (outcome) => Effect.suspend(() => tell(listeners, outcome)),
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

const failed = (cause: Cause.Cause<never>) => Effect.logError("A listener of outcomes failed", cause)

const isEffect = (value: unknown): value is Effect.Effect<void> => Effect.isEffect(value)

/** Tells everybody at once; what is left to do afterwards is what listeners have given. @category running @since 0.1.0 */
export const tell = (listeners: Iterable<Listener>, outcome: Outcome): Effect.Effect<void> => {
  let left: Effect.Effect<void> = Effect.void
  for (const listener of listeners) {
    try {
      const more: unknown = listener(outcome)
      if (isEffect(more))
        left = left === Effect.void ? Effect.catchCause(more, failed) : Effect.andThen(left, Effect.catchCause(more, failed))
    } catch (error) {
      left = Effect.andThen(left, failed(Cause.die(error)))
    }
  }
  return left
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
