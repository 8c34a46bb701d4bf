/**
 * Limits of one key: requests and tokens in windows of UTC, bursts, and requests in flight.
 *
 * @since 0.1.0
 */
import { Cause, Clock, Context, Effect, Latch, Layer, Metric, Random, Schema, type Scope } from "effect"
import type { Caller } from "../../schemas/Account.ts"
import { type Approach, ApproachWatch } from "./Approach.ts"
import type { Conclusion, Counted, Counter, Place } from "./Counter.ts"
import { CounterStore } from "./CounterStore.ts"
import { type KeyWindow, KeyWindows, LimitName, type Period, PLACE_TTL, periodOf, resetOf } from "./KeyWindows.ts"
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
  /** Epoch milliseconds. */
  readonly at: number
  /** Tokens that it was counted with. */
  readonly tokens: number
  readonly windows: KeyWindows
  /** What it holds among the requests in flight. */
  readonly place: Place | null
}

/** @category services @since 0.1.0 */
export class KeyLimits extends Context.Service<
  KeyLimits,
  {
    /** Counts the request in, until it is left. `view` is filled also when it is refused. Our own trouble (Redis away) never refuses. */
    readonly enter: (caller: Caller, estimatedTokens: number) => Effect.Effect<Admitted>
    /** The same at once, where the counters are in this process; null where somebody else has to be asked. */
    readonly enterNow: (caller: Caller, estimatedTokens: number) => Admitted | null
    /**
     * Ends a request that was entered: gives back its place, and corrects its tokens to those it used. What was too much goes
     * back to the windows it was taken from, what was too little counts now. Whom that takes time is not waited for.
     */
    readonly leave: (caller: Caller, admitted: Admitted, usedTokens: number) => void
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

/** Keys whose windows are kept ready, at most. */
const READY = 10_000

const refusedCount = Metric.counter("sluice_rate_limited_requests_total", { description: "Requests refused by a limit", incremental: true })

const crowded = Metric.counter("sluice_concurrency_rejected_total", {
  description: "Requests refused because too many of the key were under way",
  attributes: { reason: "key_limit" },
  incremental: true
})

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
const refusal = (caller: Caller, windows: KeyWindows, counted: Counted, tokens: number, now: number): LimitExceeded | null => {
  let longest: KeyWindow | undefined
  for (const at of counted.refused) {
    const window = windows.all[at]
    if (window !== undefined && (longest === undefined || resetOf(window, now) > resetOf(longest, now))) longest = window
  }
  if (longest === undefined) return null
  const { limit, most } = longest
  const who = caller.isAnonymous ? "An address without a key" : "This key"
  const alone =
    limit.startsWith("tokens") && tokens > most ? ` This request alone may take ${tokens}; lower \`max_tokens\` or shorten the prompt.` : ""
  return new LimitExceeded({
    limit,
    message: `${who} is limited to ${most} ${words[limit]}.${alone}`,
    retryAfterMs: Math.max(1, resetOf(longest, now) - now)
  })
}

const viewAt = (windows: KeyWindows, at: number, { counts }: Counted, now: number): LimitView["requests"] => {
  const window = windows.all[at]
  if (window === undefined) return null
  return { limit: window.most, remaining: Math.max(0, window.most - (counts[at] ?? 0)), resetAt: resetOf(window, now) }
}

const NONE: ReadonlyArray<never> = []

/** The token windows of a key as counters to be raised whatever their limits, or as changes. */
const tokensOf = (windows: ReadonlyArray<KeyWindow>, by: number): ReadonlyArray<Counter> =>
  windows.map(({ key, ttlMs }) => ({ key, by, limit: null, ttlMs }))

const anyway = (effect: Effect.Effect<unknown, unknown>): Effect.Effect<void> => Effect.catchCause(Effect.asVoid(effect), () => Effect.void)

/** What has to be done each time, without asking anybody. */
class Desk {
  readonly held = new Set<Place>()
  readonly anyHeld = Latch.makeUnsafe(false)
  readonly watch = new ApproachWatch()
  private readonly ready = new Map<string, KeyWindows>()
  private readonly mode: VelocityMode["Service"]
  /** Names this process among all that count in the same store. */
  private readonly process: string
  private readonly context: Context.Context<never>
  private requests = 0
  private period: Period

  constructor(mode: VelocityMode["Service"], process: string, context: Context.Context<never>, now: number) {
    this.mode = mode
    this.process = process
    this.context = context
    this.period = periodOf(now)
  }

  /** The windows of a key as they are now. */
  windowsAt(caller: Caller, now: number): KeyWindows {
    if (Math.floor(now / 60_000) !== this.period.minute) this.period = periodOf(now)
    const factor = this.mode.of(caller, now)?.factor ?? 1
    const known = this.ready.get(caller.keyId)
    if (known !== undefined && known.limits === caller.limits && known.period === this.period && known.factor === factor) return known
    const made = new KeyWindows(caller, this.period, factor)
    if (this.ready.size >= READY) this.ready.clear()
    this.ready.set(caller.keyId, made)
    return made
  }

  newMember(windows: KeyWindows): string {
    return windows.places === null ? "" : `${this.process}.${this.requests++}`
  }

  /** What came of a raise. */
  admitted(caller: Caller, windows: KeyWindows, tokens: number, member: string, counted: Counted, now: number): Admitted {
    const refused = counted.refused.length === 0 ? null : refusal(caller, windows, counted, tokens, now)
    let place: Place | null = null
    if (refused !== null) this.countRefusal(refused.limit)
    else if (windows.places !== null) {
      place = { key: windows.places.key, member }
      this.held.add(place)
      this.anyHeld.openUnsafe()
    }
    this.watch.look(caller, windows.all, counted.counts)
    const view = {
      requests: viewAt(windows, windows.requestsAt, counted, now),
      tokens: viewAt(windows, windows.tokensAt, counted, now),
      velocity: windows.all.length === 0 ? null : this.mode.of(caller, now)
    }
    return { view, refused, at: now, tokens, windows, place }
  }

  private countRefusal(limit: LimitName): void {
    Metric.withAttributes(refusedCount, { limit_type: limit }).updateUnsafe(1, this.context)
    if (limit === "concurrency") crowded.updateUnsafe(1, this.context)
  }
}

/** Keeps the places of what is still in flight; those of a process that died are free when nobody keeps them. */
const renewing = ({ anyHeld, held }: Desk, store: CounterStore["Service"]) =>
  Effect.gen(function* () {
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

/** How requests end. */
const makeLeave = (desk: Desk, store: CounterStore["Service"], clock: Clock.Clock, run: (effect: Effect.Effect<void>) => unknown) => {
  const { held, watch } = desk
  const { local } = store
  const leave: KeyLimits["Service"]["leave"] = (caller, { place, refused, tokens, windows }, usedTokens) => {
    const difference = usedTokens - tokens
    if (refused !== null) return
    if (place !== null) held.delete(place)
    if (place === null && difference === 0) return
    const now = clock.currentTimeMillisUnsafe()
    const used = difference > 0 ? desk.windowsAt(caller, now).tokens : NONE
    const end: Conclusion = {
      raised: difference > 0 ? tokensOf(used, difference) : NONE,
      lowered: difference < 0 ? tokensOf(windows.tokens, difference) : NONE,
      left: place === null ? NONE : [place]
    }
    if (local !== null) return watch.look(caller, used, local.conclude(end, now))
    run(anyway(Effect.map(store.conclude(end), (counts) => watch.look(caller, used, counts))))
  }
  return leave
}

const make = Effect.fnUntraced(function* (
  store: CounterStore["Service"],
  mode: VelocityMode["Service"]
): Effect.fn.Return<KeyLimits["Service"], never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const name = `${(yield* Random.nextInt).toString(36)}.${clock.currentTimeMillisUnsafe().toString(36)}`
  const desk = new Desk(mode, name, context, clock.currentTimeMillisUnsafe())
  const { watch } = desk
  const { local } = store

  /** When nobody can be asked, nobody is refused: our trouble is never the caller's. */
  const raise = (counters: ReadonlyArray<Counter>): Effect.Effect<Counted> =>
    Effect.catchCause(store.raise(counters), (cause) =>
      Cause.hasInterrupts(cause) ? Effect.interrupt : Effect.as(Metric.update(unlimited, 1), { counts: counters.map(() => 0), refused: [] })
    )

  const enterNow = (caller: Caller, tokens: number): Admitted | null => {
    if (local === null) return null
    const now = clock.currentTimeMillisUnsafe()
    const windows = desk.windowsAt(caller, now)
    const member = desk.newMember(windows)
    return desk.admitted(caller, windows, tokens, member, local.raise(windows.countersOf(tokens, member), now), now)
  }

  const enter = (caller: Caller, tokens: number): Effect.Effect<Admitted> =>
    Effect.suspend(() => {
      const entered = enterNow(caller, tokens)
      if (entered !== null) return Effect.succeed(entered)
      const now = clock.currentTimeMillisUnsafe()
      const windows = desk.windowsAt(caller, now)
      const member = desk.newMember(windows)
      const counters = windows.countersOf(tokens, member)
      const counted = counters.length === 0 ? Effect.succeed({ counts: NONE, refused: NONE }) : raise(counters)
      return Effect.uninterruptible(Effect.map(counted, (found) => desk.admitted(caller, windows, tokens, member, found, now)))
    })

  const forget = (caller: Caller, admittedAt: number) =>
    Effect.suspend(() => {
      const { requests } = new KeyWindows(caller, periodOf(admittedAt), 1)
      return requests.length === 0 ? Effect.void : anyway(store.adjust(requests.map(({ key }) => ({ key, by: -1 }))))
    })

  yield* Effect.forkScoped(Effect.forever(renewing(desk, store)))

  const subscribe = (listener: (approach: Approach) => void) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        watch.listeners.add(listener)
      }),
      () => Effect.sync(() => watch.listeners.delete(listener))
    )

  const leave = makeLeave(desk, store, clock, Effect.runForkWith(context))
  return KeyLimits.of({ enter, enterNow, leave, forget, subscribe })
})
