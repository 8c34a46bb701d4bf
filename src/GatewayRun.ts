/**
 * One request as it is written down while it runs through the gateway, and how it ends.
 *
 * @since 0.1.0
 */
import { Cause, type Clock, Effect, Exit, Scope } from "effect"
import type { CacheMode, Caller } from "../schemas/Account.ts"
import type { InferenceRequest } from "../schemas/Inference.ts"
import type { Candidate } from "../schemas/Model.ts"
import * as Money from "../schemas/Money.ts"
import { totalTokens } from "../schemas/Usage.ts"
import type { Lifecycle } from "./health/Lifecycle.ts"
import type { Trials } from "./identity/Trials.ts"
import * as Charge from "./ledger/Charge.ts"
import type { Ledger } from "./ledger/Ledger.ts"
import * as Pricing from "./ledger/Pricing.ts"
import * as AttemptLog from "./providers/AttemptLog.ts"
import type { Routing } from "./routing/RouterDecision.ts"
import { Meter } from "./streams/Meter.ts"
import type { Outcome, Outcomes } from "./usage/Outcomes.ts"
import type { RunningRequests } from "./usage/RunningRequests.ts"

/** The rooms that have to do with a request's end. @category models @since 0.1.0 */
export interface Rooms {
  readonly ledger: Ledger["Service"]
  readonly outcomes: Outcomes["Service"]
  readonly running: RunningRequests["Service"]
  readonly lifecycle: Lifecycle["Service"]
  readonly trials: Trials["Service"]
  readonly clock: Clock.Clock
}

/** One request, authenticated and decoded. @category models @since 0.1.0 */
export interface RunCall {
  readonly caller: Caller
  readonly request: InferenceRequest
  /** The server's id of the request: names it in the book, once. */
  readonly rid: string
  /** The caller's own id, for tracing only. */
  readonly clientRequestId: string | null
  /** What the request says of the response cache; null, or absent: nothing. */
  readonly cache?: CacheMode | null
}

/** What is written down while a request runs; its end is told from it. @category models @since 0.1.0 */
export interface GatewayRun {
  /** Its request is what guardrails left of it. */
  call: RunCall
  readonly flags: Set<string>
  readonly startedAt: number
  readonly log: AttemptLog.AttemptLog
  readonly meter: Meter
  routing: Routing | null
  firstChunkAt: number | null
  outcome: Outcome["outcome"]
  status: number
  candidate: Candidate | null
  cost: Money.Money
  readonly charge: Charge.Charge
}

/** The HTTP status of a request whose caller has left before the end; never sent. */
const CLIENT_CLOSED_REQUEST = 499

/** Begins to write a request down; when the Scope closes its charge has ended, and what is written is told. @category constructors @since 0.1.0 */
export const begin = (line: Rooms, call: RunCall, scope: Scope.Scope): Effect.Effect<GatewayRun> => {
  const run: GatewayRun = {
    call,
    flags: new Set(),
    startedAt: line.clock.currentTimeMillisUnsafe(),
    log: AttemptLog.make(),
    meter: new Meter(Pricing.promptTokens(call.request), call.request.audio?.seconds),
    charge: new Charge.Charge(line.ledger, (exit) => abandoned(run, exit, line.lifecycle.state() === "stopped")),
    routing: null,
    firstChunkAt: null,
    outcome: "rejected",
    status: 500,
    candidate: null,
    cost: Money.zero
  }
  if (!call.caller.isAnonymous) {
    const { caller, clientRequestId, request, rid } = call
    line.running.begin({
      id: rid,
      account: caller.accountId,
      keyId: caller.keyId,
      clientRequestId,
      requestedModel: request.model,
      stream: request.stream,
      startedAt: run.startedAt
    })
  }
  const tell = Effect.sync(() => {
    if (call.caller.trialEndsAt !== null && run.cost > 0n) line.trials.used(call.caller.accountId, totalTokens(run.meter.usage()))
    line.outcomes.tell(toOutcome(run, line.clock.currentTimeMillisUnsafe()))
  })
  return Effect.as(
    Scope.addFinalizerExit(scope, (exit) => {
      const ended = run.charge.close(exit)
      return ended === Effect.void ? tell : Effect.andThen(ended, tell)
    }),
    run
  )
}

/** @category endings @since 0.1.0 */
export const refund = (run: GatewayRun, why: string): Charge.ChargeEnd => ({
  _tag: "Refund",
  model: run.candidate?.model.id ?? run.log.attempts.at(-1)?.model ?? run.call.request.model,
  provider: run.candidate?.provider ?? run.log.attempts.at(-1)?.provider ?? null,
  why
})

/**
 * The end of a request that reached none of its own. The caller left: who pays for the input and what was produced until
 * then, once a provider was asked. Or something of ours broke, or the shutdown cut it: that costs the caller nothing.
 */
const abandoned = (run: GatewayRun, exit: Exit.Exit<unknown, unknown>, stopped: boolean): Charge.ChargeEnd => {
  // An interruption comes with whatever was thrown while it was carried out; alone, a defect is ours.
  const broke = Exit.isFailure(exit) && !Cause.hasInterrupts(exit.cause)
  if (broke || stopped) {
    run.outcome = "refunded"
    run.status = broke ? 500 : 503
    return refund(run, broke ? "internal error" : "shutdown")
  }
  const candidate = run.log.current ?? run.candidate
  run.outcome = "cancelled"
  run.status = CLIENT_CLOSED_REQUEST
  if (candidate === null) return { _tag: "Release" }
  run.candidate = candidate
  const end = Charge.forUsage(candidate, run.meter.usage())
  run.cost = end.cost
  return end
}

const toOutcome = (run: GatewayRun, now: number): Outcome => ({
  caller: run.call.caller,
  request: run.call.request,
  rid: run.call.rid,
  clientRequestId: run.call.clientRequestId,
  candidate: run.candidate,
  attempts: run.log.attempts,
  routing: run.routing,
  usage: run.meter.usage(),
  cost: run.cost,
  held: run.charge.held,
  outcome: run.outcome,
  flags: [...run.flags],
  status: run.status,
  startedAt: run.startedAt,
  endedAt: now,
  timeToFirstChunkMs: run.firstChunkAt === null ? null : run.firstChunkAt - run.startedAt
})
