/**
 * Limits of one key: requests a minute, and requests in flight.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric, Schema, type Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import type { Limit } from "../../schemas/Plan.ts"
import { type Counted, type Counter, CounterStore, makeMemory } from "./CounterStore.ts"

/** What the answer's headers say about limits; "none" shows nothing. Times are epoch milliseconds. @category models @since 0.1.0 */
export interface LimitView {
  readonly requests: { readonly limit: number; readonly remaining: number; readonly resetAt: number } | null
  readonly tokens: { readonly limit: number; readonly remaining: number; readonly resetAt: number } | null
}

/** @category errors @since 0.1.0 */
export class LimitExceeded extends Schema.TaggedError<LimitExceeded>()("LimitExceeded", {
  limit: Schema.Literals([
    "requests_per_minute",
    "requests_per_day",
    "tokens_per_minute",
    "tokens_per_day",
    "tokens_per_month",
    "concurrency",
    "burst"
  ]),
  message: Schema.String,
  retryAfterMs: Schema.Number
}) {}

/** @category services @since 0.1.0 */
export class KeyLimits extends Context.Service<
  KeyLimits,
  {
    /**
     * Counts the request in, until the Scope closes for what is in flight. `view` is filled also when it is refused.
     * Our own trouble (Redis away) never refuses.
     */
    readonly admit: (
      caller: Caller,
      estimatedTokens: number
    ) => Effect.Effect<{ readonly view: LimitView; readonly refused: LimitExceeded | null }, never, Scope.Scope>
    /** Corrects the tokens after the request, by actual minus estimated. Never waits. */
    readonly correct: (caller: Caller, difference: number) => Effect.Effect<void>
  }
>()("sluice/limits/KeyLimits") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(CounterStore, (store) => make(store))
  )
}

type LimitName = LimitExceeded["limit"]

/** One window of a key: what it counts, and when it ends. */
interface Window {
  readonly limit: LimitName
  readonly counter: Counter
  readonly resetAt: number
}

const MINUTE = 60_000
const DAY = 86_400_000
/** A place in flight that nobody gave back is free again after this. */
const FLIGHT_TTL = 900_000

/** What takes over when the store is away: small, and forgetful. */
const FALLBACK = { size: 500, idleMs: 900_000 }

const refusedCount = Metric.counter("sluice_rate_limited_requests_total", { description: "Requests refused by a limit", incremental: true })
const trouble = Metric.counter("sluice_limit_store_failures_total", {
  description: "Counter calls that the fallback answered, or nobody",
  incremental: true
})

const bound = (limit: Limit): number | null => (limit === "none" ? null : limit)

const monthEnd = (now: number): number => {
  const date = new Date(now)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
}

/** The windows of a key that a request counts in. */
const windowsOf = (caller: Caller, tokens: number, now: number): ReadonlyArray<Window> => {
  const { keyId, limits } = caller
  const minute = Math.floor(now / MINUTE)
  const day = new Date(now).toISOString().slice(0, 10)
  const windows: Array<Window> = []
  const add = (limit: LimitName, name: string, most: Limit, by: number, resetAt: number, ttlMs: number) => {
    if (most !== "none") windows.push({ limit, counter: { key: `${name}:${keyId}`, by, limit: most, ttlMs }, resetAt })
  }
  const minuteEnd = (minute + 1) * MINUTE
  const dayEnd = (Math.floor(now / DAY) + 1) * DAY
  if (limits.rpm !== "none") {
    windows.push({
      limit: "requests_per_minute",
      counter: { key: `rate_limit:${keyId}:${minute}`, by: 1, limit: limits.rpm, ttlMs: MINUTE },
      resetAt: minuteEnd
    })
  }
  add("requests_per_day", `requests_day:${day}`, limits.requestsPerDay, 1, dayEnd, DAY)
  add("tokens_per_minute", `tokens_minute:${minute}`, limits.tokensPerMinute, tokens, minuteEnd, MINUTE)
  add("tokens_per_day", `tokens_day:${day}`, limits.tokensPerDay, tokens, dayEnd, DAY)
  add("tokens_per_month", `tokens_month:${day.slice(0, 7)}`, limits.tokensPerMonth, tokens, monthEnd(now), 31 * DAY)
  add("concurrency", "in_flight", limits.concurrency, 1, now + 1_000, FLIGHT_TTL)
  return windows
}

const words: Readonly<Record<LimitName, string>> = {
  requests_per_minute: "requests a minute",
  requests_per_day: "requests a day",
  tokens_per_minute: "tokens a minute",
  tokens_per_day: "tokens a day",
  tokens_per_month: "tokens a month",
  concurrency: "requests at the same time",
  burst: "requests at once"
}

const refusal = (windows: ReadonlyArray<Window>, refused: ReadonlyArray<number>, tokens: number, now: number): LimitExceeded | null => {
  let longest: Window | undefined
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
    message: `This key is limited to ${limit} ${words[longest.limit]}.${alone}`,
    retryAfterMs: Math.max(1, longest.resetAt - now)
  })
}

const viewOf = (windows: ReadonlyArray<Window>, counts: ReadonlyArray<number>): LimitView => {
  const at = (limit: LimitName) => {
    const index = windows.findIndex((window) => window.limit === limit)
    const window = windows[index]
    const most = bound(window?.counter.limit ?? "none")
    return window === undefined || most === null
      ? null
      : { limit: most, remaining: Math.max(0, most - (counts[index] ?? 0)), resetAt: window.resetAt }
  }
  return { requests: at("requests_per_minute"), tokens: at("tokens_per_minute") }
}

const make = (store: CounterStore["Service"]): KeyLimits["Service"] => {
  const fallback = makeMemory(FALLBACK)

  /** The store, else the fallback, else nobody refuses: our trouble is never the caller's. */
  const raise = (counters: ReadonlyArray<Counter>): Effect.Effect<Counted> =>
    store.raise(counters).pipe(
      Effect.catch(() => Effect.andThen(Metric.update(trouble, 1), fallback.raise(counters))),
      Effect.catchCause(() => Effect.as(Metric.update(trouble, 1), { counts: counters.map(() => 0), refused: [] }))
    )

  const adjust = (changes: ReadonlyArray<{ readonly key: string; readonly by: number }>): Effect.Effect<void> =>
    Effect.ignore(Effect.catch(store.adjust(changes), () => fallback.adjust(changes)))

  const admit = Effect.fnUntraced(function* (
    caller: Caller,
    estimatedTokens: number
  ): Effect.fn.Return<{ readonly view: LimitView; readonly refused: LimitExceeded | null }, never, Scope.Scope> {
    const now = yield* Clock.currentTimeMillis
    const windows = windowsOf(caller, estimatedTokens, now)
    if (windows.length === 0) return { view: { requests: null, tokens: null }, refused: null }
    const counted = yield* raise(windows.map((window) => window.counter))
    const refused = refusal(windows, counted.refused, estimatedTokens, now)
    if (refused !== null) yield* Metric.update(Metric.withAttributes(refusedCount, { limit_type: refused.limit }), 1)
    else if (caller.limits.concurrency !== "none") yield* Effect.addFinalizer(() => adjust([{ key: `in_flight:${caller.keyId}`, by: -1 }]))
    return { view: viewOf(windows, counted.counts), refused }
  })

  const correct = Effect.fnUntraced(function* (caller: Caller, difference: number) {
    if (difference === 0) return
    const windows = windowsOf(caller, difference, yield* Clock.currentTimeMillis).filter((window) => window.limit.startsWith("tokens"))
    if (windows.length > 0) yield* adjust(windows.map((window) => ({ key: window.counter.key, by: difference })))
  })

  return KeyLimits.of({ admit, correct })
}
