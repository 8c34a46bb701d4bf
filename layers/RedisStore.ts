/**
 * Texts that replicas keep for each other, in Redis.
 *
 * @since 0.1.0
 */
import { Effect, Layer, type Redacted } from "effect"
import { SharedStore, SharedStoreError, withMemory } from "../src/caches/SharedStore.ts"
import * as RedisConnection from "./RedisConnection.ts"

/** A Redis slower than this counts as away, in milliseconds. */
const PATIENCE = 100

const PREFIX = "sluice:cache:"

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, SharedStoreError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new SharedStoreError({ message: cause instanceof Error ? cause.message : "no answer" })
  })

/** This process's memory stands in while Redis is away. @category layers @since 0.1.0 */
export const layer = (url: Redacted.Redacted): Layer.Layer<never> =>
  Layer.effect(
    SharedStore,
    Effect.map(RedisConnection.connect(url, { commandTimeoutMs: PATIENCE, retryStepMs: 100 }), (redis) =>
      withMemory({
        get: (key) => attempt(() => redis.get(PREFIX + key)),
        set: (key, value, ttlMs) => Effect.asVoid(attempt(() => redis.set(PREFIX + key, value, "PX", Math.max(1, Math.floor(ttlMs)))))
      })
    )
  )
