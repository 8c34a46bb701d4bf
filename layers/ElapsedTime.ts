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
  const up = uptimeMs(monotonic, wall)
  return () => {
    const now = performance.now()
    const date = Date.now()
    return Math.max(now - monotonic, date - wall, uptimeMs(now, date) - up)
  }
}

/** The uptime is read from a file: not more often than it changes. */
const UPTIME_STEP = 10

let known = { monotonic: Number.NEGATIVE_INFINITY, wall: 0, up: 0 }

const uptimeMs = (monotonic: number, wall: number): number => {
  // A machine that slept shows it in the wall clock, also when the monotonic one stood still.
  if (monotonic - known.monotonic >= UPTIME_STEP || Math.abs(wall - known.wall) >= UPTIME_STEP)
    known = { monotonic, wall, up: uptime() * 1_000 }
  return known.up
}
