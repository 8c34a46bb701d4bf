/**
 * Counters shared by replicas, in Redis: one script a request, all counters or none.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import { Effect, Layer, type Redacted } from "effect"
import type { Redis } from "ioredis"
import type { Conclusion } from "../src/limits/Counter.ts"
import { CounterStore, CounterStoreError } from "../src/limits/CounterStore.ts"
import * as GuardedCounters from "../src/limits/GuardedCounters.ts"
import * as RedisConnection from "./RedisConnection.ts"
import { Watchdog } from "./Watchdog.ts"

/** @category models @since 0.1.0 */
export interface RedisCountersOptions {
  readonly url: Redacted.Redacted
  /** A Redis slower than this counts as away, in milliseconds. */
  readonly patienceMs?: number
  readonly probeMs?: number
}

const PATIENCE = 40

/** A connection that was silent for so long while it was asked is made anew, in milliseconds. */
const SILENCE = 5_000

interface Script {
  readonly text: string
  readonly sha: string
}

const script = (text: string): Script => ({ text, sha: createHash("sha1").update(text).digest("hex") })

/**
 * Takes for each counter its raise, its limit (-1: none), its life and what it is: `w` a window, `b` a burst, else the member
 * of a place. Looks at all before raising any, so that a request refused by one limit is not counted by the others.
 */
const raiseScript = script(`
local counts, refused, fresh, now, free = {}, {}, {}, 0, 0
for i, key in ipairs(KEYS) do
  local by, limit, ttl, what = tonumber(ARGV[i * 4 - 3]), tonumber(ARGV[i * 4 - 2]), tonumber(ARGV[i * 4 - 1]), ARGV[i * 4]
  if what == 'w' then
    local count = redis.call('GET', key)
    fresh[i] = not count
    counts[i] = tonumber(count or '0')
    if limit >= 0 and counts[i] + by > limit then refused[#refused + 1] = i - 1 end
  else
    if now == 0 then
      local time = redis.call('TIME')
      now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
    end
    if what == 'b' then
      local step = ttl / limit
      local behind = math.max(0, tonumber(redis.call('GET', key) or '0') - now)
      counts[i] = math.ceil(behind / step - 0.001)
      if limit == 0 or behind + step * by > ttl + 0.01 then refused[#refused + 1] = i - 1 end
    else
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
      counts[i] = redis.call('ZCARD', key)
      if limit >= 0 and counts[i] + 1 > limit then
        refused[#refused + 1] = i - 1
        local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
        if first[2] then free = math.max(free, math.ceil(tonumber(first[2]) - now)) end
      end
    end
  end
end
if #refused > 0 then return { counts, refused, free } end
for i, key in ipairs(KEYS) do
  local by, limit, ttl, what = ARGV[i * 4 - 3], tonumber(ARGV[i * 4 - 2]), ARGV[i * 4 - 1], ARGV[i * 4]
  if what == 'w' then
    counts[i] = redis.call('INCRBY', key, by)
    if fresh[i] then redis.call('PEXPIRE', key, ttl) end
  elseif what == 'b' then
    local step = tonumber(ttl) / limit
    local full = math.max(tonumber(redis.call('GET', key) or '0'), now) + step * tonumber(by)
    redis.call('SET', key, string.format('%.3f', full), 'PX', math.ceil(full - now) + 1)
    counts[i] = math.ceil((full - now) / step - 0.001)
  else
    redis.call('ZADD', key, now + tonumber(ttl), what)
    redis.call('PEXPIRE', key, ttl)
    counts[i] = counts[i] + 1
  end
end
return { counts, refused }`)

/**
 * Takes for each counter what to do, by how much or whose, and its life: `+` raises whatever its limit, `-` adds to one that is
 * there, `x` gives a place back. Gives the counts of those raised.
 */
const concludeScript = script(`
local counts = {}
for i, key in ipairs(KEYS) do
  local what, value = ARGV[i * 3 - 2], ARGV[i * 3 - 1]
  if what == '+' then
    local fresh = redis.call('EXISTS', key) == 0
    counts[#counts + 1] = redis.call('INCRBY', key, value)
    if fresh then redis.call('PEXPIRE', key, ARGV[i * 3]) end
  elseif what == 'x' then
    redis.call('ZREM', key, value)
  elseif redis.call('EXISTS', key) == 1 and redis.call('INCRBY', key, value) < 0 then
    redis.call('SET', key, '0', 'KEEPTTL')
  end
end
return counts`)

const renewScript = script(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local ttl = tonumber(ARGV[#ARGV])
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + ttl, ARGV[i])
  redis.call('PEXPIRE', key, ttl)
end
return 0`)

const numbers = (value: unknown): ReadonlyArray<number> => (Array.isArray(value) ? value.map(Number) : [])

const run = async (redis: Redis, { sha, text }: Script, keys: ReadonlyArray<string>, args: ReadonlyArray<string>): Promise<unknown> => {
  try {
    return await redis.evalsha(sha, keys.length, ...keys, ...args)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error
    return redis.eval(text, keys.length, ...keys, ...args)
  }
}

const failed = (cause: unknown) => Effect.fail(new CounterStoreError({ message: cause instanceof Error ? cause.message : "no answer" }))

const make = Effect.fnUntraced(function* (options: RedisCountersOptions) {
  const redis = yield* RedisConnection.connect(options.url, { resend: false })
  yield* RedisConnection.ready(redis)
  const watchdog = new Watchdog({
    patienceMs: options.patienceMs ?? PATIENCE,
    silenceMs: SILENCE,
    onSilence: () => redis.disconnect(true)
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => watchdog.stop()))
  const call = (what: Script, keys: ReadonlyArray<string>, args: ReadonlyArray<string>): Effect.Effect<unknown, CounterStoreError> =>
    Effect.callback((resume) => {
      const done = watchdog.watch(() => resume(failed(null)))
      run(redis, what, keys, args).then(
        (answer) => {
          done(true)
          resume(Effect.succeed(answer))
        },
        (cause: unknown) => {
          done(false)
          resume(failed(cause))
        }
      )
    })
  const keysOf = (list: ReadonlyArray<{ readonly key: string }>) => list.map(({ key }) => key)
  const conclude = ({ left, lowered, raised }: Conclusion): Effect.Effect<ReadonlyArray<number>, CounterStoreError> => {
    const keys: Array<string> = []
    const args: Array<string> = []
    const tell = (key: string, what: string, value: string, ttlMs: string): void => {
      keys.push(key)
      args.push(what, value, ttlMs)
    }
    for (const { key, member } of left) tell(key, "x", member, "")
    for (const { by, key } of lowered) tell(key, "-", String(by), "")
    for (const { by, key, ttlMs } of raised) tell(key, "+", String(by), String(ttlMs))
    return Effect.map(call(concludeScript, keys, args), numbers)
  }
  const shared: CounterStore["Service"] = {
    raise: (counters) => {
      const args: Array<string> = []
      for (const { by, kind, limit, member, ttlMs } of counters) {
        args.push(String(by), String(limit ?? -1), String(ttlMs), kind === undefined ? "w" : kind === "burst" ? "b" : (member ?? ""))
      }
      return Effect.map(call(raiseScript, keysOf(counters), args), (answer) => {
        const [counts, refused, free] = Array.isArray(answer) ? answer : []
        return { counts: numbers(counts), refused: numbers(refused), ...(typeof free === "number" && free > 0 ? { freeInMs: free } : {}) }
      })
    },
    adjust: (changes) => Effect.asVoid(conclude({ left: [], lowered: changes, raised: [] })),
    leave: (places) => Effect.asVoid(conclude({ left: places, lowered: [], raised: [] })),
    renew: (places, ttlMs) => Effect.asVoid(call(renewScript, keysOf(places), [...places.map(({ member }) => member), String(ttlMs)])),
    conclude,
    local: null,
    isAway: () => false
  }
  return yield* GuardedCounters.make(shared, options)
})

/** @category layers @since 0.1.0 */
export const layer = (options: RedisCountersOptions): Layer.Layer<CounterStore> => Layer.effect(CounterStore, make(options))
