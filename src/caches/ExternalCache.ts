/**
 * A cache of answers that somebody else runs, asked after our own. A request waits for it a moment and no longer; whatever
 * fails there, the provider is asked as if it were not there.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric, type Scope } from "effect"
import { isObject, parse } from "../../schemas/Json.ts"
import { type CachedAnswer, compact, isWhole, read } from "./CachedAnswer.ts"
import type { Store } from "./SharedStore.ts"

/** @category services @since 0.1.0 */
export class ExternalCache extends Context.Service<
  ExternalCache,
  {
    /** What it has under a key; null when it has nothing, fails, is too slow or rests. */
    readonly find: (key: string, choices: number) => Effect.Effect<CachedAnswer | null>
    /** Gives it an answer; nobody waits until it has it. */
    readonly store: (key: string, answer: CachedAnswer) => Effect.Effect<void>
  }
>()("sluice/caches/ExternalCache") {
  /** There is none. */
  static readonly layerNone = Layer.succeed(this, { find: () => Effect.succeed(null), store: () => Effect.void })

  static readonly layer = (store: Store) => Layer.effect(this, make(store))
}

/** Milliseconds that a request waits for it. */
const PATIENCE = 50
/** Milliseconds that a write may take. */
const WRITE_PATIENCE = 2_000
/** Writes under way; more are left out. */
const WRITES = 64
const TTL = 3_600_000
/** Characters of one answer that is still kept there, or taken from there. */
const MOST = 1_024 * 1_024
/** Failures in a row after which it is left alone, and for how long, in milliseconds: no request waits for what is gone. */
const FAILURES = 5
const REST = 10_000

const lookups = {
  hit: Metric.counter("sluice_cache_hits_total", { description: "Requests answered from a cache", incremental: true }),
  miss: Metric.counter("sluice_cache_misses_total", { description: "Requests that a cache had no answer for", incremental: true })
}
const bypasses = Metric.counter("sluice_external_cache_bypasses_total", {
  description: "Reads and writes that went on without the external cache, by why",
  incremental: true
})

/** An answer as it was put there; null when its time is over, which we mind ourselves. */
const open = (text: string, now: number): CachedAnswer | null | "unreadable" => {
  const kept = text.length > MOST ? undefined : parse(text)
  if (!isObject(kept) || typeof kept["until"] !== "number" || typeof kept["answer"] !== "string") return "unreadable"
  return kept["until"] <= now ? null : (read(kept["answer"]) ?? "unreadable")
}

type Why = "slow" | "failed" | "unreadable" | "resting" | "busy" | "too_large"

const make = Effect.fnUntraced(function* (store: Store): Effect.fn.Return<ExternalCache["Service"], never, Scope.Scope> {
  const scope = yield* Effect.scope
  let failures = 0
  let restsUntil = 0
  let writing = 0

  const bypass = (why: Why) => Metric.update(Metric.withAttributes(bypasses, { reason: why }), 1)

  const failed = (why: Why) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      failures++
      if (failures >= FAILURES) restsUntil = now + REST
      return bypass(why)
    })

  const look = Effect.fnUntraced(function* (key: string, choices: number) {
    const text = yield* store.get(key).pipe(
      Effect.timeoutOrElse({ duration: PATIENCE, orElse: () => Effect.as(failed("slow"), undefined) }),
      Effect.catchCause((cause) =>
        Effect.andThen(failed("failed"), Effect.as(Effect.logDebug("The external cache failed", cause), undefined))
      )
    )
    if (text === undefined) return null
    failures = 0
    const answer = text === null ? null : open(text, yield* Clock.currentTimeMillis)
    // What no answer of ours could be is none, whoever put it there.
    if (answer === "unreadable" || (answer !== null && !isWhole(answer.events, choices))) yield* bypass("unreadable")
    else if (answer !== null) {
      yield* Metric.update(Metric.withAttributes(lookups.hit, { cache_name: "external" }), 1)
      return answer
    }
    yield* Metric.update(Metric.withAttributes(lookups.miss, { cache_name: "external" }), 1)
    return null
  })

  const find: ExternalCache["Service"]["find"] = (key, choices) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => (now < restsUntil ? Effect.as(bypass("resting"), null) : look(key, choices)))

  const write = (key: string, text: string) =>
    store.set(key, text, TTL).pipe(
      Effect.timeoutOrElse({ duration: WRITE_PATIENCE, orElse: () => failed("slow") }),
      Effect.catchCause(() => failed("failed")),
      Effect.ensuring(Effect.sync(() => writing--))
    )

  const keep: ExternalCache["Service"]["store"] = Effect.fnUntraced(function* (key, answer) {
    const now = yield* Clock.currentTimeMillis
    if (now < restsUntil) return yield* bypass("resting")
    if (writing >= WRITES) return yield* bypass("busy")
    const text = JSON.stringify({ until: now + TTL, answer: JSON.stringify({ ...answer, events: compact(answer.events) }) })
    if (text.length > MOST) return yield* bypass("too_large")
    writing++
    yield* Effect.forkIn(write(key, text), scope, { startImmediately: true })
  })

  return ExternalCache.of({ find, store: keep })
})
