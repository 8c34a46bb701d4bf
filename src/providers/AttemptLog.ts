/**
 * What is written down of the calls that one request makes.
 *
 * @since 0.1.0
 */
import { Clock, Effect } from "effect"
import type { Candidate } from "../../schemas/Model.ts"

/** What became of one attempt, for the request row. @category models @since 0.1.0 */
export interface Attempt {
  readonly provider: string
  readonly model: string
  /** The provider's status; null when it gave none. */
  readonly status: number | null
  readonly error: string | null
  readonly latencyMs: number
  /** Whether the answer was in the form that was asked for; absent where that was not looked at. */
  readonly inForm?: boolean
}

/** Where attempts are written down while the request runs; read it at any moment, also after a failure. @category models @since 0.1.0 */
export interface AttemptLog {
  readonly attempts: Array<Attempt>
  /** The candidate that is being asked now, from the moment its request leaves until it failed; whoever finished the answer once it has ended. */
  current: Candidate | null
}

/** @category constructors @since 0.1.0 */
export const make = (): AttemptLog => ({ attempts: [], current: null })

/** Notes on the last attempt, if it brought an answer, whether that was in the form that was asked for. @category operations @since 0.1.0 */
export const noteForm = (log: AttemptLog, inForm: boolean): void => {
  const last = log.attempts.at(-1)
  if (last?.error === null) log.attempts[log.attempts.length - 1] = { ...last, inForm }
}

/** Notes on the last attempt that what had begun broke off. @category operations @since 0.1.0 */
export const breakOff = (log: AttemptLog, error: string, startedAt: number): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const last = log.attempts.pop()
    if (last !== undefined) log.attempts.push({ ...last, error, latencyMs: now - startedAt })
    log.current = null
  })
