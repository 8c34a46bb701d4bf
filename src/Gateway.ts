/**
 * The one straight line of a request, from who asks and what for to what it cost.
 *
 * Resolve, price, hold, ask providers, meter, settle. Whatever ends a request (an answer, a provider's fault, a caller
 * who leaves, a defect) closes one Scope, and that Scope holds the credits.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Clock, Context, Effect, Layer, type Scope, Stream } from "effect"
import type { GuardrailBlocked, Guardrails } from "../schemas/Guardrail.ts"
import type { InferenceEvent } from "../schemas/Inference.ts"
import type { LedgerError } from "../schemas/LedgerEntry.ts"
import type { Candidate } from "../schemas/Model.ts"
import * as Money from "../schemas/Money.ts"
import { isCallersMistake, type ProviderError } from "../schemas/Provider.ts"
import { MaxTokensTooLarge, ModelNeedsKey, TrialExpired } from "../schemas/Refusal.ts"
import type { Usage } from "../schemas/Usage.ts"
import { AnswerCache, type CacheState, cacheState, keep, modelsOf } from "./caches/AnswerCache.ts"
import { type CachedAnswer, candidateOf, inPieces } from "./caches/CachedAnswer.ts"
import type { CatalogError } from "./catalog/Catalog.ts"
import { Resolution } from "./catalog/Resolution.ts"
import { begin, type GatewayRun, type Rooms, type RunCall, refund } from "./GatewayRun.ts"
import * as InputGuard from "./guardrails/InputGuard.ts"
import { Moderation } from "./guardrails/Moderation.ts"
import * as OutputGuard from "./guardrails/OutputGuard.ts"
import { Lifecycle } from "./health/Lifecycle.ts"
import { KeyCaps, type KeyCapUnknown, type KeyUsedUp } from "./identity/KeyCaps.ts"
import { Trials, type TrialUsedUp } from "./identity/Trials.ts"
import * as Charge from "./ledger/Charge.ts"
import { Ledger } from "./ledger/Ledger.ts"
import * as Pricing from "./ledger/Pricing.ts"
import { maxOutputOf, priceRoute } from "./ledger/RoutePrice.ts"
import { VelocityMode } from "./limits/VelocityMode.ts"
import type { AllProvidersFailed } from "./providers/Failover.ts"
import type { Batch } from "./providers/StreamAttempt.ts"
import { StructuredAnswers } from "./providers/StructuredAnswers.ts"
import { Balancer } from "./routing/Balancer.ts"
import type { Routing } from "./routing/RouterDecision.ts"
import * as Source from "./streams/Source.ts"
import { joined, type Steps, stage, staged, unchanged, type Watching } from "./streams/Stage.ts"
import { isTrouble, Outcomes } from "./usage/Outcomes.ts"
import { RunningRequests } from "./usage/RunningRequests.ts"

/** Everything that can keep a request from an answer. @category errors @since 0.1.0 */
export type GatewayError =
  | CatalogError
  | GuardrailBlocked
  | LedgerError
  | ModelNeedsKey
  | TrialExpired
  | TrialUsedUp
  | KeyUsedUp
  | KeyCapUnknown
  | MaxTokensTooLarge
  | AllProvidersFailed

/** One request, authenticated and decoded. @category models @since 0.1.0 */
export interface GatewayCall extends RunCall {
  /** The status that a failure is answered with, for the request's row. */
  readonly statusOf?: (error: GatewayError) => number
}

/** A whole answer, settled. @category models @since 0.1.0 */
export interface GatewayAnswer {
  readonly candidate: Candidate
  readonly events: ReadonlyArray<InferenceEvent>
  readonly usage: Usage
  readonly cost: Money.Money
  readonly routing: Routing | null
  /** What guardrails found. */
  readonly flags: ReadonlyArray<string>
  readonly cache: CacheState
}

/** An answer that has begun. @category models @since 0.1.0 */
export interface GatewayStream {
  readonly candidate: Candidate
  /** Ends after the settlement is durable; fails when the provider failed midway, after the refund is. */
  readonly events: Stream.Stream<Batch, ProviderError>
  /** The same through one more stage, which costs less than to add it to `events`. One of the two may be read, once. */
  readonly through: <B>(steps: Steps<Batch, ProviderError, B, never>) => Effect.Effect<Source.Source<B, never>, never, Scope.Scope>
  /** What was used so far. */
  readonly usage: () => Usage
  readonly routing: Routing | null
  /** What guardrails found until it began. */
  readonly flags: ReadonlyArray<string>
  readonly cache: CacheState
}

/** @category services @since 0.1.0 */
export class Gateway extends Context.Service<
  Gateway,
  {
    /** A whole answer. The Scope is the request's: what it holds ends with it. */
    readonly answer: (call: GatewayCall) => Effect.Effect<GatewayAnswer, GatewayError, Scope.Scope>
    /** An answer in pieces, opened when the first content has come. */
    readonly stream: (call: GatewayCall) => Effect.Effect<GatewayStream, GatewayError, Scope.Scope>
  }
>()("sluice/Gateway") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const line: Line = {
        balancer: yield* Balancer,
        resolution: yield* Resolution,
        cache: yield* AnswerCache,
        ledger: yield* Ledger,
        failover: yield* StructuredAnswers,
        outcomes: yield* Outcomes,
        running: yield* RunningRequests,
        lifecycle: yield* Lifecycle,
        trials: yield* Trials,
        caps: yield* KeyCaps,
        moderation: yield* Moderation,
        clock: yield* Clock.Clock
      }
      const velocity = yield* VelocityMode
      yield* line.outcomes.subscribe((outcome) => velocity.observe(isTrouble(outcome)))
      return Gateway.of({ answer: (call) => answer(line, call), stream: (call) => stream(line, call) })
    })
  )
}

/** The rooms that a request goes through. */
interface Line extends Rooms {
  readonly balancer: Balancer["Service"]
  readonly resolution: Resolution["Service"]
  readonly cache: AnswerCache["Service"]
  readonly failover: StructuredAnswers["Service"]
  readonly caps: KeyCaps["Service"]
  readonly moderation: Moderation["Service"]
}

/** Runs the guardrails of the key: from here on nobody sees what they took out. */
const guardInput = Effect.fnUntraced(function* (line: Line, run: GatewayRun, guardrails: Guardrails) {
  const guarded = yield* Effect.tapError(InputGuard.guard(guardrails, run.call.request, line.moderation), ({ rule }) =>
    Effect.sync(() => {
      run.flags.add(`${rule}.blocked`)
      run.status = 403
    })
  )
  run.call = { ...run.call, request: guarded.request }
  for (const flag of guarded.flags) run.flags.add(flag)
})

/** Resolves and checks: who is let through may be answered. */
const check = Effect.fnUntraced(function* (line: Line, run: GatewayRun) {
  if (run.call.caller.guardrails !== undefined) yield* guardInput(line, run, run.call.caller.guardrails)
  const { caller, request } = run.call
  // Whoever has no key is told so whether the model can be had just now or not.
  const beyond = caller.isAnonymous ? line.resolution.priced(request) : null
  if (beyond !== null) return yield* new ModelNeedsKey({ model: beyond })
  const resolved = yield* line.resolution.resolve(request, caller.isAnonymous ? null : caller.accountId)
  run.routing = resolved.routing
  const cost = (candidate: Candidate): bigint => priceRoute(request, [candidate]).amount
  const candidates = resolved.candidates.length === 1 ? resolved.candidates : yield* line.balancer.order(request, resolved.candidates, cost)
  const { model } = candidates[0]
  if (request.maxTokens !== null && request.maxTokens > model.contextLength) {
    return yield* new MaxTokensTooLarge({ maxTokens: request.maxTokens, limit: model.maxOutput ?? model.contextLength })
  }
  if (caller.isAnonymous || caller.trialEndsAt !== null) {
    const priced = candidates.find((candidate) => !candidate.model.free)?.model
    if (caller.isAnonymous && priced !== undefined) return yield* new ModelNeedsKey({ model: priced.id })
    if (caller.trialEndsAt !== null && priced !== undefined) {
      if (run.startedAt >= caller.trialEndsAt) return yield* new TrialExpired({ model: priced.id })
      yield* line.trials.admit(caller.accountId)
    }
  }
  if (caller.maxRequests !== null) yield* line.caps.admit(caller)
  return candidates
})

/** Sets the money of a request aside. */
const hold = Effect.fnUntraced(function* (run: GatewayRun, candidates: Arr.NonEmptyReadonlyArray<Candidate>) {
  const { charge } = run
  const { caller, request } = run.call
  const { amount, minimum, prompt } = priceRoute(request, candidates)
  if (caller.isAnonymous) charge.openFree()
  else yield* charge.open({ accountId: caller.accountId, rid: run.call.rid, amount, minimum, dailyUsd: caller.limits.dailyUsd })
  // A hold that was clamped bounds the output, so that an answer never costs more than was held for it.
  const clamped = request.maxTokens === null && charge.held < amount
  const maxTokens = (candidate: Candidate): number | null =>
    clamped ? Math.min(maxOutputOf(candidate), Pricing.affordableOutput(candidate.pricing, charge.held, prompt)) : null
  return { clamped, failover: { request, candidates, maxTokens, log: run.log } }
})

/** What the caches have of a request; null when they were not asked. */
const lookUp = (line: Line, run: GatewayRun, candidates: Arr.NonEmptyReadonlyArray<Candidate>) => {
  const { cache, caller, request } = run.call
  const wishes = { request: cache ?? null, key: caller.cache }
  if (!line.cache.isWanted(wishes, request.operation)) return Effect.succeed(null)
  return line.cache.lookup({ accountId: caller.accountId, request, models: modelsOf(candidates) }, line.cache.isExternal(wishes))
}

/** Gives a kept answer, which costs nothing. */
const replay = (run: GatewayRun, candidates: Arr.NonEmptyReadonlyArray<Candidate>, kept: CachedAnswer) => {
  run.outcome = "cached"
  run.status = 200
  run.candidate = candidateOf(kept, candidates)
  run.meter.feed(kept.events)
  return { candidate: run.candidate, cost: Money.zero, routing: run.routing, cache: "hit" as const, flags: [...run.flags] }
}

/** Runs a request from its beginning, and writes down what its failure is answered with. */
const begun =
  <A>(work: (line: Line, run: GatewayRun) => Effect.Effect<A, GatewayError, Scope.Scope>) =>
  (line: Line, call: GatewayCall): Effect.Effect<A, GatewayError, Scope.Scope> =>
    Effect.flatMap(Effect.scope, (scope) =>
      Effect.flatMap(begin(line, call, scope), (run) =>
        Effect.tapError(work(line, run), (error) =>
          Effect.sync(() => {
            run.status = call.statusOf?.(error) ?? run.status
          })
        )
      )
    )

/** Ends a request that no provider answered: the caller's own mistake leaves nothing, a provider's fault a refund. */
const refuse = (run: GatewayRun) => (error: AllProvidersFailed) => {
  run.outcome = error.last !== null && isCallersMistake(error.last) ? "rejected" : "refunded"
  return Effect.andThen(run.charge.end(run.outcome === "rejected" ? { _tag: "Release" } : refund(run, error.message)), Effect.fail(error))
}

/** Ends a request that was answered whole, and waits until that is durable. */
const settle = (run: GatewayRun, candidate: Candidate) => {
  run.outcome = "ok"
  run.status = 200
  run.candidate = candidate
  const end = Charge.forUsage(candidate, run.meter.usage())
  run.cost = end.cost
  return Effect.as(run.charge.end(end), end)
}

const answer = begun(
  Effect.fnUntraced(function* (line: Line, run: GatewayRun): Effect.fn.Return<GatewayAnswer, GatewayError, Scope.Scope> {
    const { caller } = run.call
    const candidates = yield* check(line, run)
    const found = yield* lookUp(line, run, candidates)
    if (found?._tag === "Hit") {
      const events = OutputGuard.whole(caller.guardrails?.output, run.flags, found.answer.events)
      return { ...replay(run, candidates, found.answer), events, usage: run.meter.usage() }
    }
    const { clamped, failover } = yield* hold(run, candidates)
    const { candidate, events } = yield* Effect.catch(line.failover.send(failover), refuse(run))
    run.meter.feed(events)
    const { cost, usage } = yield* settle(run, candidate)
    if (found !== null) yield* keep(found, run.call.request, clamped, candidate, events)
    const shown = OutputGuard.whole(caller.guardrails?.output, run.flags, events)
    return { candidate, routing: run.routing, cache: cacheState(found), flags: [...run.flags], events: shown, usage, cost }
  })
)

const stream = begun(
  Effect.fnUntraced(function* (line: Line, run: GatewayRun): Effect.fn.Return<GatewayStream, GatewayError, Scope.Scope> {
    const guard = run.call.caller.guardrails?.output
    const candidates = yield* check(line, run)
    const found = yield* lookUp(line, run, candidates)
    if (found?._tag === "Hit") {
      run.firstChunkAt = line.clock.currentTimeMillisUnsafe()
      const events = Stream.rechunk(Stream.fromArray(inPieces(found.answer.events)), 1)
      const shown = events.pipe(OutputGuard.stream(guard, run.flags))
      const about = replay(run, candidates, found.answer)
      return { ...about, events: shown, through: (steps) => Source.fromStream(stage(shown, steps)), usage: () => run.meter.usage() }
    }
    const { clamped, failover } = yield* hold(run, candidates)
    const kept: Array<InferenceEvent> = []
    const opened = yield* Effect.catch(line.failover.stream(failover), refuse(run))
    run.candidate = opened.candidate
    run.firstChunkAt = line.clock.currentTimeMillisUnsafe()
    const failed = (error: ProviderError) => {
      run.outcome = "refunded"
      run.status = 502
      return Effect.andThen(run.charge.end(refund(run, error.message)), Effect.fail(error))
    }
    const finish = () => {
      const last = run.log.current ?? opened.candidate
      return Effect.andThen(settle(run, last), keep(found, run.call.request, clamped, last, kept))
    }
    const watching: Watching<Batch, ProviderError> = {
      each: (batches) => {
        for (const batch of batches) {
          run.meter.feed(batch)
          if (found !== null) kept.push(...batch)
        }
        return batches
      },
      end: Effect.suspend(finish),
      failed
    }
    const shown = () => Source.toStream(staged(opened.source, joined(watching, unchanged()))).pipe(OutputGuard.stream(guard, run.flags))
    const through = <B>(steps: Steps<Batch, ProviderError, B, never>) =>
      guard === undefined ? Effect.succeed(staged(opened.source, joined(watching, steps))) : Source.fromStream(stage(shown(), steps))
    const about = { candidate: opened.candidate, routing: run.routing, cache: cacheState(found), flags: [...run.flags] }
    return {
      ...about,
      // Made for whoever reads it: most read what they have put through a stage of their own.
      get events() {
        return shown()
      },
      through,
      usage: () => run.meter.usage()
    }
  })
)
