/**
 * A connection to Redis that comes back by itself; every call says for itself that it failed.
 *
 * @since 0.1.0
 */
import { Effect, Redacted, type Scope } from "effect"
import { Redis } from "ioredis"

/** How long a start waits for the first connection, in milliseconds. */
const FIRST_CONNECTION = 2_000

/** @category models @since 0.1.0 */
export interface RedisConnectionOptions {
  /** A command that takes longer has failed, in milliseconds. */
  readonly commandTimeoutMs?: number
  /** Whether commands without an answer are sent again when the connection is back; false where they would count twice. */
  readonly resend?: boolean
  /** How much longer each wait before a new connection is, in milliseconds; a second at the most. */
  readonly retryStepMs?: number
}

/** Closed with the Scope. @category constructors @since 0.1.0 */
export const connect = (url: Redacted.Redacted, options: RedisConnectionOptions = {}): Effect.Effect<Redis, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const redis = new Redis(Redacted.value(url), {
        enableAutoPipelining: true,
        enableOfflineQueue: false,
        autoResubscribe: false,
        connectTimeout: 2_000,
        maxRetriesPerRequest: 0,
        ...(options.commandTimeoutMs === undefined ? {} : { commandTimeout: options.commandTimeoutMs }),
        ...(options.resend === undefined ? {} : { autoResendUnfulfilledCommands: options.resend }),
        retryStrategy: (times: number) => Math.min(times * (options.retryStepMs ?? 50), 1_000)
      })
      redis.on("error", () => {})
      return redis
    }),
    (redis) => Effect.sync(() => redis.disconnect())
  )

/** Done when the connection stands, or when it was waited for long enough. @category operations @since 0.1.0 */
export const ready = (redis: Redis): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const done = () => resume(Effect.void)
    if (redis.status === "ready") return done()
    redis.once("ready", done)
    const timer = setTimeout(done, FIRST_CONNECTION)
    return Effect.sync(() => {
      redis.off("ready", done)
      clearTimeout(timer)
    })
  })

/** Why a Redis does not serve us, without its password; null when it does. @category operations @since 0.1.0 */
export const troubleOf = Effect.fnUntraced(function* (url: Redacted.Redacted) {
  const redis = yield* connect(url, { commandTimeoutMs: FIRST_CONNECTION })
  let heard: string | null = null
  redis.on("error", (error) => (heard = error.message))
  yield* ready(redis)
  const asked = yield* Effect.result(
    Effect.tryPromise({ try: () => redis.ping(), catch: (cause) => (cause instanceof Error ? cause.message : String(cause)) })
  )
  return asked._tag === "Success" ? null : (heard ?? asked.failure)
}, Effect.scoped)
