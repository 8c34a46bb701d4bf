/**
 * Counters of fixed windows, and places taken by what is in flight. One call a request, however many counters.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Schema } from "effect"

/** The store did not answer, or not in time. @category errors @since 0.1.0 */
export class CounterStoreError extends Schema.TaggedError<CounterStoreError>()("CounterStoreError", { message: Schema.String }) {}

/** One counter to raise by `by`, unless that passes `limit`. @category models @since 0.1.0 */
export interface Counter {
  readonly key: string
  readonly by: number
  /** Null: counted, never refused. */
  readonly limit: number | null
  /** Milliseconds the counter lives, from its first raise. */
  readonly ttlMs: number
}

/** The counts after the call. Nothing was raised when `refused` names a counter: all or none. @category models @since 0.1.0 */
export interface Counted {
  readonly counts: ReadonlyArray<number>
  /** Positions of the counters that would pass their limit. */
  readonly refused: ReadonlyArray<number>
}

/** @category services @since 0.1.0 */
export class CounterStore extends Context.Service<
  CounterStore,
  {
    readonly raise: (counters: ReadonlyArray<Counter>) => Effect.Effect<Counted, CounterStoreError>
    /** Adds to counters whatever their limits; below zero counts as zero. */
    readonly adjust: (changes: ReadonlyArray<{ readonly key: string; readonly by: number }>) => Effect.Effect<void, CounterStoreError>
  }
>()("sluice/limits/CounterStore") {
  /** Counters in this process, the least recently used given up beyond `size`. */
  static readonly layerMemory = (options: { readonly size: number; readonly idleMs?: number }): Layer.Layer<CounterStore> =>
    Layer.sync(this, () => makeMemory(options))
}

interface Cell {
  count: number
  expiresAt: number
  touchedAt: number
}

/** @category constructors @since 0.1.0 */
export const makeMemory = (options: {
  readonly size: number
  readonly idleMs?: number
}): CounterStore["Service"] & { readonly size: () => number } => {
  const cells = new Map<string, Cell>()
  const idleMs = options.idleMs ?? Number.POSITIVE_INFINITY

  const live = (key: string, now: number): Cell | undefined => {
    const cell = cells.get(key)
    if (cell === undefined) return undefined
    // Taken out and put back: the map's order is the order of use.
    cells.delete(key)
    if (now >= cell.expiresAt || now - cell.touchedAt > idleMs) return undefined
    cells.set(key, cell)
    return cell
  }

  const put = (key: string, cell: Cell): void => {
    if (cells.size >= options.size) {
      const oldest = cells.keys().next()
      if (oldest.done !== true) cells.delete(oldest.value)
    }
    cells.set(key, cell)
  }

  const raise = (counters: ReadonlyArray<Counter>, now: number): Counted => {
    const before = counters.map((counter) => live(counter.key, now)?.count ?? 0)
    const refused = counters.flatMap((counter, at) =>
      counter.limit !== null && (before[at] ?? 0) + counter.by > counter.limit ? [at] : []
    )
    if (refused.length > 0) return { counts: before, refused }
    const counts = counters.map((counter, at) => {
      const count = (before[at] ?? 0) + counter.by
      const cell = cells.get(counter.key)
      if (cell === undefined) put(counter.key, { count, expiresAt: now + counter.ttlMs, touchedAt: now })
      else {
        cell.count = count
        cell.touchedAt = now
      }
      return count
    })
    return { counts, refused }
  }

  return {
    raise: (counters) => Effect.map(Clock.currentTimeMillis, (now) => raise(counters, now)),
    adjust: (changes) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        for (const { by, key } of changes) {
          const cell = live(key, now)
          if (cell !== undefined) cell.count = Math.max(0, cell.count + by)
        }
      }),
    size: () => cells.size
  }
}
