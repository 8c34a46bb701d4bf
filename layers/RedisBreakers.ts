/**
 * What replicas keep together of their circuits, in Redis.
 *
 * @since 0.1.0
 */
import { Effect, Layer, Option, type Redacted } from "effect"
import { BreakerStore, BreakerStoreError, decodeShared, encodeShared } from "../src/providers/BreakerStore.ts"
import * as RedisConnection from "./RedisConnection.ts"

/** Transitions by provider; forgotten when none was made for an hour. */
const CIRCUITS = "sluice:breakers"
const CIRCUITS_TTL = 3_600_000

/** A Redis slower than this counts as away, in milliseconds. */
const PATIENCE = 100

const freeScript = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`

const probeKey = ({ openedAt, provider }: { readonly provider: string; readonly openedAt: number }) =>
  `sluice:breaker-probe:${provider}:${openedAt}`

const make = Effect.fnUntraced(function* (url: Redacted.Redacted) {
  const redis = yield* RedisConnection.connect(url, { commandTimeoutMs: PATIENCE })
  yield* RedisConnection.ready(redis)
  const ask = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({
      try: run,
      catch: (cause) => new BreakerStoreError({ message: cause instanceof Error ? cause.message : "no answer" })
    })
  return BreakerStore.of({
    load: Effect.map(
      ask(() => redis.hvals(CIRCUITS)),
      (lines) => new Map(lines.flatMap((line) => Option.toArray(decodeShared(line))).map(({ circuit, provider }) => [provider, circuit]))
    ),
    save: (provider, circuit) =>
      Effect.asVoid(
        ask(() => redis.multi().hset(CIRCUITS, provider, encodeShared({ provider, circuit })).pexpire(CIRCUITS, CIRCUITS_TTL).exec())
      ),
    takeProbe: (permit, ttlMs) =>
      Effect.map(
        ask(() => redis.set(probeKey(permit), permit.owner, "PX", ttlMs, "NX")),
        (answer) => answer === "OK"
      ),
    freeProbe: (permit) => Effect.asVoid(ask(() => redis.eval(freeScript, 1, probeKey(permit), permit.owner)))
  })
})

/** @category layers @since 0.1.0 */
export const layer = (url: Redacted.Redacted): Layer.Layer<BreakerStore> => Layer.effect(BreakerStore, make(url))
