/**
 * Counters kept in the process: bounded, the least recently used given up first.
 *
 * @since 0.1.0
 */
import type { Change, Counted, Counter, Place } from "./Counter.ts"

interface Cell {
  count: number
  /** Of a burst: when the bucket is full again. */
  fullAt: number
  /** Of places: until when each is held. */
  places: Map<string, number> | null
  expiresAt: number
  touchedAt: number
}

/** What a raise would make of a counter. */
interface Look {
  readonly cell: Cell | undefined
  readonly count: number
  readonly isRefused: boolean
}

/** Far below what is told apart, far above what floating point loses. */
const EPSILON = 1e-6

/** @category models @since 0.1.0 */
export class MemoryCounters {
  private readonly cells = new Map<string, Cell>()
  private readonly limit: number
  private readonly idleMs: number

  constructor(options: { readonly size: number; readonly idleMs?: number }) {
    this.limit = options.size
    this.idleMs = options.idleMs ?? Number.POSITIVE_INFINITY
  }

  size(): number {
    return this.cells.size
  }

  raise(counters: ReadonlyArray<Counter>, now: number): Counted {
    const looks = counters.map((counter) => this.look(counter, now))
    const refused = looks.flatMap((look, at) => (look.isRefused ? [at] : []))
    if (refused.length > 0) {
      const freeInMs = Math.max(0, ...refused.map((at) => this.freeIn(looks[at]?.cell, now)))
      return { counts: looks.map((look) => look.count), refused, ...(freeInMs > 0 ? { freeInMs } : {}) }
    }
    return { counts: counters.map((counter, at) => this.apply(counter, looks[at]?.cell, now)), refused }
  }

  adjust(changes: ReadonlyArray<Change>, now: number): void {
    for (const { by, key } of changes) {
      const cell = this.live(key, now)
      if (cell !== undefined) cell.count = Math.max(0, cell.count + by)
    }
  }

  leave(places: ReadonlyArray<Place>): void {
    for (const { key, member } of places) {
      const held = this.cells.get(key)?.places
      if (held?.delete(member) === true && held.size === 0) this.cells.delete(key)
    }
  }

  renew(places: ReadonlyArray<Place>, ttlMs: number, now: number): void {
    for (const { key, member } of places) this.take(key, member, this.live(key, now), now, ttlMs)
  }

  private live(key: string, now: number): Cell | undefined {
    const cell = this.cells.get(key)
    if (cell === undefined) return undefined
    // Taken out and put back: the map's order is the order of use.
    this.cells.delete(key)
    if (now >= cell.expiresAt || now - cell.touchedAt > this.idleMs) return undefined
    this.cells.set(key, cell)
    return cell
  }

  private put(key: string, cell: Cell): Cell {
    if (this.cells.size >= this.limit) {
      const oldest = this.cells.keys().next()
      if (oldest.done !== true) this.cells.delete(oldest.value)
    }
    this.cells.set(key, cell)
    return cell
  }

  private look(counter: Counter, now: number): Look {
    const cell = this.live(counter.key, now)
    if (counter.kind === "burst") {
      const size = counter.limit ?? 0
      const step = counter.ttlMs / size
      const behind = Math.max(0, (cell?.fullAt ?? 0) - now)
      return { cell, count: Math.ceil(behind / step - EPSILON), isRefused: behind + step * counter.by > counter.ttlMs + EPSILON }
    }
    if (counter.kind === "place") {
      const held = cell?.places
      if (held) for (const [member, until] of held) if (now >= until) held.delete(member)
      const count = held?.size ?? 0
      return { cell, count, isRefused: counter.limit !== null && count + 1 > counter.limit }
    }
    const count = cell?.count ?? 0
    return { cell, count, isRefused: counter.limit !== null && count + counter.by > counter.limit }
  }

  private freeIn(cell: Cell | undefined, now: number): number {
    const held = cell?.places ?? null
    return held === null || held.size === 0 ? 0 : Math.min(...held.values()) - now
  }

  private apply(counter: Counter, cell: Cell | undefined, now: number): number {
    const { by, key, ttlMs } = counter
    if (counter.kind === "place") return this.take(key, counter.member ?? "", cell, now, ttlMs)
    const kept = cell ?? this.put(key, { count: 0, fullAt: now, places: null, expiresAt: now + ttlMs, touchedAt: now })
    kept.touchedAt = now
    if (counter.kind !== "burst") {
      kept.count += by
      return kept.count
    }
    const step = ttlMs / (counter.limit ?? 1)
    kept.fullAt = Math.max(kept.fullAt, now) + step * by
    kept.expiresAt = kept.fullAt
    return Math.ceil((kept.fullAt - now) / step - EPSILON)
  }

  private take(key: string, member: string, cell: Cell | undefined, now: number, ttlMs: number): number {
    const until = now + ttlMs
    const kept = cell ?? this.put(key, { count: 0, fullAt: 0, places: new Map(), expiresAt: until, touchedAt: now })
    const held = kept.places ?? new Map<string, number>()
    kept.places = held.set(member, until)
    kept.expiresAt = Math.max(kept.expiresAt, until)
    kept.touchedAt = now
    return held.size
  }
}
