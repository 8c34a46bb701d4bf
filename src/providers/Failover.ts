/**
 * One answer out of several providers: breaker permit, attempt, retry, next candidate.
 *
 * @since 0.1.0
 */
import { Array as Arr, Clock, Context, Effect, Exit, Layer, type Pull, Random, Result, Schema, Scope, Stream } from "effect"
import { type InferenceEvent, type InferenceRequest, isContent } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { isCallersMistake, ProviderError, ProviderStatus } from "../../schemas/Provider.ts"
import { Breakers, type Permit } from "./Breakers.ts"
import { breakerOutcome, errorCode, nextStep } from "./FailurePolicy.ts"
import type { ProviderAdapter, ProviderCall } from "./ProviderAdapter.ts"
import { ProviderAdapters } from "./ProviderAdapters.ts"
import { ProviderRegistry } from "./ProviderRegistry.ts"

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
>()("sluice/providers/Failover") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const route = yield* makeRoute
      return Failover.of({
        send: (request) => Effect.map(route(request, askWhole), ({ answer, candidate }) => ({ candidate, events: answer })),
        stream: (request) =>
          Effect.flatMap(Effect.scope, (scope) =>
            Effect.map(route(request, openStream(scope, request.log)), ({ answer, candidate }) => ({ candidate, events: answer }))
          )
      })
    })
  )
}

type Batch = Arr.NonEmptyReadonlyArray<InferenceEvent>

/** Tells the circuit once, whoever comes first. */
interface Verdict {
  readonly tell: Permit["tell"]
}

const verdictOf = (permit: Permit): Verdict => {
  let told = false
  return {
    tell: (outcome) =>
      Effect.suspend(() => {
        if (told) return Effect.void
        told = true
        return permit.tell(outcome)
      })
  }
}

/** One way of asking: the whole answer, or a stream up to its first content. It tells the circuit of a success, at once or at its end. */
type Ask<A> = (adapter: ProviderAdapter, call: ProviderCall, verdict: Verdict) => Effect.Effect<A, ProviderError>

const askWhole: Ask<ReadonlyArray<InferenceEvent>> = (adapter, call, verdict) =>
  Effect.tap(adapter.send(call), () => verdict.tell("success"))

/** Notes on the last attempt that what had begun broke off. */
const breakOff = (log: AttemptLog, error: ProviderError): void => {
  const last = log.attempts.pop()
  if (last !== undefined) log.attempts.push({ ...last, error: errorCode(error) })
  log.current = null
}

/**
 * Opens a stream in a Scope of its own under the request's, and reads until content or an end has come. Failing before
 * that closes the Scope: the provider is let go before the next one is asked.
 */
const openStream =
  (parent: Scope.Scope, log: AttemptLog): Ask<Stream.Stream<Batch, ProviderError>> =>
  (adapter, call, verdict) =>
    Effect.gen(function* () {
      const scope = yield* Scope.fork(parent)
      const opened = Effect.gen(function* () {
        const pull = yield* Stream.toPull(yield* adapter.stream(call))
        const head = yield* readHead(call.provider.definition.slug, pull)
        // A caller who leaves from here on says nothing about the provider.
        yield* Scope.addFinalizer(scope, verdict.tell("ignored"))
        return Stream.fromPull(Effect.succeed(watched(head, pull, verdict, log)))
      })
      return yield* opened.pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
      )
    })

const readHead = Effect.fnUntraced(function* (provider: string, pull: Pull.Pull<Arr.NonEmptyReadonlyArray<Batch>, ProviderError>) {
  const head: Array<Batch> = []
  const opens = (batch: Batch) => batch.some((event) => event._tag === "Finish" || isContent(event))
  while (!head.some(opens)) {
    head.push(...(yield* Effect.catchTag(pull, "Done", () => Effect.die(new Error(`${provider} ended without content or failure`)))))
  }
  return head
})

/** What was read already, then the rest; the end is told to the circuit. */
const watched = (
  head: ReadonlyArray<Batch>,
  pull: Pull.Pull<Arr.NonEmptyReadonlyArray<Batch>, ProviderError>,
  verdict: Verdict,
  log: AttemptLog
): Pull.Pull<Arr.NonEmptyReadonlyArray<Batch>, ProviderError> => {
  let unread = head
  const rest = Effect.tapError(pull, (error) => {
    if (error._tag === "ProviderError") {
      breakOff(log, error)
      return verdict.tell(breakerOutcome(error))
    }
    return verdict.tell("success")
  })
  return Effect.suspend(() => {
    const first = unread
    unread = []
    return Arr.isReadonlyArrayNonEmpty(first) ? Effect.succeed(first) : rest
  })
}

/** The most telling failure of a route: the caller's own mistake, else the latest. */
const worse = (before: ProviderError | null, error: ProviderError): ProviderError =>
  before !== null && isCallersMistake(before) ? before : error

const makeRoute = Effect.gen(function* () {
  const breakers = yield* Breakers
  const adapters = yield* ProviderAdapters
  const registry = yield* ProviderRegistry

  const callOf = (request: FailoverRequest, candidate: Candidate): ProviderCall | null => {
    const provider = registry.get(candidate.provider)
    if (provider === undefined) return null
    const { model, nativeId } = candidate
    return { provider, nativeId, model, request: request.request, maxTokens: request.maxTokens(candidate) }
  }

  /** One candidate's turn: a permit, then calls as long as the policy says to try the same provider again. */
  const turn = Effect.fnUntraced(function* <A>(
    request: FailoverRequest,
    candidate: Candidate,
    call: ProviderCall,
    othersLeft: boolean,
    ask: Ask<A>
  ) {
    const { provider } = call
    const permit = yield* breakers.permit(candidate.provider)
    if (permit === null) return null
    const { log } = request
    const verdict = verdictOf(permit)
    return yield* Effect.gen(function* () {
      for (let tries = 1; ; tries++) {
        const startedAt = yield* Clock.currentTimeMillis
        log.current = candidate
        const result = yield* Effect.result(ask(adapters.for(provider), call, verdict))
        const latencyMs = (yield* Clock.currentTimeMillis) - startedAt
        const row = { provider: candidate.provider, model: candidate.model.id, latencyMs }
        if (Result.isSuccess(result)) {
          log.attempts.push({ ...row, status: 200, error: null })
          return { answer: result.success, error: null, step: null }
        }
        const error = result.failure
        log.current = null
        log.attempts.push({ ...row, status: error.reason._tag === "ProviderStatus" ? error.reason.status : null, error: errorCode(error) })
        const step = nextStep({ error, tries, othersLeft, random: yield* Random.next })
        if (step._tag === "Retry") {
          yield* Effect.sleep(step.delayMs)
          continue
        }
        yield* verdict.tell(breakerOutcome(error))
        return { answer: null, error, step }
      }
    }).pipe(Effect.onError(() => verdict.tell("ignored")))
  })

  return Effect.fnUntraced(function* <A>(
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
      const param = request.request.dropUnsupported ? null : adapters.for(call.provider).unsupported(call)
      if (param !== null) {
        refused ??= unsupported(candidate, param)
        continue
      }
      const othersLeft = request.candidates.some(
        (other, at) => at > index && other.model.id === candidate.model.id && !silent.has(other.provider)
      )
      const result = yield* turn(request, candidate, call, othersLeft, ask)
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
