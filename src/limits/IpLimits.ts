/**
 * The first layer: requests of nobody known, counted by address before any key is looked up.
 *
 * **Gotchas**: an address is told here by a pseudonym; the address itself is in no key. A valid key is never counted. From an
 * address over its limit a key that was good before still passes; one never seen by this process waits for the next minute.
 *
 * @since 0.1.0
 */
import { Cause, Clock, Context, Effect, Layer, Metric, Schema } from "effect"
import { CounterStore } from "./CounterStore.ts"
import { VelocityMode } from "./VelocityMode.ts"

/** An address sent too much without a key. @category errors @since 0.1.0 */
export class SecurityLimit extends Schema.TaggedError<SecurityLimit>()("SecurityLimit", {
  limit: Schema.Number,
  retryAfterMs: Schema.Number
}) {}

/** @category services @since 0.1.0 */
export class IpLimits extends Context.Service<
  IpLimits,
  {
    /** Counts one request of nobody known; refuses over the limit. */
    readonly enter: (address: string) => Effect.Effect<void, SecurityLimit>
    /** Takes one back: its key turned out to be good. */
    readonly forgive: (address: string) => Effect.Effect<void>
    /** Remembers a key, by its hash, as good; it passes from any address. */
    readonly vouch: (keyHash: string) => void
    readonly isVouched: (keyHash: string) => boolean
  }
>()("sluice/limits/IpLimits") {
  static readonly layer = (options: IpLimitsOptions) => Layer.effect(this, make(options))
}

/** @category models @since 0.1.0 */
export interface IpLimitsOptions {
  /** Requests that one address may send in a minute without a valid key; null for no limit. */
  readonly perMinute: number | null
}

const MINUTE = 60_000
/** As long as the minute and the one after, for clocks of replicas that differ. */
const TTL = 120_000

/** An address that sends this many minutes' worth within the span is held back as long as the mode says. */
const BURST_MINUTES = 5
const BURST_SPAN = 10_000
const HELD_BACK = 180_000
const HELD_BACK_FACTOR = 0.5

/** Addresses and keys that are remembered, at most. */
const REMEMBERED = 10_000

const refused = Metric.withAttributes(
  Metric.counter("sluice_rate_limited_requests_total", { description: "Requests refused by a limit", incremental: true }),
  { limit_type: "ip" }
)

/** What this process saw of an address. */
interface Seen {
  spanEnd: number
  count: number
  /** Over the limit until then: refused without asking. */
  overUntil: number
  heldBackUntil: number
}

/** Bounded, the one put longest ago goes first. */
const put = <A>(map: Map<string, A>, key: string, value: A): A => {
  map.delete(key)
  if (map.size >= REMEMBERED) {
    const oldest = map.keys().next()
    if (oldest.done !== true) map.delete(oldest.value)
  }
  map.set(key, value)
  return value
}

const make = Effect.fnUntraced(function* ({ perMinute }: IpLimitsOptions) {
  const store = yield* CounterStore
  const velocity = yield* VelocityMode
  const addresses = new Map<string, Seen>()
  const vouched = new Map<string, true>()

  const see = (address: string, now: number, most: number): Seen => {
    const seen = addresses.get(address) ?? put(addresses, address, { spanEnd: 0, count: 0, overUntil: 0, heldBackUntil: 0 })
    if (now >= seen.spanEnd) {
      seen.spanEnd = now + BURST_SPAN
      seen.count = 0
    }
    seen.count++
    if (seen.count >= most * BURST_MINUTES) seen.heldBackUntil = now + HELD_BACK
    return seen
  }

  const refuse = (limit: number, retryAfterMs: number) =>
    Effect.andThen(Metric.update(refused, 1), Effect.fail(new SecurityLimit({ limit, retryAfterMs })))

  const enter = Effect.fnUntraced(function* (address: string): Effect.fn.Return<void, SecurityLimit> {
    if (perMinute === null) return
    const now = yield* Clock.currentTimeMillis
    const seen = see(address, now, perMinute)
    const factor = Math.min(velocity.of(null, now)?.factor ?? 1, now < seen.heldBackUntil ? HELD_BACK_FACTOR : 1)
    const limit = Math.max(1, Math.floor(perMinute * factor))
    if (now < seen.overUntil) return yield* refuse(limit, seen.overUntil - now)
    const minute = Math.floor(now / MINUTE)
    const counted = yield* Effect.catchCause(
      store.raise([{ key: `sec_rl:${address}:${minute}`, by: 1, limit, ttlMs: TTL }]),
      // Our own trouble refuses nobody.
      (cause) => (Cause.hasInterrupts(cause) ? Effect.interrupt : Effect.succeed({ counts: [], refused: [] }))
    )
    if (counted.refused.length === 0) return
    seen.overUntil = (minute + 1) * MINUTE
    return yield* refuse(limit, seen.overUntil - now)
  })

  const forgive = Effect.fnUntraced(function* (address: string) {
    if (perMinute === null) return
    const now = yield* Clock.currentTimeMillis
    yield* Effect.catchCause(store.adjust([{ key: `sec_rl:${address}:${Math.floor(now / MINUTE)}`, by: -1 }]), () => Effect.void)
  })

  return IpLimits.of({
    enter,
    forgive,
    vouch: (hash) => {
      put(vouched, hash, true)
    },
    isVouched: (hash) => vouched.has(hash)
  })
})
