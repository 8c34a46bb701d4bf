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

/** What was asked: to look for its like, and to keep an answer under, once there is one. @category models @since 0.1.0 */
export interface Asked {
  readonly scope: string
  readonly text: string
  /** Null: there is nothing yet that it could be like, so nobody waits for a vector. */
  readonly vector: Float32Array | null
}

/** @category services @since 0.1.0 */
export class SemanticCache extends Context.Service<
  SemanticCache,
  {
    readonly ask: (question: ScopeAndText) => Effect.Effect<Asked, unknown>
    /** The nearest answer whose question is more alike than 0.95; null when there is none. */
    readonly find: (asked: Asked) => Effect.Effect<CachedAnswer | null>
    /** Nobody waits until it is kept. */
    readonly store: (asked: Asked, answer: CachedAnswer) => Effect.Effect<void>
  }
>()("sluice/caches/SemanticCache") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** @category policies @since 0.1.0 */
export const ALIKE = 0.95
const TTL = 3_600_000
/** Scopes that are kept, questions of one, and about how many bytes of all of them. */
const SCOPES = 2_000
const QUESTIONS = 64
const BYTES = 128 * 1_024 * 1_024
/** Characters of a question that is still compared: in long ones a small difference hides. */
const MAX_TEXT = 4_000
/** Characters of an answer that is still kept. */
const MAX_ANSWER = 1_024 * 1_024
/** Questions that wait for their vector to be kept; more are left out. */
const WAITING = 64

interface Kept {
  readonly text: string
  readonly vector: Float32Array
  readonly answer: CachedAnswer
  readonly until: number
  readonly bytes: number
}

const make = Effect.gen(function* () {
  const embedder = yield* Embedder
  const background = yield* Effect.scope
  const scopes = new RecentMap<ReadonlyArray<Kept>>({ entries: SCOPES, bytes: BYTES, ttlMs: TTL })
  let waiting = 0

  const keptIn = (scope: string, now: number): ReadonlyArray<Kept> => (scopes.get(scope, now) ?? []).filter((kept) => now < kept.until)

  const ask = Effect.fnUntraced(function* ({ scope, text }: ScopeAndText) {
    if (text.length > MAX_TEXT) return yield* Effect.fail("too long to be compared")
    const others = keptIn(scope, yield* Clock.currentTimeMillis)
    if (others.length === 0) return { scope, text, vector: null }
    // Whoever asks the very same again needs no second vector.
    const same = others.find((kept) => kept.text === text)
    return { scope, text, vector: same?.vector ?? (yield* embedder.embed(text)) }
  })

  const keep = Effect.fnUntraced(function* ({ scope, text, vector }: Asked, answer: CachedAnswer) {
    const { length } = JSON.stringify(answer.events)
    if (length > MAX_ANSWER) return
    const own = vector ?? (yield* embedder.embed(text))
    const now = yield* Clock.currentTimeMillis
    const bytes = own.byteLength + 2 * (text.length + length)
    const all = [...keptIn(scope, now).slice(1 - QUESTIONS), { text, vector: own, answer, until: now + TTL, bytes }]
    scopes.set(
      scope,
      all,
      now,
      all.reduce((sum, kept) => sum + kept.bytes, 0)
    )
  })

  return SemanticCache.of({
    ask,
    find: ({ scope, vector }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        let nearest: Kept | null = null
        let most = ALIKE
        for (const kept of vector === null ? [] : keptIn(scope, now)) {
          const alike = vector === null ? 0 : cosine(kept.vector, vector)
          if (alike > most) {
            most = alike
            nearest = kept
          }
        }
        return nearest === null ? null : nearest.answer
      }),
    store: (asked, answer) =>
      Effect.suspend(() => {
        if (asked.vector !== null) return Effect.ignore(keep(asked, answer))
        if (waiting >= WAITING) return Effect.void
        waiting++
        const kept = keep(asked, answer).pipe(
          Effect.catchCause((cause) => Effect.logDebug("An answer could not be kept for what means the same", cause)),
          Effect.ensuring(Effect.sync(() => waiting--))
        )
        return Effect.asVoid(Effect.forkIn(kept, background, { startImmediately: true }))
      })
  })
})
