/**
 * What is counted, and what came of it.
 *
 * @since 0.1.0
 */

/** One counter to raise by `by`, unless that passes `limit`. @category models @since 0.1.0 */
export interface Counter {
  readonly key: string
  readonly by: number
  /** Null: counted, never refused. */
  readonly limit: number | null
  /** Milliseconds the counter lives, from its first raise. A burst is refilled evenly over them; a place is free again after them. */
  readonly ttlMs: number
  /**
   * What is counted. Absent: what came in a window. `burst`: a bucket of `limit`, full at first. `place`: what is in flight,
   * each under a `member` of its own until it leaves.
   */
  readonly kind?: "burst" | "place"
  readonly member?: string
}

/** The counts after the call. Nothing was raised when `refused` names a counter: all or none. @category models @since 0.1.0 */
export interface Counted {
  readonly counts: ReadonlyArray<number>
  /** Positions of the counters that would pass their limit. */
  readonly refused: ReadonlyArray<number>
  /** Where places refused: milliseconds until one is free by itself. */
  readonly freeInMs?: number
}

/** A change of a counter, whatever its limit. @category models @since 0.1.0 */
export interface Change {
  readonly key: string
  readonly by: number
}

/** What is to be counted when something ends. @category models @since 0.1.0 */
export interface Conclusion {
  /** Raised whatever their limits. */
  readonly raised: ReadonlyArray<Counter>
  readonly lowered: ReadonlyArray<Change>
  /** Places given back. */
  readonly left: ReadonlyArray<Place>
}

/** A place taken by something in flight. @category models @since 0.1.0 */
export interface Place {
  readonly key: string
  readonly member: string
}
