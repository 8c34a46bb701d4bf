/**
 * Counters shared by replicas, with counters of this process for the time that the shared ones are out of reach.
 *
 * The first call that fails turns to the process's own; from then on nobody waits for the shared store, which is asked in
 * the background until it answers. What was counted meanwhile, and what was given back, is told to it before it counts again.
 *
 * @since 0.1.0
 */
import { Cause, Effect, Latch, Metric, Schedule, type Scope } from "effect"
import type { Change, Conclusion, Counter, Place } from "./Counter.ts"
import { type CounterStore, type CounterStoreError, makeMemory } from "./CounterStore.ts"

/** What takes over when the store is away: small, and forgetful. @category models @since 0.1.0 */
export const LOCAL = { size: 500, idleMs: 900_000 }

/** Changes owed to the shared store, at most. */
const OWED_MAX = 10_000

/** Changes told to the shared store in one call. */
const BATCH = 200

const failures = Metric.counter("sluice_limit_store_failures_total", {
  description: "Counter calls that the shared store failed",
  incremental: true
})
const local = Metric.gauge("sluice_limit_store_local", { description: "1 while limits are counted by this process alone" })

/** What the shared store missed: sums by counter, and places that were left. */
class Owed {
  private sums = new Map<string, { by: number; ttlMs: number }>()
  private left: Array<Place> = []

  add(key: string, by: number, ttlMs: number): void {
    const known = this.sums.get(key)
    if (known !== undefined) {
      known.by += by
      known.ttlMs = Math.max(known.ttlMs, ttlMs)
    } else if (this.sums.size < OWED_MAX) this.sums.set(key, { by, ttlMs })
  }

  leave(places: ReadonlyArray<Place>): void {
    if (this.left.length < OWED_MAX) this.left.push(...places)
  }

  isEmpty(): boolean {
    return this.sums.size === 0 && this.left.length === 0
  }

  take(): Conclusion {
    const raised: Array<Counter> = []
    const lowered: Array<Change> = []
    for (const [key, { by, ttlMs }] of this.sums) {
      if (raised.length + lowered.length >= BATCH) break
      this.sums.delete(key)
      if (by > 0 && ttlMs > 0) raised.push({ key, by, limit: null, ttlMs })
      else if (by !== 0) lowered.push({ key, by })
    }
    return { raised, lowered, left: this.left.splice(0, BATCH) }
  }
}

/** @category models @since 0.1.0 */
export interface GuardOptions {
  /** Between two questions whether the shared store is back, in milliseconds. */
  readonly probeMs?: number
}

/**
 * Guards a shared store, whose calls have to end within a bounded time. The store that is given back never fails by the
 * shared one's fault.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  shared: CounterStore["Service"],
  options: GuardOptions = {}
): Effect.fn.Return<CounterStore["Service"], never, Scope.Scope> {
  const own = makeMemory(LOCAL)
  const owed = new Owed()
  const wake = Latch.makeUnsafe(false)
  let away = false

  /** Turns to this process's counters, unless the caller was interrupted; then nothing is known of the store. */
  const insteadOf = <A>(
    cause: Cause.Cause<CounterStoreError>,
    instead: Effect.Effect<A, CounterStoreError>
  ): Effect.Effect<A, CounterStoreError> => {
    if (Cause.hasInterrupts(cause)) return Effect.failCause(cause)
    const turn = Effect.suspend(() => {
      if (away) return Effect.void
      away = true
      wake.openUnsafe()
      return Effect.andThen(
        Metric.update(local, 1),
        Effect.logWarning("The shared counters are out of reach: limits hold for each process alone")
      )
    })
    return Effect.andThen(Effect.andThen(Metric.update(failures, 1), turn), instead)
  }

  const raiseOwn = (counters: ReadonlyArray<Counter>) =>
    Effect.tap(own.raise(counters), ({ refused }) =>
      Effect.sync(() => {
        if (refused.length > 0) return
        for (const { by, key, kind, ttlMs } of counters) if (kind === undefined) owed.add(key, by, ttlMs)
      })
    )
  const placesOf = (counters: ReadonlyArray<Counter>): ReadonlyArray<Place> =>
    counters.flatMap(({ key, kind, member }) => (kind === "place" && member !== undefined ? [{ key, member }] : []))
  const adjustOwn = (changes: ReadonlyArray<Change>) =>
    Effect.suspend(() => {
      for (const { by, key } of changes) owed.add(key, by, 0)
      return own.adjust(changes)
    })
  const concludeOwn = ({ left, lowered, raised }: Conclusion) =>
    Effect.suspend(() => {
      owed.leave(left)
      for (const { by, key } of lowered) owed.add(key, by, 0)
      return own.conclude({ left: [], lowered, raised })
    })
  const concludeAway = (end: Conclusion) => {
    for (const { by, key, ttlMs } of end.raised) owed.add(key, by, ttlMs)
    return concludeOwn(end)
  }
  const leaveOwed = (places: ReadonlyArray<Place>) => Effect.sync(() => owed.leave(places))

  /** Asks until it answers, then tells it what it missed. */
  const recover = Effect.gen(function* () {
    yield* wake.await
    const probe = Effect.gen(function* () {
      yield* shared.raise([])
      while (!owed.isEmpty()) yield* shared.conclude(owed.take())
    })
    yield* Effect.retry(Effect.catchDefect(probe, Effect.fail), { schedule: Schedule.spaced(options.probeMs ?? 500) })
    away = false
    yield* wake.close
    yield* Metric.update(local, 0)
    yield* Effect.logWarning("The shared counters are back")
  })
  yield* Effect.forkScoped(Effect.forever(recover))

  return {
    raise: (counters) =>
      away
        ? raiseOwn(counters)
        : Effect.catchCause(shared.raise(counters), (cause) =>
            // It may yet be carried out: so nothing of it is owed, and the place is given back that nobody would.
            insteadOf(cause, Effect.andThen(leaveOwed(placesOf(counters)), own.raise(counters)))
          ),
    adjust: (changes) =>
      away ? adjustOwn(changes) : Effect.catchCause(shared.adjust(changes), (cause) => insteadOf(cause, adjustOwn(changes))),
    leave: (places) =>
      Effect.andThen(
        Effect.ignore(own.leave(places)),
        Effect.suspend(() =>
          away ? leaveOwed(places) : Effect.catchCause(shared.leave(places), (cause) => insteadOf(cause, leaveOwed(places)))
        )
      ),
    renew: (places, ttlMs) =>
      away
        ? own.renew(places, ttlMs)
        : Effect.catchCause(shared.renew(places, ttlMs), (cause) => insteadOf(cause, own.renew(places, ttlMs))),
    conclude: (end) =>
      Effect.suspend(() => {
        own.local.leave(end.left)
        // As with a raise: what may yet be carried out is not owed.
        return away ? concludeAway(end) : Effect.catchCause(shared.conclude(end), (cause) => insteadOf(cause, concludeOwn(end)))
      }),
    // Whether another is to be asked may change with each request.
    local: null,
    isAway: () => away
  }
})
