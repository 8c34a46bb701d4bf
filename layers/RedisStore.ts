/**
 * Texts that replicas keep for each other, in Redis.
 *
 * @since 0.1.0
 */
import { Effect, Layer, Redacted } from "effect"
import { Redis } from "ioredis"
import { SharedStore, SharedStoreError, withMemory } from "../src/caches/SharedStore.ts"

/** A Redis slower than this counts as away, in milliseconds. */
const PATIENCE = 100

const PREFIX = "sluice:cache:"

const connect = (url: Redacted.Redacted) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const redis = new Redis(Redacted.value(url), {
        enableAutoPipelining: true,
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        commandTimeout: PATIENCE,
        connectTimeout: 2_000,
        retryStrategy: (times) => Math.min(times * 100, 1_000)
      })
      // The connection comes back by itself; every call says for itself that it failed.
      redis.on("error", () => {})
      return redis
    }),
    (redis) => Effect.sync(() => redis.disconnect())
  )

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, SharedStoreError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new SharedStoreError({ message: cause instanceof Error ? cause.message : "no answer" })
  })

/** This process's memory stands in while Redis is away. @category layers @since 0.1.0 */
export const layer = (url: Redacted.Redacted): Layer.Layer<never> =>
  Layer.effect(
    SharedStore,
    Effect.map(connect(url), (redis) =>
      withMemory({
        get: (key) => attempt(() => redis.get(PREFIX + key)),
        set: (key, value, ttlMs) => Effect.asVoid(attempt(() => redis.set(PREFIX + key, value, "PX", Math.max(1, Math.floor(ttlMs)))))
      })
    )
  )
