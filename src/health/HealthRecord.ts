/**
 * What is known of one provider, or one model at it, from the latest requests: counts and medians over a sliding window.
 *
 * @since 0.1.0
 */
import { RunningMedian } from "./RunningMedian.ts"

/** How one call went. `limited` and `refused` (the caller's mistake) say nothing of how well it works. @category models @since 0.1.0 */
export type HealthOutcome = "success" | "failure" | "limited" | "refused"

/** Null: too little is known. Times are milliseconds. @category models @since 0.1.0 */
export interface Health {
  readonly successes: number
  readonly failures: number
  readonly limited: number
  readonly refused: number
  /** Between 0 and 1: successes among successes and failures. */
  readonly uptime: number | null
  /** Of whole answers. */
  readonly latencyP50: number | null
  /** Of streams, from the call to the first content. */
  readonly firstChunkP50: number | null
  readonly tokensPerSecondP50: number | null
  /** Epoch milliseconds. */
  readonly lastSuccessAt: number | null
  readonly lastFailureAt: number | null
  readonly consecutiveFailures: number
}

/** Counts are kept by slices of the window, so that an old one is forgotten at once. */
const SLICES = 20

/** Fewer say nothing. */
const LEAST_CALLS = 5

const kinds: ReadonlyArray<HealthOutcome> = ["success", "failure", "limited", "refused"]

/** @category models @since 0.1.0 */
export class HealthRecord {
  private readonly windowMs: number
  /** Counts of each kind for each slice, one after the other, and which slice of time each place holds. */
  private readonly counts = new Uint32Array(SLICES * kinds.length)
  private readonly slices = new Float64Array(SLICES).fill(-1)
  private readonly latency = new RunningMedian()
  private readonly firstChunk = new RunningMedian()
  private readonly speed = new RunningMedian()
  private lastSuccessAt: number | null = null
  private lastFailureAt: number | null = null
  private consecutiveFailures = 0

  constructor(windowMs: number) {
    this.windowMs = windowMs
  }

  add(at: number, outcome: HealthOutcome): void {
    const slice = this.sliceOf(at)
    const place = slice % SLICES
    if (this.slices[place] !== slice) {
      this.slices[place] = slice
      this.counts.fill(0, place * kinds.length, (place + 1) * kinds.length)
    }
    const index = place * kinds.length + kinds.indexOf(outcome)
    this.counts[index] = (this.counts[index] ?? 0) + 1
    if (outcome === "success") {
      this.lastSuccessAt = at
      this.consecutiveFailures = 0
    }
    if (outcome === "failure") {
      this.lastFailureAt = at
      this.consecutiveFailures++
    }
  }

  /** How long a successful call took: to its first content when it was streamed, else to its end. */
  took(at: number, ms: number, isStream: boolean): void {
    const median = isStream ? this.firstChunk : this.latency
    median.add(at, ms)
  }

  made(at: number, tokensPerSecond: number): void {
    this.speed.add(at, tokensPerSecond)
  }

  /** What is known at `now`, of the counts only what came after `since`. */
  read(now: number, since = Number.NEGATIVE_INFINITY): Health {
    const [successes, failures, limited, refused] = this.sums(now, since)
    return {
      successes,
      failures,
      limited,
      refused,
      uptime: successes + failures < LEAST_CALLS ? null : successes / (successes + failures),
      latencyP50: this.latency.read(now, this.windowMs),
      firstChunkP50: this.firstChunk.read(now, this.windowMs),
      tokensPerSecondP50: this.speed.read(now, this.windowMs),
      lastSuccessAt: this.lastSuccessAt,
      lastFailureAt: this.lastFailureAt,
      consecutiveFailures: this.consecutiveFailures
    }
  }

  private sums(now: number, since: number): readonly [number, number, number, number] {
    const sums: [number, number, number, number] = [0, 0, 0, 0]
    const oldest = Math.max(this.sliceOf(now) - SLICES, this.sliceOf(since))
    for (let place = 0; place < SLICES; place++) {
      if ((this.slices[place] ?? -1) <= oldest) continue
      const at = place * kinds.length
      sums[0] += this.counts[at] ?? 0
      sums[1] += this.counts[at + 1] ?? 0
      sums[2] += this.counts[at + 2] ?? 0
      sums[3] += this.counts[at + 3] ?? 0
    }
    return sums
  }

  private sliceOf(at: number): number {
    return Math.floor(at / (this.windowMs / SLICES))
  }
}
