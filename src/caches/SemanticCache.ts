/**
 * Answers to words that mean the same, asked by the same account of the same model under the same parameters.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { CachedAnswer } from "./CachedAnswer.ts"
import type { ScopeAndText } from "./CacheKey.ts"
import { cosine, Embedder } from "./Embedder.ts"
import { RecentMap } from "./RecentMap.ts"

/** What was asked, as a vector: to keep an answer under, once there is one. @category models @since 0.1.0 */
export interface Asked {
  readonly scope: string
  readonly vector: Float32Array
}

/** @category services @since 0.1.0 */
export class SemanticCache extends Context.Service<
  SemanticCache,
  {
    readonly ask: (question: ScopeAndText) => Effect.Effect<Asked, unknown>
    /** The nearest answer whose question is more alike than 0.95; null when there is none. */
    readonly find: (asked: Asked) => Effect.Effect<CachedAnswer | null>
    readonly store: (asked: Asked, answer: CachedAnswer) => Effect.Effect<void>
  }
>()("sluice/caches/SemanticCache") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Embedder, (embedder) => make(embedder))
  )
}

/** @category policies @since 0.1.0 */
export const ALIKE = 0.95
const TTL = 3_600_000
/** Scopes that are kept, and questions of one. */
const SCOPES = 2_000
const QUESTIONS = 64
/** Characters of a question that is still compared: in long ones a small difference hides. */
const MAX_TEXT = 4_000

interface Kept {
  readonly vector: Float32Array
  readonly answer: CachedAnswer
  readonly until: number
}

const make = (embedder: Embedder["Service"]): SemanticCache["Service"] => {
  const scopes = new RecentMap<ReadonlyArray<Kept>>({ entries: SCOPES, ttlMs: TTL })
  return SemanticCache.of({
    ask: ({ scope, text }) =>
      text.length > MAX_TEXT ? Effect.fail("too long to be compared") : Effect.map(embedder.embed(text), (vector) => ({ scope, vector })),
    find: ({ scope, vector }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        let nearest: Kept | null = null
        let most = ALIKE
        for (const kept of scopes.get(scope, now) ?? []) {
          const alike = now < kept.until ? cosine(kept.vector, vector) : 0
          if (alike > most) {
            most = alike
            nearest = kept
          }
        }
        return nearest === null ? null : nearest.answer
      }),
    store: ({ scope, vector }, answer) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const others = (scopes.get(scope, now) ?? []).filter((kept) => now < kept.until)
        scopes.set(scope, [...others.slice(1 - QUESTIONS), { vector, answer, until: now + TTL }], now)
      })
  })
}
