/**
 * What the latest calls say of a model's answers, and how that shifts its benchmark scores. Pure.
 *
 * @since 0.1.0
 */
import { Context } from "effect"

/** Shares between 0 and 1; null where nothing is known. @category models @since 0.1.0 */
export interface Signals {
  /** Calls that these were learned from; older ones count for less. */
  readonly calls: number
  /** Calls that were answered. */
  readonly success: number | null
  /** Requests that took more than one call. */
  readonly retry: number | null
  /** Answers in the form that was asked for. */
  readonly format: number | null
}

/** What everybody's calls say of a model at a provider, and what this account's own say of the model. @category models @since 0.1.0 */
export interface KnownSignals {
  readonly everybody: Signals | null
  readonly own: Signals | null
}

/** @category constructors @since 0.1.0 */
export const unheard: KnownSignals = { everybody: null, own: null }

/** @category models @since 0.1.0 */
export type SignalsOf = (model: string, provider: string, accountId: string | null) => KnownSignals

/** Nothing is known unless a program provides it. @category references @since 0.1.0 */
export const QualitySignals = Context.Reference<SignalsOf>("sluice/routing/QualitySignals", { defaultValue: () => () => unheard })

/** What each signal counts; those that are not known are left out. */
const SUCCESS = 0.5
const FORMAT = 0.25
const RETRY = 0.15
const SPEED = 0.1

/** Milliseconds: half of the answers as quick as this are as good as can be, as slow as that count nothing. */
const QUICK = 2_000
const SLOW = 30_000

/** Fewer calls say nothing: of everybody's, of one account's. */
const LEAST = 20
const LEAST_OWN = 10

/** The parts of a score that signals decide about at most. */
const MOST = 0.25
const MOST_OWN = 0.1

const speedOf = (p50: number): number => Math.min(1, Math.max(0, 1 - Math.log(Math.max(p50, 1) / QUICK) / Math.log(SLOW / QUICK)))

/** How much of what a model can do arrives, from 0 to 1. @category scoring @since 0.1.0 */
export const arrives = ({ format, retry, success }: Signals, p50: number | null): number => {
  let weight = 0
  let sum = 0
  const add = (part: number, value: number | null) => {
    if (value === null) return
    weight += part
    sum += part * value
  }
  add(SUCCESS, success)
  add(FORMAT, format)
  add(RETRY, retry === null ? null : 1 - retry)
  add(SPEED, p50 === null ? null : speedOf(p50))
  return weight === 0 ? 1 : sum / weight
}

/** From 0 at the least number of calls to 1 at very many: no call alone makes a leap. */
const trust = (calls: number, least: number): number => (calls <= least ? 0 : 1 - least / calls)

/**
 * Benchmark scores say what a model can do, signals how much of it arrives: a faultless one keeps its score, one that
 * fails loses up to a quarter of it. What an account sees better or worse than everybody moves it by up to a tenth more.
 *
 * @category scoring
 * @since 0.1.0
 */
export const livedQuality = (benchmarks: number, { everybody, own }: KnownSignals, p50: number | null): number => {
  const isHeard = everybody !== null && everybody.calls > LEAST
  const all = isHeard ? arrives(everybody, p50) : 1
  const quality = isHeard ? benchmarks * (1 - MOST * trust(everybody.calls, LEAST) * (1 - all)) : benchmarks
  if (own === null || own.calls <= LEAST_OWN) return quality
  // Speed is everybody's figure: it says nothing of this account.
  const usual = isHeard ? arrives(everybody, null) : 1
  return quality * (1 + MOST_OWN * trust(own.calls, LEAST_OWN) * (arrives(own, null) - usual))
}
