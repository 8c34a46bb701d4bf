/**
 * What a request of a key is counted in: windows of UTC, a burst, and a place among those in flight.
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

/** One limit of a key: what it counts, and when it lets more in. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface KeyWindow {
  readonly limit: LimitName
  readonly counter: Counter
  readonly resetAt: number
}

/** A place is free again after this, unless its process says that it is still taken. @category models @since 0.1.0 */
export const PLACE_TTL = 60_000

const SECOND = 1_000
const MINUTE = 60_000
const DAY = 86_400_000

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

/** The token windows of a key. @category constructors @since 0.1.0 */
export const tokenWindows = (caller: Caller, tokens: number, period: Period, factor = 1): Array<KeyWindow> => {
  const { keyId, limits } = caller
  const windows: Array<KeyWindow> = []
  const add = (limit: LimitName, key: string, most: Limit, resetAt: number, ttlMs: number) => {
    if (most !== "none") windows.push({ limit, counter: { key, by: tokens, limit: most, ttlMs }, resetAt })
  }
  add("tokens_per_minute", `tokens_minute:${keyId}:${period.minute}`, shrink(limits.tokensPerMinute, factor), period.minuteEnd, MINUTE)
  add("tokens_per_day", `tokens_day:${keyId}:${period.day}`, limits.tokensPerDay, period.dayEnd, DAY)
  add("tokens_per_month", `tokens_month:${keyId}:${period.month}`, limits.tokensPerMonth, period.monthEnd, 31 * DAY)
  return windows
}

/** Everything that one request of a key is counted in. `factor` shrinks what limits the pace, not what was bought for a day or a month. @category constructors @since 0.1.0 */
export const windowsOf = (
  caller: Caller,
  tokens: number,
  period: Period,
  more: { readonly now: number; readonly member: string; readonly factor: number }
): ReadonlyArray<KeyWindow> => {
  const { keyId, limits } = caller
  const { factor, member, now } = more
  const windows = tokenWindows(caller, tokens, period, factor)
  const rpm = shrink(limits.rpm, factor)
  if (rpm !== "none") {
    const name = caller.isAnonymous ? "anon_rate" : "rate_limit"
    const counter = { key: `${name}:${keyId}:${period.minute}`, by: 1, limit: rpm, ttlMs: MINUTE }
    windows.push({ limit: "requests_per_minute", counter, resetAt: period.minuteEnd })
  }
  if (limits.requestsPerDay !== "none") {
    const name = caller.isAnonymous ? "anon_limit" : "requests_day"
    const counter = { key: `${name}:${keyId}:${period.day}`, by: 1, limit: limits.requestsPerDay, ttlMs: DAY }
    windows.push({ limit: "requests_per_day", counter, resetAt: period.dayEnd })
  }
  const burst = shrink(limits.burst, factor)
  if (burst !== "none") {
    const counter: Counter = { key: `burst:${keyId}`, by: 1, limit: burst, ttlMs: SECOND, kind: "burst" }
    windows.push({ limit: "burst", counter, resetAt: now + SECOND })
  }
  const concurrency = shrink(limits.concurrency, factor)
  if (concurrency !== "none") {
    const counter: Counter = { key: `in_flight:${keyId}`, by: 1, limit: concurrency, ttlMs: PLACE_TTL, kind: "place", member }
    windows.push({ limit: "concurrency", counter, resetAt: now + SECOND })
  }
  return windows
}
