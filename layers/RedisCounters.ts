/**
 * Counters shared by replicas, in Redis: one script a request, all counters or none.
 *
 * @since 0.1.0
 */
import { Effect, Layer, Redacted } from "effect"
import { Redis } from "ioredis"
import { CounterStore, CounterStoreError } from "../src/limits/CounterStore.ts"

/** A Redis slower than this counts as away, in milliseconds. */
const PATIENCE = 50

/**
 * Takes for each counter its raise, its limit (-1: none) and its life. Looks at all before raising any, so that a request
 * refused by one limit is not counted by the others.
 */
const raiseScript = `
local counts, refused = {}, {}
for i, key in ipairs(KEYS) do
  local by, limit = tonumber(ARGV[i * 3 - 2]), tonumber(ARGV[i * 3 - 1])
  counts[i] = tonumber(redis.call('GET', key) or '0')
  if limit >= 0 and counts[i] + by > limit then refused[#refused + 1] = i - 1 end
end
if #refused == 0 then
  for i, key in ipairs(KEYS) do
    local by = tonumber(ARGV[i * 3 - 2])
    local existed = redis.call('EXISTS', key)
    counts[i] = redis.call('INCRBY', key, by)
    if existed == 0 then redis.call('PEXPIRE', key, ARGV[i * 3]) end
  end
end
return { counts, refused }`

const adjustScript = `
for i, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 and redis.call('INCRBY', key, ARGV[i]) < 0 then
    redis.call('SET', key, '0', 'KEEPTTL')
  end
end
return 0`

const numbers = (value: unknown): ReadonlyArray<number> => (Array.isArray(value) ? value.map(Number) : [])

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

/** @category layers @since 0.1.0 */
export const layer = (url: Redacted.Redacted): Layer.Layer<CounterStore> =>
  Layer.effect(
    CounterStore,
    Effect.map(connect(url), (redis) => {
      const call = (script: string, keys: ReadonlyArray<string>, args: ReadonlyArray<string>) =>
        Effect.tryPromise({
          try: () => redis.eval(script, keys.length, ...keys, ...args),
          catch: (cause) => new CounterStoreError({ message: cause instanceof Error ? cause.message : "no answer" })
        })
      return CounterStore.of({
        raise: (counters) =>
          Effect.map(
            call(
              raiseScript,
              counters.map((counter) => counter.key),
              counters.flatMap((counter) => [String(counter.by), String(counter.limit ?? -1), String(counter.ttlMs)])
            ),
            (answer) => {
              const [counts, refused] = Array.isArray(answer) ? answer : []
              return { counts: numbers(counts), refused: numbers(refused) }
            }
          ),
        adjust: (changes) =>
          Effect.asVoid(
            call(
              adjustScript,
              changes.map((change) => change.key),
              changes.map((change) => String(change.by))
            )
          )
      })
    })
  )
