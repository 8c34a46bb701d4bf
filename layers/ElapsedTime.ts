/**
 * Elapsed time of this machine.
 *
 * @since 0.1.0
 */
import { uptime } from "node:os"
import type { Stopwatch } from "../src/ledger/Stopwatch.ts"

/**
 * The largest of what three clocks say: the monotonic one stops while the machine sleeps, the wall clock can be set back, and
 * the uptime counts in hundredths of a second.
 *
 * @category accessors
 * @since 0.1.0
 */
export const stopwatch: Stopwatch = () => {
  const monotonic = performance.now()
  const wall = Date.now()
  const up = uptime()
  return () => Math.max(performance.now() - monotonic, Date.now() - wall, (uptime() - up) * 1_000)
}
