/**
 * How long ago something was, in a way that no clock jump and no sleeping machine shortens.
 *
 * @since 0.1.0
 */
import type { Clock } from "effect"

/** Starts counting; what it gives tells the milliseconds since then, rather too many than too few. @category models @since 0.1.0 */
export type Stopwatch = () => () => number

/** Counts by a `Clock`: right where that clock cannot be set and the machine does not sleep, as in tests. @category constructors @since 0.1.0 */
export const ofClock =
  (clock: Clock.Clock): Stopwatch =>
  () => {
    const start = clock.currentTimeMillisUnsafe()
    return () => clock.currentTimeMillisUnsafe() - start
  }
