/**
 * Says at the start why Redis does not answer, and when it does: a server serves without it, each process counting for itself.
 *
 * @since 0.1.0
 */
import { Effect, type Redacted } from "effect"
import * as RedisConnection from "./RedisConnection.ts"

/** Milliseconds from one question to the next: the first, and at most. */
const FIRST_PAUSE = 500
const LONGEST_PAUSE = 10_000

const adviceOf = (trouble: string): string => {
  if (/WRONGPASS|NOAUTH|NOPERM/.test(trouble)) return "Correct user and password in REDIS_URL."
  if (/ECONNREFUSED/.test(trouble)) return "Start it, or correct host and port in REDIS_URL."
  if (/ENOTFOUND|EAI_AGAIN/.test(trouble)) return "Correct its host in REDIS_URL."
  return "Check that it runs, that REDIS_URL is right, and that its network lets this machine in."
}

/** Asks until there is an answer. @category running @since 0.1.0 */
export const untilThere = Effect.fnUntraced(function* (url: Redacted.Redacted) {
  let told: string | null = null
  for (let pause = FIRST_PAUSE; ; pause = Math.min(LONGEST_PAUSE, pause * 2)) {
    const trouble = yield* RedisConnection.troubleOf(url)
    if (trouble === null) break
    if (trouble !== told) {
      yield* Effect.logWarning(
        `Redis does not answer, so limits and circuits hold for each process alone until it does: ${trouble.replace(/\.+$/, "")}. ${adviceOf(trouble)}`
      )
    }
    told = trouble
    yield* Effect.sleep(pause)
  }
  if (told !== null) yield* Effect.logInfo("Redis answers: limits and circuits are shared")
})
