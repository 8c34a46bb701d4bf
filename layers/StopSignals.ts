/**
 * A process that is told to stop again: the second time it waits for nothing that still runs, the third time it ends as it is.
 *
 * @since 0.1.0
 */
import { Deferred, Effect } from "effect"

const signals = ["SIGINT", "SIGTERM"] as const

/** Done when the process was told a second time. @category constructors @since 0.1.0 */
export const again = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const second = Deferred.makeUnsafe<void>()
      let count = 0
      const listener = (): void => {
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
