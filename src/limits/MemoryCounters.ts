/**
 * Counters kept in the process: bounded, the least recently used given up first.
 *
 * @since 0.1.0
 */
import type { Change, Conclusion, Counted, Counter, Place } from "./Counter.ts"

interface Cell {
  count: number
  /** Of a burst: when the bucket is full again. */
  fullAt: number
  /** Of places: until when each is held. */
  places: Map<string, number> | null
  /** Of places: none is free by itself before. */
  freeAt: number
  expiresAt: number
  touchedAt: number
  /** When it got its place in the order of use. */
  orderedAt: number
}

/** Far below what is told apart, far above what floating point loses. */
const EPSILON = 1e-6

/** From this size on the order of use is kept to the second: to move a counter costs more than to raise it. */
const LARGE = 1_000
const COARSE = 1_000

const NOBODY: ReadonlyArray<number> = []

/** @category models @since 0.1.0 */
export class MemoryCounters {
  private readonly cells = new Map<string, Cell>()
  private readonly limit: number
  private readonly idleMs: number
  private readonly orderMs: number

  constructor(options: { readonly size: number; readonly idleMs?: number }) {
    this.limit = options.size
    this.idleMs = options.idleMs ?? Number.POSITIVE_INFINITY
    this.orderMs = options.size > LARGE ? COARSE : 0
  }

  size(): number {
    return this.cells.size
  }

  raise(counters: ReadonlyArray<Counter>, now: number): Counted {
    const cells: Array<Cell | undefined> = []
    const counts: Array<number> = []
    let refused: Array<number> | null = null
    for (let at = 0; at < counters.length; at++) {
      const counter = counters[at]
      if (counter === undefined) continue
      const cell = this.live(counter.key, now)
      cells.push(cell)
      counts.push(this.countOf(counter, cell, now))
      if (!this.isOver(counter, cell, counts[at] ?? 0, now)) continue
      refused ??= []
      refused.push(at)
    }
    if (refused !== null) {
      const freeInMs = Math.max(0, ...refused.map((at) => this.freeIn(cells[at], now)))
      return { counts, refused, ...(freeInMs > 0 ? { freeInMs } : {}) }
    }
    for (let at = 0; at < counters.length; at++) {
      const counter = counters[at]
      if (counter !== undefined) counts[at] = this.apply(counter, cells[at], now)
    }
    return { counts, refused: NOBODY }
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

  /** The counts of what was raised. */
  conclude({ left, lowered, raised }: Conclusion, now: number): ReadonlyArray<number> {
    this.leave(left)
    this.adjust(lowered, now)
    return raised.length === 0 ? NOBODY : raised.map((counter) => this.apply(counter, this.live(counter.key, now), now))
  }

  renew(places: ReadonlyArray<Place>, ttlMs: number, now: number): void {
    for (const { key, member } of places) this.take(key, member, this.live(key, now), now, ttlMs)
  }

  private live(key: string, now: number): Cell | undefined {
    const cell = this.cells.get(key)
    if (cell === undefined) return undefined
    if (now >= cell.expiresAt || now - cell.touchedAt > this.idleMs) {
      this.cells.delete(key)
      return undefined
    }
    if (now - cell.orderedAt >= this.orderMs) {
      // Taken out and put back: the map's order is the order of use.
      cell.orderedAt = now
      this.cells.delete(key)
      this.cells.set(key, cell)
    }
    return cell
  }

  private put(key: string, now: number, expiresAt: number, places: Map<string, number> | null): Cell {
    if (this.cells.size >= this.limit) {
      const oldest = this.cells.keys().next()
      if (oldest.done !== true) this.cells.delete(oldest.value)
    }
    const cell: Cell = { count: 0, fullAt: now, places, freeAt: expiresAt, expiresAt, touchedAt: now, orderedAt: now }
    this.cells.set(key, cell)
    return cell
  }

  private countOf(counter: Counter, cell: Cell | undefined, now: number): number {
    if (cell === undefined) return 0
    if (counter.kind === undefined) return cell.count
    if (counter.kind === "burst") {
      return Math.ceil(Math.max(0, cell.fullAt - now) / (counter.ttlMs / (counter.limit ?? 0)) - EPSILON)
    }
    const held = cell.places
    if (held === null) return 0
    if (now >= cell.freeAt) {
      cell.freeAt = Number.POSITIVE_INFINITY
      for (const [member, until] of held) {
        if (now >= until) held.delete(member)
        else cell.freeAt = Math.min(cell.freeAt, until)
      }
    }
    return held.size
  }

  private isOver(counter: Counter, cell: Cell | undefined, count: number, now: number): boolean {
    const { by, kind, limit, ttlMs } = counter
    if (kind === "burst") {
      const behind = cell === undefined ? 0 : Math.max(0, cell.fullAt - now)
      return behind + (ttlMs / (limit ?? 0)) * by > ttlMs + EPSILON
    }
    return limit !== null && count + (kind === "place" ? 1 : by) > limit
  }

  private freeIn(cell: Cell | undefined, now: number): number {
    const held = cell?.places ?? null
    return held === null || held.size === 0 ? 0 : Math.min(...held.values()) - now
  }

  private apply(counter: Counter, cell: Cell | undefined, now: number): number {
    const { by, key, ttlMs } = counter
    if (counter.kind === "place") return this.take(key, counter.member ?? "", cell, now, ttlMs)
    const kept = cell ?? this.put(key, now, now + ttlMs, null)
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
    const kept = cell ?? this.put(key, now, until, new Map())
    const held = kept.places ?? new Map<string, number>()
    kept.places = held.set(member, until)
    kept.freeAt = Math.min(kept.freeAt, until)
    kept.expiresAt = Math.max(kept.expiresAt, until)
    kept.touchedAt = now
    return held.size
  }
}
