/**
 * Whether a request may be answered from a cache, and from which: first one that means the same, then the very same, then
 * one that somebody else keeps, then the provider. Nothing that fails here keeps a request from its answer.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Metric, Scope } from "effect"
import { Digest } from "effect/crypto"
import type { CacheMode } from "../../schemas/Account.ts"
import type { InferenceEvent, InferenceRequest, Operation } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { type CachedAnswer, isWhole } from "./CachedAnswer.ts"
import { type CacheFacts, exactKey, scopeAndText } from "./CacheKey.ts"
import { ExternalCache } from "./ExternalCache.ts"
import { type Lookup, ResponseCache } from "./ResponseCache.ts"
import { type Asked, SemanticCache } from "./SemanticCache.ts"

/** Who says what of the cache; null says nothing. @category models @since 0.1.0 */
export interface CacheWishes {
  readonly request: CacheMode | null
  readonly key: CacheMode | null
}

/** @category models @since 0.1.0 */
export interface AnswerCacheOptions {
  /** For requests of which neither they nor their keys say anything. */
  readonly byDefault: boolean
  /** Whether answers to words that mean the same are given. */
  readonly semantic: boolean
}

/** @category services @since 0.1.0 */
export class AnswerCache extends Context.Service<
  AnswerCache,
  {
    /** Whether a request asks for the cache, and may: an `off` of anybody wins, and recordings are not compared. */
    readonly isWanted: (wishes: CacheWishes, operation: Operation) => boolean
    /** Whether the cache that somebody else runs may be asked too: only who says so himself, the request before its key. */
    readonly isExternal: (wishes: CacheWishes) => boolean
    /** Looks a request up. What a `Miss` leads is abandoned with the Scope, unless it was stored. */
    readonly lookup: (facts: CacheFacts, external?: boolean) => Effect.Effect<Lookup, never, Scope.Scope>
  }
>()("sluice/caches/AnswerCache") {
  static readonly layer = (options: AnswerCacheOptions) => Layer.effect(this, make(options))
}

const hits = Metric.counter("sluice_cache_hits_total", { description: "Requests answered from a cache", incremental: true })
const misses = Metric.counter("sluice_cache_misses_total", { description: "Requests that a cache had no answer for", incremental: true })

const count = (counter: typeof hits, name: string) => Metric.update(Metric.withAttributes(counter, { cache_name: name }), 1)

const nothing: Lookup = { _tag: "Miss", store: () => Effect.void, abandon: Effect.void }

const make = Effect.fnUntraced(function* (options: AnswerCacheOptions) {
  const exact = yield* ResponseCache
  const semantic = yield* SemanticCache
  const others = yield* ExternalCache
  const digest = yield* Digest.Digest

  const careful = <A, E>(effect: Effect.Effect<A, E>, otherwise: A): Effect.Effect<A> =>
    Effect.catchCause(effect, (cause) => Effect.as(Effect.logDebug("A cache of answers failed", cause), otherwise))

  /** What was asked, to compare it by; null where nothing is compared. */
  const question = Effect.fnUntraced(function* (facts: CacheFacts) {
    if (!options.semantic || facts.request.operation !== "chat") return null
    const apart = yield* Effect.provideService(scopeAndText(facts), Digest.Digest, digest)
    return apart === null ? null : yield* semantic.ask(apart)
  })

  const similar = Effect.fnUntraced(function* (asked: Asked) {
    const answer = yield* semantic.find(asked)
    yield* count(answer === null ? misses : hits, "semantic")
    return answer
  })

  const lookup = Effect.fnUntraced(function* (facts: CacheFacts, external = false): Effect.fn.Return<Lookup, never, Scope.Scope> {
    const asked = yield* careful(question(facts), null)
    const alike = asked === null ? null : yield* careful(similar(asked), null)
    if (alike !== null) return { _tag: "Hit", answer: alike }
    const key = yield* careful(Effect.provideService(exactKey(facts), Digest.Digest, digest), null)
    if (key === null) return nothing
    // Whoever wants to see an answer grow does not wait for another's to be whole.
    const found = yield* careful(exact.lookup(key, !facts.request.stream), nothing)
    yield* careful(count(found._tag === "Hit" ? hits : misses, "response"), undefined)
    if (found._tag === "Hit") return found
    yield* Scope.addFinalizer(yield* Effect.scope, careful(found.abandon, undefined))
    const keepHere = (answer: CachedAnswer) =>
      Effect.andThen(
        careful(found.store(answer), undefined),
        asked === null ? Effect.void : careful(semantic.store(asked, answer), undefined)
      )
    if (!external) return { _tag: "Miss", store: keepHere, abandon: found.abandon }
    const theirs = yield* careful(others.find(key, facts.request.choices), null)
    if (theirs !== null) {
      yield* keepHere(theirs)
      return { _tag: "Hit", answer: theirs }
    }
    const store = (answer: CachedAnswer) => Effect.andThen(keepHere(answer), careful(others.store(key, answer), undefined))
    return { _tag: "Miss", store, abandon: found.abandon }
  })

  return AnswerCache.of({
    isWanted: ({ key, request }, operation) =>
      operation !== "transcription" && request !== "off" && key !== "off" && (request !== null || key !== null || options.byDefault),
    isExternal: ({ key, request }) => (request ?? key) === "external",
    lookup
  })
})

/** Whether an answer came out of a cache, might have, or was not looked for there. @category models @since 0.1.0 */
export type CacheState = "hit" | "miss" | "bypass"

/** Of an answer that no cache had. @category accessors @since 0.1.0 */
export const cacheState = (found: Lookup | null): CacheState => (found === null ? "bypass" : "miss")

/** Keeps an answer that is whole, and that no want of money has cut (`clamped`). @category storing @since 0.1.0 */
export const keep = (
  found: Lookup | null,
  request: InferenceRequest,
  clamped: boolean,
  candidate: Candidate,
  events: ReadonlyArray<InferenceEvent>
): Effect.Effect<void> =>
  found?._tag !== "Miss" || clamped || !isWhole(events, request.choices)
    ? Effect.void
    : found.store({ model: candidate.model.id, provider: candidate.provider, events })

/** Ids of the models of a route, in order. @category accessors @since 0.1.0 */
export const modelsOf = (candidates: ReadonlyArray<Candidate>): ReadonlyArray<string> => [
  ...new Set(candidates.map((candidate) => candidate.model.id))
]
