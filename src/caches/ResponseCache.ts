/**
 * Answers kept for the same request of the same account: in this process, and in a store that replicas share.
 *
 * **Gotchas**: whoever gets a `Miss` with `leads` has others waiting, and says how it ended: `store`, or `abandon`.
 *
 * @since 0.1.0
 */
import { Clock, Context, Deferred, Effect, Layer } from "effect"
import { type CachedAnswer, compact, read } from "./CachedAnswer.ts"
import { RecentMap } from "./RecentMap.ts"
import { SharedStore } from "./SharedStore.ts"

/** What is known of a key. @category models @since 0.1.0 */
export type Lookup =
  | { readonly _tag: "Hit"; readonly answer: CachedAnswer }
  | {
      readonly _tag: "Miss"
      readonly store: (answer: CachedAnswer) => Effect.Effect<void>
      /** Nothing is going to be stored. Does nothing after `store`. */
      readonly abandon: Effect.Effect<void>
    }

/** @category services @since 0.1.0 */
export class ResponseCache extends Context.Service<
  ResponseCache,
  {
    /** Looks a key up. With `wait`, one request of many at a time goes on and the others wait for its answer. */
    readonly lookup: (key: string, wait: boolean) => Effect.Effect<Lookup>
    readonly size: () => number
  }
>()("sluice/caches/ResponseCache") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

const ENTRIES = 20_000
const BYTES = 128 * 1_024 * 1_024
const TTL = 3_600_000
/** Bytes of one answer that is still kept. */
const MOST = 1_024 * 1_024

const make = Effect.gen(function* () {
  const texts = new RecentMap<string>({ entries: ENTRIES, bytes: BYTES, ttlMs: TTL })
  const flights = new Map<string, Deferred.Deferred<CachedAnswer | null>>()
  const shared = yield* SharedStore
  const scope = yield* Effect.scope

  const find = Effect.fnUntraced(function* (key: string) {
    const now = yield* Clock.currentTimeMillis
    const text = texts.get(key, now)
    if (text !== undefined) return read(text)
    if (shared === null) return null
    const theirs = yield* Effect.orElseSucceed(shared.get(`response:${key}`), () => null)
    if (theirs === null) return null
    const kept: { readonly until: number; readonly answer: string } = JSON.parse(theirs)
    if (kept.until <= now) return null
    texts.set(key, kept.answer, now, kept.answer.length, kept.until - now)
    return read(kept.answer)
  })

  const keep = Effect.fnUntraced(function* (key: string, answer: CachedAnswer) {
    const text = JSON.stringify({ ...answer, events: compact(answer.events) })
    if (text.length > MOST) return
    const now = yield* Clock.currentTimeMillis
    texts.set(key, text, now, text.length)
    if (shared === null) return
    // Nobody waits until the others can have it too.
    yield* Effect.forkIn(Effect.ignore(shared.set(`response:${key}`, JSON.stringify({ until: now + TTL, answer: text }), TTL)), scope, {
      startImmediately: true
    })
  })

  const careful = <A, E>(effect: Effect.Effect<A, E>, otherwise: A): Effect.Effect<A> =>
    Effect.catchCause(effect, (cause) => Effect.as(Effect.logDebug("The response cache failed", cause), otherwise))

  const alone = (key: string): Lookup => ({ _tag: "Miss", store: (answer) => careful(keep(key, answer), undefined), abandon: Effect.void })

  /** Goes on in the name of all who ask for the same. */
  const lead = (key: string): Lookup => {
    const flight = Deferred.makeUnsafe<CachedAnswer | null>()
    flights.set(key, flight)
    const land = (answer: CachedAnswer | null) =>
      Effect.suspend(() => {
        if (flights.get(key) === flight) flights.delete(key)
        return Effect.asVoid(Deferred.succeed(flight, answer))
      })
    return {
      _tag: "Miss",
      store: (answer) => Effect.andThen(careful(keep(key, answer), undefined), land(answer)),
      abandon: land(null)
    }
  }

  const lookup = Effect.fnUntraced(function* (key: string, wait: boolean): Effect.fn.Return<Lookup> {
    const answer = yield* careful(find(key), null)
    if (answer !== null) return { _tag: "Hit", answer }
    if (!wait) return alone(key)
    const flight = flights.get(key)
    if (flight === undefined) return lead(key)
    const theirs = yield* Deferred.await(flight)
    return theirs === null ? alone(key) : { _tag: "Hit", answer: theirs }
  })

  return ResponseCache.of({ lookup, size: () => texts.size })
})
