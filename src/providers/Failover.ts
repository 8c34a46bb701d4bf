/**
 * One answer out of several providers: breaker permit, attempt, retry, next candidate.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Clock, Context, Effect, Layer, Random, Schema, type Scope } from "effect"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { isCallersMistake, ProviderError, ProviderStatus } from "../../schemas/Provider.ts"
import type { AttemptLog } from "./AttemptLog.ts"
import type { AttemptSpan } from "./AttemptSpan.ts"
import * as AttemptSpans from "./AttemptSpan.ts"
import { Breakers, type Permit } from "./Breakers.ts"
import { canContinue, continueRequest, remaining } from "./Continuation.ts"
import { breakerOutcome, errorCode, type NextStep, nextStep } from "./FailurePolicy.ts"
import type { AnswerStream, ProviderAdapter, ProviderCall } from "./ProviderAdapter.ts"
import { ProviderAdapters } from "./ProviderAdapters.ts"
import { ProviderRegistry } from "./ProviderRegistry.ts"
import * as Rescue from "./Rescue.ts"
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
  readonly source: AnswerStream
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
        const source = Rescue.watch(answer, {
          request: request.request,
          log: request.log,
          askNext: askNext(request, candidate, StreamAttempt.open(scope, true))
        })
        return { candidate, source }
      })
      return Failover.of({
        send: (request) => Effect.map(route(request, askWhole), ({ answer, candidate }) => ({ candidate, events: answer })),
        stream
      })
    })
  )
}

/** One way of asking: the whole answer, or a stream up to its first content. It tells the circuit of a success, at once or at its end. */
type Ask<A> = (adapter: ProviderAdapter, call: ProviderCall, permit: Permit, span: AttemptSpan | null) => Effect.Effect<A, ProviderError>

const askWhole: Ask<ReadonlyArray<InferenceEvent>> = (adapter, call, permit, span) => {
  const asked = Effect.flatMap(adapter.send(call), (events) => Effect.as(permit.tell("success"), events))
  if (span === null) return asked
  return asked.pipe(
    Effect.tap((events) => Effect.sync(() => span.read(events))),
    Effect.tapError((error) => Effect.sync(() => span.fail(error))),
    Effect.onExit((exit) => span.end(exit))
  )
}

/** What follows a failed call. */
type Policy = (error: ProviderError, tries: number) => Effect.Effect<NextStep>

/** One candidate's turn. */
interface Turn<A> {
  readonly log: AttemptLog
  readonly candidate: Candidate
  readonly call: ProviderCall
  readonly ask: Ask<A>
  readonly policy: Policy
}

/** How a turn ended; `step` says what to do next. */
type TurnEnd<A> =
  | { readonly answer: A; readonly error: null; readonly step: null }
  | { readonly answer: null; readonly error: ProviderError; readonly step: NextStep }

/** The most telling failure of a route: the caller's own mistake, else the latest. */
const worse = (before: ProviderError | null, error: ProviderError): ProviderError =>
  before !== null && isCallersMistake(before) ? before : error

const makeRoute = Effect.gen(function* () {
  const breakers = yield* Breakers
  const adapters = yield* ProviderAdapters
  const registry = yield* ProviderRegistry
  const beginSpan = yield* AttemptSpans.make
  const clock = yield* Clock.Clock

  const callOf = ({ maxTokens, request }: FailoverRequest, candidate: Candidate): ProviderCall | null => {
    const provider = registry.get(candidate.provider)
    if (provider === undefined) return null
    const { model, nativeId } = candidate
    return { provider, nativeId, model, request, maxTokens: maxTokens(candidate) }
  }

  const unsupportedBy = (call: ProviderCall): string | null =>
    call.request.dropUnsupported ? null : adapters.for(call.provider).unsupported(call)

  /** Calls the provider, as long as the policy says to try the same again. */
  const attempt = <A>(turn: Turn<A>, permit: Permit, tries: number): Effect.Effect<TurnEnd<A>> => {
    const { ask, call, candidate, log } = turn
    const asked = (span: AttemptSpan | null) => {
      const startedAt = clock.currentTimeMillisUnsafe()
      log.current = candidate
      const noteDown = (status: number | null, error: string | null) =>
        log.attempts.push({
          provider: candidate.provider,
          model: candidate.model.id,
          latencyMs: clock.currentTimeMillisUnsafe() - startedAt,
          status,
          error
        })
      return Effect.matchEffect(ask(adapters.for(call.provider), span?.call ?? call, permit, span), {
        onSuccess: (answer): Effect.Effect<TurnEnd<A>> => {
          noteDown(200, null)
          return Effect.succeed({ answer, error: null, step: null })
        },
        onFailure: (error) => {
          log.current = null
          noteDown(error.reason._tag === "ProviderStatus" ? error.reason.status : null, errorCode(error))
          return afterFailure(turn, permit, error, tries)
        }
      })
    }
    return beginSpan === null ? asked(null) : Effect.flatMap(beginSpan(call), asked)
  }

  const afterFailure = Effect.fnUntraced(function* <A>(
    turn: Turn<A>,
    permit: Permit,
    error: ProviderError,
    tries: number
  ): Effect.fn.Return<TurnEnd<A>> {
    const step = yield* turn.policy(error, tries)
    if (step._tag === "Retry") {
      yield* Effect.sleep(step.delayMs)
      return yield* attempt(turn, permit, tries + 1)
    }
    yield* permit.tell(breakerOutcome(error))
    return { answer: null, error, step }
  })

  /** Null where the circuit lets nobody through. */
  const take = <A>(turn: Turn<A>): Effect.Effect<TurnEnd<A> | null> =>
    Effect.flatMap(breakers.permit(turn.candidate.provider), (permit): Effect.Effect<TurnEnd<A> | null> => {
      if (permit === null) return Effect.succeed(null)
      const asked = attempt(turn, permit, 1)
      // Nobody else may probe until this one has said something.
      return permit.probe ? Effect.onError(asked, () => permit.tell("ignored")) : asked
    })

  const route = Effect.fnUntraced(function* <A>(
    request: FailoverRequest,
    ask: Ask<A>
  ): Effect.fn.Return<{ readonly candidate: Candidate; readonly answer: A }, AllProvidersFailed> {
    /** Providers that were silent, and models that nobody needs to be asked for any more. */
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
      const policy: Policy = (error, tries) => {
        const othersLeft = request.candidates.some(
          (other, at) => at > index && other.model.id === candidate.model.id && !silent.has(other.provider)
        )
        return Effect.map(Random.next, (random) => nextStep({ error, tries, othersLeft, random }))
      }
      const result = yield* take({ log: request.log, candidate, call, ask, policy })
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
    let left: Array<Candidate> | null = null
    // Made for every stream and run for hardly any: no more than a closure.
    return (sent: string): Effect.Effect<A | null> =>
      Effect.gen(function* () {
        left ??= request.candidates
          .slice(request.candidates.indexOf(begun) + 1)
          .filter((candidate) => candidate.model.id === begun.model.id && candidate.provider !== begun.provider)
        for (let candidate = left.shift(); candidate !== undefined; candidate = left.shift()) {
          if (!canContinue(candidate, sent)) continue
          const maxTokens = (of: Candidate) => remaining(request.maxTokens(of), sent)
          const call = callOf({ ...request, request: continueRequest(request.request, sent, candidate.provider), maxTokens }, candidate)
          if (call === null || unsupportedBy(call) !== null) continue
          const result = yield* take({ log: request.log, candidate, call, ask, policy: () => Effect.succeed({ _tag: "Next" }) })
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
