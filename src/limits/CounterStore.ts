/**
 * Counters of fixed windows, bursts, and places taken by what is in flight. One call a request, however many counters.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Schema } from "effect"
import type { Change, Conclusion, Counted, Counter, Place } from "./Counter.ts"
import { MemoryCounters } from "./MemoryCounters.ts"

/** The store did not answer, or not in time. @category errors @since 0.1.0 */
export class CounterStoreError extends Schema.TaggedError<CounterStoreError>()("CounterStoreError", { message: Schema.String }) {}

/** @category services @since 0.1.0 */
export class CounterStore extends Context.Service<
  CounterStore,
  {
    readonly raise: (counters: ReadonlyArray<Counter>) => Effect.Effect<Counted, CounterStoreError>
    /** Adds to counters that are there, whatever their limits; below zero counts as zero. */
    readonly adjust: (changes: ReadonlyArray<Change>) => Effect.Effect<void, CounterStoreError>
    /** Gives places back. */
    readonly leave: (places: ReadonlyArray<Place>) => Effect.Effect<void, CounterStoreError>
    /** Keeps places for `ttlMs` more; one that was lost is taken again. */
    readonly renew: (places: ReadonlyArray<Place>, ttlMs: number) => Effect.Effect<void, CounterStoreError>
    /** All that ends with a request, in one call; gives the counts of what was raised. */
    readonly conclude: (end: Conclusion) => Effect.Effect<ReadonlyArray<number>, CounterStoreError>
    /** The counters themselves where they are in this process, so that nobody has to wait; null where they are shared. */
    readonly local: MemoryCounters | null
    /** Whether counters that replicas share are out of reach, so that each counts for itself. */
    readonly isAway: () => boolean
  }
>()("sluice/limits/CounterStore") {
  /** Counters in this process, the least recently used given up beyond `size`. */
  static readonly layerMemory = (options: { readonly size: number; readonly idleMs?: number }): Layer.Layer<CounterStore> =>
    Layer.sync(this, () => makeMemory(options))
}

/** @category constructors @since 0.1.0 */
export const makeMemory = (options: {
  readonly size: number
  readonly idleMs?: number
}): CounterStore["Service"] & { readonly size: () => number; readonly local: MemoryCounters } => {
  const counters = new MemoryCounters(options)
  const at = <A>(work: (now: number) => A): Effect.Effect<A> => Effect.map(Clock.currentTimeMillis, work)
  return {
    raise: (raised) => at((now) => counters.raise(raised, now)),
    adjust: (changes) => at((now) => counters.adjust(changes, now)),
    leave: (places) => Effect.sync(() => counters.leave(places)),
    renew: (places, ttlMs) => at((now) => counters.renew(places, ttlMs, now)),
    conclude: (end) => at((now) => counters.conclude(end, now)),
    local: counters,
    isAway: () => false,
    size: () => counters.size()
  }
}
