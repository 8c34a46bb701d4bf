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
    /** Tells everybody who listens, at once; what they have given to be done is begun. Never throws. */
    readonly tell: (outcome: Outcome) => void
    /** The same, and waits for what they have given. */
    readonly publish: (outcome: Outcome) => Effect.Effect<void>
    /** Tells `listener` of every outcome from now on, until the Scope closes. It must not wait; what it throws harms nobody. */
    readonly subscribe: (listener: Listener) => Effect.Effect<void, never, Scope.Scope>
  }
>()("sluice/usage/Outcomes") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const log = yield* RequestLog
      const keep = (outcome: Outcome): void => {
        // Nobody known has no account that could ask for its rows.
        if (!outcome.caller.isAnonymous) log.recordUnsafe(toRecord(outcome))
      }
      return Outcomes.of(yield* among([keep, yield* InferenceMetrics.make]))
    })
  )
}

/** Outcomes that `first` are told, and whoever subscribes later. @category constructors @since 0.1.0 */
export const among = (first: ReadonlyArray<Listener>): Effect.Effect<Outcomes["Service"]> =>
  Effect.map(Effect.context<never>(), (context) => {
    const run = Effect.runForkWith(context)
    // Taken anew by whoever comes or goes, so that nobody is left out of a round by that.
    let listeners = first
    return {
      tell: (outcome) => {
        const left = tellAll(listeners, outcome)
        if (left !== null) run(left)
      },
      publish: (outcome) => Effect.suspend(() => tellAll(listeners, outcome) ?? Effect.void),
      subscribe: (listener) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            listeners = [...listeners, listener]
          }),
          () =>
            Effect.sync(() => {
              listeners = listeners.filter((other) => other !== listener)
            })
        )
    }
  })

const failed = (cause: Cause.Cause<never>) => Effect.logError("A listener of outcomes failed", cause)

/** Tells everybody; gives what is left to do afterwards, null where that is nothing. */
const tellAll = (listeners: ReadonlyArray<Listener>, outcome: Outcome): Effect.Effect<void> | null => {
  let left: Effect.Effect<void> | null = null
  for (const listener of listeners) {
    const more = tellOne(listener, outcome)
    if (more !== null) left = left === null ? more : Effect.andThen(left, more)
  }
  return left
}

const tellOne = (listener: Listener, outcome: Outcome): Effect.Effect<void> | null => {
  try {
    const more: unknown = listener(outcome)
    return more === undefined || more === Effect.void || !isEffect(more) ? null : Effect.catchCause(more, failed)
  } catch (error) {
    return failed(Cause.die(error))
  }
}

const isEffect = (value: unknown): value is Effect.Effect<void> => Effect.isEffect(value)

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
