/**
 * A map that forgets: what is oldest by use first, and everything after its time.
 *
 * @since 0.1.0
 */

/** Bounds of a map. Bytes are what callers say their values weigh. @category models @since 0.1.0 */
export interface RecentMapOptions {
  readonly entries: number
  readonly bytes?: number
  readonly ttlMs: number
}

interface Entry<A> {
  readonly value: A
  readonly until: number
  readonly bytes: number
}

/** A Map keeps the order of insertion; what is read is put last. @category models @since 0.1.0 */
export class RecentMap<A> {
  private readonly map = new Map<string, Entry<A>>()
  private readonly options: RecentMapOptions
  private weight = 0

  constructor(options: RecentMapOptions) {
    this.options = options
  }

  get size(): number {
    return this.map.size
  }

  get bytes(): number {
    return this.weight
  }

  /** `now` is epoch milliseconds. */
  get(key: string, now: number): A | undefined {
    const entry = this.map.get(key)
    if (entry === undefined) return undefined
    this.map.delete(key)
    if (now >= entry.until) {
      this.weight -= entry.bytes
      return undefined
    }
    this.map.set(key, entry)
    return entry.value
  }

  /** Keeps a value, unless it alone is more than all bytes. `ttlMs` shortens its time. */
  set(key: string, value: A, now: number, bytes = 0, ttlMs = this.options.ttlMs): void {
    this.delete(key)
    const most = this.options.bytes ?? Number.POSITIVE_INFINITY
    if (bytes > most) return
    this.map.set(key, { value, until: now + Math.min(ttlMs, this.options.ttlMs), bytes })
    this.weight += bytes
    for (const oldest of this.map.keys()) {
      if (this.map.size <= this.options.entries && this.weight <= most) break
      this.delete(oldest)
    }
  }

  delete(key: string): void {
    const entry = this.map.get(key)
    if (entry === undefined) return
    this.weight -= entry.bytes
    this.map.delete(key)
  }
}
