/**
 * One coarse timer for many calls: whoever waits too long is told so.
 *
 * @since 0.1.0
 */

/** Times are milliseconds. @category models @since 0.1.0 */
export interface WatchdogOptions {
  /** How long a call may take. */
  readonly patienceMs: number
  /** How long nothing may be answered while calls wait. */
  readonly silenceMs: number
  readonly onSilence: () => void
}

interface Watched {
  readonly since: number
  readonly late: () => void
}

/**
 * Watches calls. The timer runs only while any waits.
 *
 * **Gotchas**: a process that was busy itself sees every answer late. Then the answers that lie ready are read before
 * anybody is called late.
 *
 * @category models
 * @since 0.1.0
 */
export class Watchdog {
  private readonly options: WatchdogOptions
  private readonly period: number
  /** Oldest first. */
  private readonly waiting = new Set<Watched>()
  private timer: NodeJS.Timeout | null = null
  private lookedAt = 0
  /** When the first of the calls began that were late with no answer since. */
  private silentSince: number | null = null

  constructor(options: WatchdogOptions) {
    this.options = options
    this.period = Math.max(1, options.patienceMs / 4)
  }

  /** Calls `late` once when the patience is over. The function given back ends the watch, and says whether there was an answer. */
  watch(late: () => void): (answered: boolean) => void {
    const now = performance.now()
    const watched: Watched = { since: now, late }
    this.waiting.add(watched)
    if (this.timer === null) this.arm(now)
    return (answered) => {
      this.waiting.delete(watched)
      if (answered) this.silentSince = null
    }
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    this.waiting.clear()
  }

  private arm(now: number): void {
    this.lookedAt = now
    this.timer = setTimeout(() => this.look(), this.period)
    this.timer.unref()
  }

  private look(): void {
    const now = performance.now()
    this.timer = null
    if (this.waiting.size === 0) return
    if (now - this.lookedAt > this.period * 2) {
      // Two turns of the loop: sockets are read before immediates run.
      setImmediate(() => setImmediate(() => this.judge(performance.now())))
      return
    }
    this.judge(now)
  }

  private judge(now: number): void {
    for (const watched of this.waiting) {
      if (now - watched.since <= this.options.patienceMs) break
      this.waiting.delete(watched)
      watched.late()
      this.silentSince ??= watched.since
      if (now - this.silentSince > this.options.silenceMs) {
        this.silentSince = null
        this.options.onSilence()
      }
    }
    if (this.waiting.size > 0 && this.timer === null) this.arm(now)
  }
}
