/**
 * Limits of one key: requests and tokens in windows of UTC, bursts, and requests in flight.
 *
 * @since 0.1.0
 */
import { Cause, Clock, Context, Effect, Latch, Layer, Metric, Random, Schema, Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import { type Approach, ApproachWatch } from "./Approach.ts"
import type { Counted, Counter, Place } from "./Counter.ts"
import { CounterStore } from "./CounterStore.ts"
import { type KeyWindow, LimitName, type Period, PLACE_TTL, periodOf, tokenWindows, windowsOf } from "./KeyWindows.ts"
import { type Velocity, VelocityMode } from "./VelocityMode.ts"

/** What the answer's headers say about limits; "none" shows nothing. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface LimitView {
  readonly requests: { readonly limit: number; readonly remaining: number; readonly resetAt: number } | null
  readonly tokens: { readonly limit: number; readonly remaining: number; readonly resetAt: number } | null
  /** Null in normal times. */
  readonly velocity: Velocity | null
}

/** @category errors @since 0.1.0 */
export class LimitExceeded extends Schema.TaggedError<LimitExceeded>()("LimitExceeded", {
  limit: LimitName,
  message: Schema.String,
  retryAfterMs: Schema.Number
}) {}

/** Whether a request came in, and where its limits stand. @category models @since 0.1.0 */
export interface Admitted {
  readonly view: LimitView
  readonly refused: LimitExceeded | null
}

/** @category services @since 0.1.0 */
export class KeyLimits extends Context.Service<
  KeyLimits,
  {
    /**
     * Counts the request in, until the Scope closes for what is in flight. `view` is filled also when it is refused.
     * Our own trouble (Redis away) never refuses.
     */
    readonly admit: (caller: Caller, estimatedTokens: number) => Effect.Effect<Admitted, never, Scope.Scope>
    /**
     * Corrects the tokens of a request that was admitted at `admittedAt`, by actual minus estimated. What was too much goes
     * back to the windows it was taken from, what was too little counts now.
     */
    readonly correct: (caller: Caller, difference: number, admittedAt: number) => Effect.Effect<void>
    /** Takes a request that was admitted out of the counts of requests: it was refused for what it asked. */
    readonly forget: (caller: Caller, admittedAt: number) => Effect.Effect<void>
    /** Tells `listener` when a key has used most of a window, until the Scope closes. It must not wait or throw. */
    readonly subscribe: (listener: (approach: Approach) => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("sluice/limits/KeyLimits") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      return yield* make(yield* CounterStore, yield* VelocityMode)
    })
  )
}

/** How often the places of what is in flight are kept. */
const RENEW = 20_000
const RENEW_BATCH = 500

const NOTHING: Admitted = { view: { requests: null, tokens: null, velocity: null }, refused: null }

const refusedCount = Metric.counter("sluice_rate_limited_requests_total", { description: "Requests refused by a limit", incremental: true })

const crowded = Metric.counter("sluice_concurrency_rejected_total", {
  description: "Requests refused because too many of the key were under way",
  attributes: { reason: "key_limit" },
  incremental: true
})

const countRefusal = (limit: LimitName): Effect.Effect<void> => {
  const counted = Metric.update(Metric.withAttributes(refusedCount, { limit_type: limit }), 1)
  return limit === "concurrency" ? Effect.andThen(counted, Metric.update(crowded, 1)) : counted
}

const unlimited = Metric.counter("sluice_limits_unchecked_total", {
  description: "Requests let in because no counter could be asked",
  incremental: true
})

const words: Readonly<Record<LimitName, string>> = {
  requests_per_minute: "requests a minute",
  requests_per_day: "requests a day",
  tokens_per_minute: "tokens a minute",
  tokens_per_day: "tokens a day",
  tokens_per_month: "tokens a month",
  concurrency: "requests at the same time",
  burst: "requests at once"
}

/** Of all limits that refuse, the one that does so longest. */
const refusal = (
  windows: ReadonlyArray<KeyWindow>,
  refused: ReadonlyArray<number>,
  { now, tokens, who }: { readonly who: string; readonly tokens: number; readonly now: number }
): LimitExceeded | null => {
  let longest: KeyWindow | undefined
  for (const at of refused) {
    const window = windows[at]
    if (window !== undefined && (longest === undefined || window.resetAt > longest.resetAt)) longest = window
  }
  if (longest === undefined) return null
  const limit = longest.counter.limit ?? 0
  const alone =
    longest.limit.startsWith("tokens") && tokens > limit
      ? ` This request alone may take ${tokens}; lower \`max_tokens\` or shorten the prompt.`
      : ""
  return new LimitExceeded({
    limit: longest.limit,
    message: `${who} is limited to ${limit} ${words[longest.limit]}.${alone}`,
    retryAfterMs: Math.max(1, longest.resetAt - now)
  })
}

const viewOf = (windows: ReadonlyArray<KeyWindow>, counts: ReadonlyArray<number>, velocity: Velocity | null): LimitView => {
  const at = (limit: LimitName) => {
    const index = windows.findIndex((window) => window.limit === limit)
    const window = windows[index]
    const most = window?.counter.limit ?? null
    return window === undefined || most === null
      ? null
      : { limit: most, remaining: Math.max(0, most - (counts[index] ?? 0)), resetAt: window.resetAt }
  }
  return { requests: at("requests_per_minute"), tokens: at("tokens_per_minute"), velocity }
}

const make = Effect.fnUntraced(function* (
  store: CounterStore["Service"],
  mode: VelocityMode["Service"]
): Effect.fn.Return<KeyLimits["Service"], never, Scope.Scope> {
  /** Names this process among all that count in the same store. */
  const process = `${(yield* Random.nextInt).toString(36)}.${(yield* Clock.currentTimeMillis).toString(36)}`
  let requests = 0
  let period: Period = periodOf(yield* Clock.currentTimeMillis)
  const held = new Set<Place>()
  const anyHeld = Latch.makeUnsafe(false)
  const watch = new ApproachWatch()

  const periodAt = (now: number): Period => {
    if (Math.floor(now / 60_000) !== period.minute) period = periodOf(now)
    return period
  }

  /** When nobody can be asked, nobody is refused: our trouble is never the caller's. */
  const raise = (counters: ReadonlyArray<Counter>): Effect.Effect<Counted> =>
    Effect.catchCause(store.raise(counters), (cause) =>
      Cause.hasInterrupts(cause) ? Effect.interrupt : Effect.as(Metric.update(unlimited, 1), { counts: counters.map(() => 0), refused: [] })
    )
  const anyway = (effect: Effect.Effect<unknown, unknown>): Effect.Effect<void> =>
    Effect.catchCause(Effect.asVoid(effect), () => Effect.void)

  const leave = (place: Place) =>
    Effect.suspend(() => {
      held.delete(place)
      return anyway(store.leave([place]))
    })

  const admit = Effect.fnUntraced(function* (caller: Caller, estimatedTokens: number): Effect.fn.Return<Admitted, never, Scope.Scope> {
    const now = yield* Clock.currentTimeMillis
    const velocity = mode.of(caller, now)
    const member = `${process}.${requests++}`
    const windows = windowsOf(caller, estimatedTokens, periodAt(now), { now, member, factor: velocity?.factor ?? 1 })
    if (windows.length === 0) return NOTHING
    const counted = yield* raise(windows.map((window) => window.counter))
    const refused = refusal(windows, counted.refused, {
      who: caller.isAnonymous ? "An address without a key" : "This key",
      tokens: estimatedTokens,
      now
    })
    if (refused !== null) yield* countRefusal(refused.limit)
    else if (caller.limits.concurrency !== "none") {
      const place = { key: `in_flight:${caller.keyId}`, member }
      held.add(place)
      anyHeld.openUnsafe()
      yield* Scope.addFinalizer(yield* Effect.scope, leave(place))
    }
    watch.look(caller, windows, counted.counts)
    return { view: viewOf(windows, counted.counts, velocity), refused }
  }, Effect.uninterruptible)

  const correct = Effect.fnUntraced(function* (caller: Caller, difference: number, admittedAt: number) {
    if (difference === 0) return
    const at = difference > 0 ? yield* Clock.currentTimeMillis : admittedAt
    const windows = tokenWindows(caller, difference, periodOf(at))
    const counters = windows.map(({ counter }) => counter)
    if (counters.length === 0) return
    if (difference < 0) return yield* anyway(store.adjust(counters))
    const raised = store.raise(counters.map((counter) => ({ ...counter, limit: null })))
    yield* anyway(Effect.map(raised, ({ counts }) => watch.look(caller, windows, counts)))
  })

  const forget = (caller: Caller, admittedAt: number) =>
    Effect.suspend(() => {
      const windows = windowsOf(caller, 0, periodOf(admittedAt), { now: admittedAt, member: "", factor: 1 })
      const changes = windows.flatMap(({ counter, limit }) => (limit.startsWith("requests") ? [{ key: counter.key, by: -1 }] : []))
      return changes.length === 0 ? Effect.void : anyway(store.adjust(changes))
    })

  /** Keeps the places of what is still in flight; those of a process that died are free when nobody keeps them. */
  const renew = Effect.gen(function* () {
    yield* anyHeld.await
    yield* Effect.sleep(RENEW)
    const places = [...held]
    if (places.length === 0) anyHeld.closeUnsafe()
    for (let at = 0; at < places.length; at += RENEW_BATCH) {
      yield* anyway(
        store.renew(
          places.slice(at, at + RENEW_BATCH).filter((place) => held.has(place)),
          PLACE_TTL
        )
      )
    }
  })
  yield* Effect.forkScoped(Effect.forever(renew))

  const subscribe = (listener: (approach: Approach) => void) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        watch.listeners.add(listener)
      }),
      () => Effect.sync(() => watch.listeners.delete(listener))
    )

  return KeyLimits.of({ admit, correct, forget, subscribe })
})
