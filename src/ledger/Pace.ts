/**
 * When the next batch goes: at once; or, where nobody waits for it, when enough has gathered or a while has passed.
 *
 * @since 0.1.0
 */
import { Effect, Latch } from "effect"

/** @category models @since 0.1.0 */
export class Pace {
  /** Whether the batch under preparation is waited for. */
  private urgent = false
  private readonly due = Latch.makeUnsafe(false)
  private readonly begun = Latch.makeUnsafe(false)
  private readonly pauseMs: number
  /** Ends so far: taken on, and written by the database, in that order. */
  private taken = 0
  private written = 0
  private readonly afterNext: Array<() => void> = []
  private readonly waiting: Array<{ readonly upTo: number; readonly tell: () => void }> = []

  constructor(pauseMs: number) {
    this.pauseMs = pauseMs
  }

  /** Waits until a batch is due. */
  get wait(): Effect.Effect<void> {
    return this.due.await
  }

  /** Turns to the next batch; whatever is asked for from now on is for another. What it gives is to be called when that batch is over. */
  turn(): () => void {
    this.urgent = false
    this.due.closeUnsafe()
    const told = this.afterNext.splice(0)
    return () => {
      for (const tell of told) tell()
    }
  }

  /** Asks for a batch now, and waits until it is over. */
  readonly next: Effect.Effect<void> = Effect.callback((resume) => {
    this.afterNext.push(() => resume(Effect.void))
    this.now()
  })

  /** Somebody waits. */
  now(): void {
    this.urgent = true
    this.due.openUnsafe()
  }

  /** Nobody waits. */
  soon(): void {
    if (!this.urgent) this.begun.openUnsafe()
  }

  /** One timer for a whole batch. */
  readonly beat: Effect.Effect<never> = Effect.forever(
    Effect.suspend(() => Effect.andThen(this.begun.await, Effect.sleep(this.pauseMs))).pipe(
      Effect.andThen(
        Effect.sync(() => {
          this.begun.closeUnsafe()
          this.due.openUnsafe()
        })
      )
    )
  )

  take(count: number): void {
    this.taken += count
  }

  /** The database has that many more. */
  write(count: number): void {
    this.written += count
    while (this.waiting[0] !== undefined && this.waiting[0].upTo <= this.written) this.waiting.shift()?.tell()
  }

  /** Waits until the database has what is taken on by now. */
  readonly flushed: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.written >= this.taken) return resume(Effect.void)
    this.waiting.push({ upTo: this.taken, tell: () => resume(Effect.void) })
    this.now()
  })
}
