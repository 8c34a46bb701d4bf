/**
 * The database is away: told when it goes, now and then while it stays away, and when it is back.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"

/** Milliseconds until it is told again. */
const AGAIN = 30_000

const seconds = (ms: number): string => (ms / 1_000).toFixed(1)

/** Times are milliseconds of one clock. @category models @since 0.1.0 */
export class Outage {
  private since: number | null = null
  private toldAt = 0

  get isOn(): boolean {
    return this.since !== null
  }

  /** When it began; zero while there is none. */
  get began(): number {
    return this.since ?? 0
  }

  /** A batch failed. */
  goesOn(now: number, why: string): Effect.Effect<void> {
    if (this.since !== null && now - this.toldAt < AGAIN) return Effect.void
    const what =
      this.since === null
        ? "A ledger batch failed and is sent again until the database takes it"
        : `The database has taken no ledger batch for ${seconds(now - this.since)} s`
    this.since ??= now
    this.toldAt = now
    return Effect.logWarning(`${what}: ${why.slice(0, 300)}`)
  }

  /** A batch was taken. */
  over(now: number): Effect.Effect<void> {
    const since = this.since ?? now
    this.since = null
    return Effect.logInfo(`The database takes ledger batches again, after ${seconds(now - since)} s`)
  }
}
