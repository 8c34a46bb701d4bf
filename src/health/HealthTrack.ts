/**
 * What the latest calls say of a model at a provider, or of a provider: healthy, degraded or down.
 *
 * @since 0.1.0
 */
import type { HealthState } from "../../schemas/Health.ts"

/** How long, in milliseconds, what was found is taken for true; then nothing is known until somebody asks again. @category models @since 0.1.0 */
export const KEPT_MS = 360_000

/** Failures in a row. */
const DEGRADED_RUN = 3
const DOWN_RUN = 5
/** Two in a row that lie this far apart are no passing trouble, where nobody asks often. */
const SPARSE_RUN = 2
const SPARSE_MS = 60_000

/** Latest calls that shares are taken of; fewer than the least say nothing. */
const LATEST = 20
const LEAST = 10
/** Shares of failures: from these on it is degraded or down, and well again at the last. */
const DEGRADED_SHARE = 0.2
const DOWN_SHARE = 0.5
const WELL_SHARE = 0.1

/** @category models @since 0.1.0 */
export class HealthTrack {
  /** The latest calls in a ring: when each ended, and whether it went well. */
  private readonly ats = new Float64Array(LATEST)
  private readonly oks = new Uint8Array(LATEST)
  private first = 0
  private count = 0
  /** Failures among them. */
  private failed = 0
  private run = 0
  private runSince = 0
  private isIll = false
  private state: HealthState | null = null
  private stateAt = 0

  /** Counts a call that ended, and gives what is known now. */
  observe(at: number, ok: boolean): HealthState {
    // After an outage what lies before the first success says nothing any more.
    if (ok && this.run >= DEGRADED_RUN) {
      this.count = 0
      this.failed = 0
    }
    if (this.count === LATEST) this.forgetOldest()
    const place = (this.first + this.count++) % LATEST
    this.ats[place] = at
    this.oks[place] = ok ? 1 : 0
    if (!ok) this.failed++
    if (ok) this.run = 0
    else if (this.run++ === 0) this.runSince = at
    const state = this.judge(at)
    this.isIll = state !== "healthy"
    this.state = state
    this.stateAt = at
    return state
  }

  /** Takes what others have found, unless something newer is known here. */
  hear(at: number, state: HealthState): void {
    if (this.state !== null && at <= this.stateAt) return
    this.state = state
    this.stateAt = at
  }

  /** Null: too long ago. */
  read(now: number): HealthState | null {
    return this.state === null || now - this.stateAt >= KEPT_MS ? null : this.state
  }

  private forgetOldest(): void {
    if (this.oks[this.first] === 0) this.failed--
    this.first = (this.first + 1) % LATEST
    this.count--
  }

  private judge(now: number): HealthState {
    while (this.count > 0 && now - (this.ats[this.first] ?? 0) > 2 * KEPT_MS) this.forgetOldest()
    const share = this.count < LEAST ? 0 : this.failed / this.count
    if (this.run >= DOWN_RUN || share > DOWN_SHARE) return "down"
    if (this.run >= DEGRADED_RUN || share > (this.isIll ? WELL_SHARE : DEGRADED_SHARE)) return "degraded"
    return this.run >= SPARSE_RUN && now - this.runSince >= SPARSE_MS ? "degraded" : "healthy"
  }
}
