/**
 * What was counted of a model's answers, the past counting for less and less.
 *
 * @since 0.1.0
 */
import type { Signals } from "../routing/QualitySignals.ts"

/** What one request says of a model. @category models @since 0.1.0 */
export interface Observation {
  /** Calls that were answered or failed by the provider's fault. */
  readonly calls: number
  readonly failures: number
  /** Whether it took more than one call. */
  readonly retried: boolean
  /** Answers whose form was checked, and those of them that were not in it. */
  readonly checked: number
  readonly broken: number
}

/** @category models @since 0.1.0 */
export class SignalTally {
  private readonly halfLifeMs: number
  private at = 0
  private calls = 0
  private failures = 0
  private requests = 0
  private retried = 0
  private checked = 0
  private broken = 0

  constructor(halfLifeMs: number) {
    this.halfLifeMs = halfLifeMs
  }

  add(at: number, seen: Observation): void {
    this.fade(at)
    this.calls += seen.calls
    this.failures += seen.failures
    this.requests++
    if (seen.retried) this.retried++
    this.checked += seen.checked
    this.broken += seen.broken
  }

  read(now: number): Signals {
    this.fade(now)
    return {
      calls: this.calls,
      success: this.calls > 0 ? 1 - this.failures / this.calls : null,
      retry: this.requests > 0 ? this.retried / this.requests : null,
      format: this.checked > 0 ? 1 - this.broken / this.checked : null
    }
  }

  /** Outcomes may come a little out of order: time does not go back. */
  private fade(now: number): void {
    if (now <= this.at) return
    const left = this.at === 0 ? 0 : 2 ** ((this.at - now) / this.halfLifeMs)
    this.at = now
    this.calls *= left
    this.failures *= left
    this.requests *= left
    this.retried *= left
    this.checked *= left
    this.broken *= left
  }
}
