/**
 * A connection to Redis that comes back by itself; every call says for itself that it failed.
 *
 * @since 0.1.0
 */
import { Effect, Redacted, type Scope } from "effect"
import { Redis } from "ioredis"

/** How long a start waits for the first connection, in milliseconds. */
const FIRST_CONNECTION = 2_000

/** Closed with the Scope. @category constructors @since 0.1.0 */
export const connect = (
  url: Redacted.Redacted,
  options: { readonly commandTimeoutMs?: number } = {}
): Effect.Effect<Redis, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const redis = new Redis(Redacted.value(url), {
        enableAutoPipelining: true,
        enableOfflineQueue: false,
        autoResubscribe: false,
        connectTimeout: 2_000,
        maxRetriesPerRequest: 0,
        ...(options.commandTimeoutMs === undefined ? {} : { commandTimeout: options.commandTimeoutMs }),
        retryStrategy: (times: number) => Math.min(times * 50, 1_000)
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
