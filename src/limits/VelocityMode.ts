/**
 * Velocity mode: while a burst of requests fails, everybody's pace is held back for a while.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric, type Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"

/** What velocity mode does to somebody; times are epoch milliseconds. @category models @since 0.1.0 */
export interface Velocity {
  readonly until: number
  readonly factor: number
}

/** @category services @since 0.1.0 */
export class VelocityMode extends Context.Service<
  VelocityMode,
  {
    /** Counts one request that ended, at once, and whether the trouble was ours or the provider's; gives what is left to do where that turned it on. */
    readonly observe: (failed: boolean) => Effect.Effect<void>
    /** What holds for a caller now; null in normal times. Reads only. */
    readonly of: (caller: Pick<Caller, "plan" | "role"> | null, now: number) => Velocity | null
  }
>()("sluice/limits/VelocityMode") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make())
  )
}

/** The window of the rule, one bucket a second. */
const BUCKETS = 60
const LEAST_REQUESTS = 100
const ERROR_RATE = 0.25
const COOL_DOWN = 180_000

/** What is left of a limit, by plan; nobody known keeps least. */
const factors: Readonly<Record<Caller["plan"], number>> = { trial: 0.5, dev: 0.75, team: 0.9, enterprise: 1 }
const FACTOR_OF_NOBODY = 0.5

const active = Metric.gauge("sluice_velocity_mode_active", { description: "1 while velocity mode is on" })
const activations = Metric.counter("sluice_velocity_mode_activations_total", {
  description: "Times that velocity mode was turned on",
  incremental: true
})
const duration = Metric.histogram("sluice_velocity_mode_duration_seconds", {
  description: "How long velocity mode was on, in seconds",
  boundaries: [60, 120, 180, 300, 600]
})

/** Sums over the last minute, by the second. */
class Minute {
  private readonly seconds = new Array<number>(BUCKETS).fill(-1)
  private readonly requests = new Array<number>(BUCKETS).fill(0)
  private readonly errors = new Array<number>(BUCKETS).fill(0)

  add(second: number, failed: boolean): void {
    const at = second % BUCKETS
    if (this.seconds[at] !== second) {
      this.seconds[at] = second
      this.requests[at] = 0
      this.errors[at] = 0
    }
    this.requests[at] = (this.requests[at] ?? 0) + 1
    if (failed) this.errors[at] = (this.errors[at] ?? 0) + 1
  }

  sums(second: number): { readonly requests: number; readonly errors: number } {
    let requests = 0
    let errors = 0
    for (let at = 0; at < BUCKETS; at++) {
      if ((this.seconds[at] ?? -1) <= second - BUCKETS) continue
      requests += this.requests[at] ?? 0
      errors += this.errors[at] ?? 0
    }
    return { requests, errors }
  }
}

const make = Effect.fnUntraced(function* (): Effect.fn.Return<VelocityMode["Service"], never, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const minute = new Minute()
  let until = 0

  const coolDown = Effect.gen(function* () {
    yield* Effect.sleep(COOL_DOWN)
    yield* Metric.update(active, 0)
    yield* Metric.update(duration, COOL_DOWN / 1_000)
    yield* Effect.logWarning("Velocity mode is off")
  })

  const turnedOn = (requests: number, errors: number) =>
    Effect.gen(function* () {
      yield* Metric.update(activations, 1)
      yield* Metric.update(active, 1)
      yield* Effect.logWarning("Velocity mode is on: limits are held back", { requests, errors, seconds: COOL_DOWN / 1_000 })
      yield* Effect.forkIn(coolDown, scope)
    })

  const observe = (failed: boolean): Effect.Effect<void> => {
    const now = clock.currentTimeMillisUnsafe()
    const second = Math.floor(now / 1_000)
    minute.add(second, failed)
    // Only a failure can bring the rate up.
    if (!failed || now < until) return Effect.void
    const { errors, requests } = minute.sums(second)
    if (requests < LEAST_REQUESTS || errors / requests < ERROR_RATE) return Effect.void
    until = now + COOL_DOWN
    return turnedOn(requests, errors)
  }

  return VelocityMode.of({
    observe,
    of: (caller, now) => {
      if (now >= until) return null
      if (caller === null) return { until, factor: FACTOR_OF_NOBODY }
      return { until, factor: caller.role === "admin" ? 1 : factors[caller.plan] }
    }
  })
})
