/**
 * One answer out of several providers: breaker permit, attempt, retry, next candidate.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Clock, Context, Effect, Layer, Random, Result, Schema, type Scope, Stream } from "effect"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { isCallersMistake, ProviderError, ProviderStatus } from "../../schemas/Provider.ts"
import type { AttemptLog } from "./AttemptLog.ts"
import type { AttemptSpan } from "./AttemptSpan.ts"
import * as AttemptSpans from "./AttemptSpan.ts"
import { Breakers } from "./Breakers.ts"
import { canContinue, continueRequest, remaining } from "./Continuation.ts"
import { breakerOutcome, errorCode, type NextStep, nextStep } from "./FailurePolicy.ts"
import type { ProviderAdapter, ProviderCall } from "./ProviderAdapter.ts"
import { ProviderAdapters } from "./ProviderAdapters.ts"
import { ProviderRegistry } from "./ProviderRegistry.ts"
import * as Rescue from "./Rescue.ts"
import type { Batch, Verdict } from "./StreamAttempt.ts"
import * as StreamAttempt from "./StreamAttempt.ts"

/** Every candidate failed, or one failed in a way that no other can mend. @category errors @since 0.1.0 */
export class AllProvidersFailed extends Schema.TaggedError<AllProvidersFailed>()("AllProvidersFailed", {
  /** The failure to report; null when every circuit was open and nobody was asked. */
  last: Schema.NullOr(ProviderError),
  /** How long until a circuit may let a probe through. */
  retryAfterMs: Schema.NullOr(Schema.Number)
}) {}

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
  /** Who began it. Who ended it is the log's `current`: another, where one had to go on. */
  readonly candidate: Candidate
  /** From the first event on. Its failure or success has been told to the breaker when it ends. */
  readonly events: Stream.Stream<Batch, ProviderError>
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
>()("sluice/providers/Failover") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const { askNext, route } = yield* makeRoute
      const stream = Effect.fnUntraced(function* (request: FailoverRequest) {
        const scope = yield* Effect.scope
        const { answer, candidate } = yield* route(request, StreamAttempt.open(scope, false))
        const batches = Rescue.watch(answer, {
          request: request.request,
          log: request.log,
          askNext: askNext(request, candidate, StreamAttempt.open(scope, true))
        })
        return { candidate, events: Stream.fromPull(Effect.succeed(batches)) }
      })
      return Failover.of({
        send: (request) => Effect.map(route(request, askWhole), ({ answer, candidate }) => ({ candidate, events: answer })),
        stream
      })
    })
  )
}

/** One way of asking: the whole answer, or a stream up to its first content. It tells the circuit of a success, at once or at its end. */
type Ask<A> = (adapter: ProviderAdapter, call: ProviderCall, verdict: Verdict, span: AttemptSpan | null) => Effect.Effect<A, ProviderError>

const askWhole: Ask<ReadonlyArray<InferenceEvent>> = (adapter, call, verdict, span) => {
  const asked = Effect.tap(adapter.send(call), () => verdict.tell("success"))
  if (span === null) return asked
  return asked.pipe(
    Effect.tap((events) => Effect.sync(() => span.read(events))),
    Effect.tapError((error) => Effect.sync(() => span.fail(error))),
    Effect.onExit((exit) => span.end(exit))
  )
}

/** What follows a failed call. */
type Policy = (error: ProviderError, tries: number) => Effect.Effect<NextStep>

/** The most telling failure of a route: the caller's own mistake, else the latest. */
const worse = (before: ProviderError | null, error: ProviderError): ProviderError =>
  before !== null && isCallersMistake(before) ? before : error

const makeRoute = Effect.gen(function* () {
  const breakers = yield* Breakers
  const adapters = yield* ProviderAdapters
  const registry = yield* ProviderRegistry
  const beginSpan = yield* AttemptSpans.make

  const callOf = ({ maxTokens, request }: FailoverRequest, candidate: Candidate): ProviderCall | null => {
    const provider = registry.get(candidate.provider)
    if (provider === undefined) return null
    const { model, nativeId } = candidate
    return { provider, nativeId, model, request, maxTokens: maxTokens(candidate) }
  }

  const unsupportedBy = (call: ProviderCall): string | null =>
    call.request.dropUnsupported ? null : adapters.for(call.provider).unsupported(call)

  /** One candidate's turn: a permit, then calls as long as the policy says to try the same provider again. */
  const turn = Effect.fnUntraced(function* <A>(log: AttemptLog, candidate: Candidate, call: ProviderCall, ask: Ask<A>, policy: Policy) {
    const { provider } = call
    const permit = yield* breakers.permit(candidate.provider)
    if (permit === null) return null
    const verdict = StreamAttempt.verdictOf(permit)
    return yield* Effect.gen(function* () {
      for (let tries = 1; ; tries++) {
        const startedAt = yield* Clock.currentTimeMillis
        log.current = candidate
        const span = beginSpan === null ? null : yield* beginSpan(call)
        const result = yield* Effect.result(ask(adapters.for(provider), span?.call ?? call, verdict, span))
        const latencyMs = (yield* Clock.currentTimeMillis) - startedAt
        const row = { provider: candidate.provider, model: candidate.model.id, latencyMs }
        if (Result.isSuccess(result)) {
          log.attempts.push({ ...row, status: 200, error: null })
          return { answer: result.success, error: null, step: null }
        }
        const error = result.failure
        log.current = null
        log.attempts.push({ ...row, status: error.reason._tag === "ProviderStatus" ? error.reason.status : null, error: errorCode(error) })
        const step = yield* policy(error, tries)
        if (step._tag === "Retry") {
          yield* Effect.sleep(step.delayMs)
          continue
        }
        yield* verdict.tell(breakerOutcome(error))
        return { answer: null, error, step }
      }
    }).pipe(Effect.onError(() => verdict.tell("ignored")))
  })

  const route = Effect.fnUntraced(function* <A>(
    request: FailoverRequest,
    ask: Ask<A>
  ): Effect.fn.Return<{ readonly candidate: Candidate; readonly answer: A }, AllProvidersFailed> {
    const silent = new Set<string>()
    const exhausted = new Set<string>()
    let last: ProviderError | null = null
    let refused: ProviderError | null = null
    let resting = false
    for (const [index, candidate] of request.candidates.entries()) {
      if (silent.has(candidate.provider) || exhausted.has(candidate.model.id)) continue
      const call = callOf(request, candidate)
      if (call === null) continue
      const param = unsupportedBy(call)
      if (param !== null) {
        refused ??= unsupported(candidate, param)
        continue
      }
      const othersLeft = request.candidates.some(
        (other, at) => at > index && other.model.id === candidate.model.id && !silent.has(other.provider)
      )
      const policy: Policy = (error, tries) => Effect.map(Random.next, (random) => nextStep({ error, tries, othersLeft, random }))
      const result = yield* turn(request.log, candidate, call, ask, policy)
      if (result === null) {
        resting = true
        continue
      }
      if (result.error === null) return { candidate, answer: result.answer }
      last = worse(last, result.error)
      if (result.step._tag === "Stop") break
      if (result.step._tag === "Exhausted") exhausted.add(candidate.model.id)
      if (result.error.reason._tag === "ProviderTimeout") silent.add(candidate.provider)
    }
    if (last === null && !resting) last = refused
    return yield* new AllProvidersFailed({ last, retryAfterMs: last === null ? yield* untilProbe(request.candidates) : retryAfterOf(last) })
  })

  /** Asks the candidates of the same model after `begun`, each once and never again, until one goes on from what was sent. */
  const askNext = <A>(request: FailoverRequest, begun: Candidate, ask: Ask<A>) => {
    const left = request.candidates
      .slice(request.candidates.indexOf(begun) + 1)
      .filter((candidate) => candidate.model.id === begun.model.id && candidate.provider !== begun.provider)
    return Effect.fnUntraced(function* (sent: string) {
      for (let candidate = left.shift(); candidate !== undefined; candidate = left.shift()) {
        if (!canContinue(candidate, sent)) continue
        const maxTokens = (of: Candidate) => remaining(request.maxTokens(of), sent)
        const call = callOf({ ...request, request: continueRequest(request.request, sent, candidate.provider), maxTokens }, candidate)
        if (call === null || unsupportedBy(call) !== null) continue
        const result = yield* turn(request.log, candidate, call, ask, () => Effect.succeed({ _tag: "Next" }))
        if (result !== null && result.error === null) return result.answer
      }
      return null
    })
  }

  /** Until the soonest circuit of these lets a probe through. */
  function untilProbe(candidates: ReadonlyArray<Candidate>): Effect.Effect<number | null> {
    return Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const waits = (yield* breakers.states)
        .filter((breaker) => breaker.retry_at !== null && candidates.some((candidate) => candidate.provider === breaker.provider))
        .map((breaker) => Math.max(0, Date.parse(breaker.retry_at ?? "") - now))
      return waits.length === 0 ? null : Math.min(...waits)
    })
  }

  return { route, askNext }
})

/** The caller's mistake of asking for what no provider of the route can do. */
const unsupported = (candidate: Candidate, param: string): ProviderError =>
  new ProviderError({
    provider: candidate.provider,
    reason: new ProviderStatus({
      status: 400,
      message: `\`${param}\` is not supported by any provider of \`${candidate.model.id}\` here. Leave it out, or send \`drop_params: true\` to have it left out.`,
      code: "UNSUPPORTED_PARAMETER",
      param,
      retryAfterMs: null
    })
  })

const retryAfterOf = (error: ProviderError): number | null => (error.reason._tag === "ProviderStatus" ? error.reason.retryAfterMs : null)
