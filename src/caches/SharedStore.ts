/**
 * Texts that replicas keep for each other, for a while.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Metric, Schema } from "effect"
import { RecentMap } from "./RecentMap.ts"

/** The store did not answer. @category errors @since 0.1.0 */
export class SharedStoreError extends Schema.TaggedError<SharedStoreError>()("SharedStoreError", { message: Schema.String }) {}

/** @category models @since 0.1.0 */
export interface Store {
  readonly get: (key: string) => Effect.Effect<string | null, SharedStoreError>
  readonly set: (key: string, value: string, ttlMs: number) => Effect.Effect<void, SharedStoreError>
}

/** Where replicas meet; null where each is alone. @category references @since 0.1.0 */
export const SharedStore = Context.Reference<Store | null>("sluice/caches/SharedStore", { defaultValue: () => null })

/** What one process keeps while the shared store is away. */
const LOCAL = { entries: 500, ttlMs: 900_000 }

const fallbacks = Metric.counter("sluice_cache_fallbacks_total", {
  description: "Reads and writes that the shared cache failed and memory took over",
  incremental: true
})

/** A store in this process, of 500 texts for 900 s. @category constructors @since 0.1.0 */
export const makeMemory = (): Store => {
  const texts = new RecentMap<string>(LOCAL)
  return {
    get: (key) => Effect.map(Clock.currentTimeMillis, (now) => texts.get(key, now) ?? null),
    set: (key, value, ttlMs) => Effect.map(Clock.currentTimeMillis, (now) => texts.set(key, value, now, 0, ttlMs))
  }
}

/** A store that this process's memory stands in for whenever it fails. @category constructors @since 0.1.0 */
export const withMemory = (store: Store, memory: Store = makeMemory()): Store => {
  const noted = Metric.update(fallbacks, 1)
  return {
    get: (key) => Effect.catchCause(store.get(key), () => Effect.andThen(noted, memory.get(key))),
    // What is written while the store is there is known here too when it goes away.
    set: (key, value, ttlMs) =>
      Effect.andThen(
        memory.set(key, value, ttlMs),
        Effect.catchCause(store.set(key, value, ttlMs), () => noted)
      )
  }
}
