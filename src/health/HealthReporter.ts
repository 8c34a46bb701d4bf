/**
 * Writes down what calls came to, a few times a minute, and learns what other replicas found.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Latch, Layer, Semaphore } from "effect"
import type { HealthState } from "../../schemas/Health.ts"
import * as Singletons from "../replicas/Singletons.ts"
import { isTrouble, type Outcome, Outcomes } from "../usage/Outcomes.ts"
import { HealthBoard, type Observation } from "./HealthBoard.ts"
import { HealthBook, type HealthBookError, type ModelReport } from "./HealthBook.ts"
import { KEPT_MS } from "./HealthTrack.ts"

/** @category models @since 0.1.0 */
export interface HealthReporterOptions {
  /** Between two looks at what others found, in milliseconds. */
  readonly refreshMs?: number
}

/** @category services @since 0.1.0 */
export class HealthReporter extends Context.Service<
  HealthReporter,
  {
    /** Writes now what was not written yet. What cannot be written is kept for the next time. */
    readonly flush: Effect.Effect<void, HealthBookError>
    /** Learns now what others found. */
    readonly refresh: Effect.Effect<void, HealthBookError>
  }
>()("sluice/health/HealthReporter") {
  static readonly layer = (options: HealthReporterOptions = {}) => Layer.effect(this, make(options.refreshMs ?? REFRESH_EVERY))
}

/** Milliseconds between two reports; the shorter once something fell ill or recovered. */
const EVERY = 5_000
const SOON = 250
const REFRESH_EVERY = 60_000
const SWEEP_EVERY = 3_600_000
/** How long the last report may take when the process ends. */
const LAST = 3_000
const ERROR_MAX = 100
/** Models at providers that wait to be reported, at most. */
const WAITING = 10_000

type Changing<A> = { -readonly [K in keyof A]: A[K] }

const fresh = { successes: 0, failures: 0, probes: 0, latency_ms: 0, run: 0, error: null }

/** What came since the last report. */
class Gathered {
  /** By provider, then by model. */
  private readonly models = new Map<string, Map<string, Changing<ModelReport>>>()
  private size = 0
  readonly plans = new Map<string, { plan: string; successes: number; failures: number }>()

  add({ at, error, isProbe, latencyMs, model, provider }: Observation, state: HealthState): void {
    const report = this.models.get(provider)?.get(model) ?? this.put({ ...fresh, provider, model, at, state })
    if (report === null) return
    report.state = state
    report.at = at
    report.latency_ms += Math.round(latencyMs)
    if (isProbe) report.probes++
    if (error === null) {
      report.successes++
      report.run = 0
    } else {
      report.failures++
      report.run++
      report.error = error.slice(0, ERROR_MAX)
    }
  }

  /** Null: nothing more fits. */
  private put(report: Changing<ModelReport>): Changing<ModelReport> | null {
    if (this.size >= WAITING) return null
    this.size++
    const models = this.models.get(report.provider)
    if (models === undefined) this.models.set(report.provider, new Map([[report.model, report]]))
    else models.set(report.model, report)
    return report
  }

  all(): ReadonlyArray<Changing<ModelReport>> {
    return [...this.models.values()].flatMap((models) => [...models.values()])
  }

  addPlan(plan: string, ok: boolean): void {
    let report = this.plans.get(plan)
    if (report === undefined) {
      report = { plan, successes: 0, failures: 0 }
      this.plans.set(plan, report)
    }
    if (ok) report.successes++
    else report.failures++
  }

  /** Puts what was not written before what came meanwhile. */
  giveBack(before: Gathered): void {
    for (const report of before.all()) {
      const later = this.models.get(report.provider)?.get(report.model)
      if (later === undefined) this.put(report)
      else {
        later.run += later.successes === 0 ? report.run : 0
        later.successes += report.successes
        later.failures += report.failures
        later.probes += report.probes
        later.latency_ms += report.latency_ms
        later.error ??= report.error
      }
    }
    for (const { failures, plan, successes } of before.plans.values()) {
      const later = this.plans.get(plan) ?? { plan, successes: 0, failures: 0 }
      this.plans.set(plan, { plan, successes: later.successes + successes, failures: later.failures + failures })
    }
  }

  get isEmpty(): boolean {
    return this.size + this.plans.size === 0
  }
}

const keyOf = ({ model, provider }: Pick<ModelReport, "provider" | "model">): string => `${provider} ${model}`

/** Whether a request of a plan's customer went well; null: its end says nothing of us. */
const wentWell = (outcome: Outcome): boolean | null => {
  if (outcome.outcome === "ok" || outcome.outcome === "cached") return true
  return isTrouble(outcome) ? false : null
}

const make = Effect.fnUntraced(function* (refreshMs: number) {
  const board = yield* HealthBoard
  const book = yield* HealthBook
  const outcomes = yield* Outcomes
  const turn = Semaphore.makeUnsafe(1)
  const some = Latch.makeUnsafe(false)
  const urgent = Latch.makeUnsafe(false)
  let gathered = new Gathered()
  /** Models at providers that were last reported as ill. */
  const ill = new Set<string>()

  board.subscribe((observed, state) => {
    gathered.add(observed, state)
    some.openUnsafe()
    if (state !== "healthy" || (ill.size > 0 && ill.has(keyOf(observed)))) urgent.openUnsafe()
  })
  yield* outcomes.subscribe((outcome) => {
    const well = outcome.caller.isAnonymous ? null : wentWell(outcome)
    if (well === null) return
    gathered.addPlan(outcome.caller.plan, well)
    some.openUnsafe()
  })

  const flush = turn.withPermits(1)(
    Effect.gen(function* () {
      if (gathered.isEmpty) return
      const taken = gathered
      gathered = new Gathered()
      some.closeUnsafe()
      const now = yield* Clock.currentTimeMillis
      yield* Effect.onError(book.report(now, taken.all(), [...taken.plans.values()]), () =>
        Effect.sync(() => {
          gathered.giveBack(taken)
          some.openUnsafe()
        })
      )
      for (const report of taken.all()) {
        if (report.state === "healthy") ill.delete(keyOf(report))
        else ill.add(keyOf(report))
      }
    })
  )
  const refresh = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    board.hear(yield* book.statesSince(now - KEPT_MS))
  })
  const sweep = Effect.flatMap(Clock.currentTimeMillis, book.sweep)
  const quiet = (effect: Effect.Effect<void, HealthBookError>) =>
    Effect.catch(effect, ({ message }) => Effect.logWarning(`Health could not be written or read: ${message}`))
  const every = (pause: Effect.Effect<void>, effect: Effect.Effect<void, HealthBookError>) =>
    Effect.forkScoped(Effect.forever(Effect.andThen(pause, quiet(effect))))

  yield* quiet(refresh)
  yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeout(flush, LAST)))
  // Ill news is written soon, everything else now and then.
  const pause = Effect.gen(function* () {
    yield* some.await
    yield* Effect.sleep(SOON)
    yield* Effect.timeoutOrElse(urgent.await, { duration: EVERY - SOON, orElse: () => Effect.void })
    urgent.closeUnsafe()
  })
  yield* every(pause, flush)
  yield* every(Effect.sleep(refreshMs), refresh)
  yield* Singletons.every("old health", SWEEP_EVERY, quiet(sweep))
  return HealthReporter.of({ flush, refresh })
})
