/**
 * What requests of a key are counted in: windows of UTC, a burst, and a place among those in flight.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import type { Limit } from "../../schemas/Plan.ts"
import type { Counter } from "./Counter.ts"

/** @category schemas @since 0.1.0 */
export const LimitName = Schema.Literals([
  "requests_per_minute",
  "requests_per_day",
  "tokens_per_minute",
  "tokens_per_day",
  "tokens_per_month",
  "concurrency",
  "burst"
])
export type LimitName = typeof LimitName.Type

/** One limit of a key: what it counts in, and when it lets more in. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface KeyWindow {
  readonly limit: LimitName
  readonly key: string
  readonly most: number
  readonly ttlMs: number
  /** Null for what always lets more in soon: bursts and places. */
  readonly resetAt: number | null
}

/** A place is free again after this, unless its process says that it is still taken. @category models @since 0.1.0 */
export const PLACE_TTL = 60_000

const SECOND = 1_000
const MINUTE = 60_000
const DAY = 86_400_000

/** When a window lets more in, as it is seen now. @category accessors @since 0.1.0 */
export const resetOf = (window: KeyWindow, now: number): number => window.resetAt ?? now + SECOND

/** The windows that a moment lies in. @category models @since 0.1.0 */
export interface Period {
  readonly minute: number
  readonly minuteEnd: number
  /** `2026-01-31`. */
  readonly day: string
  readonly dayEnd: number
  readonly month: string
  readonly monthEnd: number
}

/** @category constructors @since 0.1.0 */
export const periodOf = (now: number): Period => {
  const date = new Date(now)
  const day = date.toISOString().slice(0, 10)
  const minute = Math.floor(now / MINUTE)
  return {
    minute,
    minuteEnd: (minute + 1) * MINUTE,
    day,
    dayEnd: (Math.floor(now / DAY) + 1) * DAY,
    month: day.slice(0, 7),
    monthEnd: Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
  }
}

/** A limit in hard times: shrunk, but never to nothing. */
const shrink = (limit: Limit, factor: number): Limit =>
  limit === "none" || factor === 1 || limit === 0 ? limit : Math.max(1, Math.floor(limit * factor))

/**
 * The windows of one key within a minute, made once for all its requests. `factor` shrinks what limits the pace, not what was
 * bought for a day or a month.
 *
 * @category models
 * @since 0.1.0
 */
export class KeyWindows {
  readonly limits: Caller["limits"]
  readonly period: Period
  readonly factor: number
  /** Those of tokens come first. */
  readonly all: ReadonlyArray<KeyWindow>
  readonly tokens: ReadonlyArray<KeyWindow>
  readonly requests: ReadonlyArray<KeyWindow>
  /** Where what is in flight has its places; null where it is not limited. */
  readonly places: KeyWindow | null
  /** Positions of the two that answers tell of; -1 where there is none. */
  readonly requestsAt: number
  readonly tokensAt: number

  constructor({ isAnonymous, keyId, limits }: Caller, period: Period, factor: number) {
    this.limits = limits
    this.period = period
    this.factor = factor
    const { day, dayEnd, minute, minuteEnd, month, monthEnd } = period
    const window = (limit: LimitName, key: string, most: Limit, ttlMs: number, resetAt: number | null): ReadonlyArray<KeyWindow> =>
      most === "none" ? [] : [{ limit, key, most, ttlMs, resetAt }]
    const minuteTokens = shrink(limits.tokensPerMinute, factor)
    this.tokens = [
      ...window("tokens_per_minute", `tokens_minute:${keyId}:${minute}`, minuteTokens, MINUTE, minuteEnd),
      ...window("tokens_per_day", `tokens_day:${keyId}:${day}`, limits.tokensPerDay, DAY, dayEnd),
      ...window("tokens_per_month", `tokens_month:${keyId}:${month}`, limits.tokensPerMonth, 31 * DAY, monthEnd)
    ]
    const [inMinute, inDay] = isAnonymous ? ["anon_rate", "anon_limit"] : ["rate_limit", "requests_day"]
    this.requests = [
      ...window("requests_per_minute", `${inMinute}:${keyId}:${minute}`, shrink(limits.rpm, factor), MINUTE, minuteEnd),
      ...window("requests_per_day", `${inDay}:${keyId}:${day}`, limits.requestsPerDay, DAY, dayEnd)
    ]
    const burst = window("burst", `burst:${keyId}`, shrink(limits.burst, factor), SECOND, null)
    const places = window("concurrency", `in_flight:${keyId}`, shrink(limits.concurrency, factor), PLACE_TTL, null)
    this.places = places[0] ?? null
    this.all = [...this.tokens, ...this.requests, ...burst, ...places]
    this.requestsAt = this.all.findIndex(({ limit }) => limit === "requests_per_minute")
    this.tokensAt = this.all.findIndex(({ limit }) => limit === "tokens_per_minute")
  }

  /** What one request is counted in. `member` names it among those in flight. */
  countersOf(tokens: number, member: string): Array<Counter> {
    const counters: Array<Counter> = []
    for (let at = 0; at < this.all.length; at++) {
      const window = this.all[at]
      if (window === undefined) continue
      const { key, limit, most, ttlMs } = window
      if (at < this.tokens.length) counters.push({ key, by: tokens, limit: most, ttlMs })
      else if (limit === "burst") counters.push({ key, by: 1, limit: most, ttlMs, kind: "burst" })
      else if (limit === "concurrency") counters.push({ key, by: 1, limit: most, ttlMs, kind: "place", member })
      else counters.push({ key, by: 1, limit: most, ttlMs })
    }
    return counters
  }
}
