/**
 * A process that is told to stop again: the second time it waits for nothing that still runs, the third time it ends as it is.
 *
 * @since 0.1.0
 */
import { Deferred, Effect } from "effect"

const signals = ["SIGINT", "SIGTERM"] as const

/** Milliseconds in which a signal is the same as the one before: who starts the process (npm does) passes on what its group was sent too. */
const SAME = 500

/** Done when the process was told a second time. @category constructors @since 0.1.0 */
export const again = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const second = Deferred.makeUnsafe<void>()
      let count = 0
      let last = Number.NEGATIVE_INFINITY
      const listener = (): void => {
        const now = performance.now()
        if (now - last < SAME) return
        last = now
        count++
        if (count === 2) Deferred.doneUnsafe(second, Effect.void)
        if (count > 2) process.exit(1)
      }
      for (const signal of signals) process.on(signal, listener)
      return { listener, second }
    }),
    ({ listener }) =>
      Effect.sync(() => {
        for (const signal of signals) process.off(signal, listener)
      })
  ),
  ({ second }) => second
)
