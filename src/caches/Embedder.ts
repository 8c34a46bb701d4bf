/**
 * Texts as vectors, so that those that mean the same are near each other.
 *
 * @since 0.1.0
 */
import { Clock, Context, Data, Effect, Layer, Metric } from "effect"

/** @category services @since 0.1.0 */
export class Embedder extends Context.Service<
  Embedder,
  {
    /** A vector of length 1. */
    readonly embed: (text: string) => Effect.Effect<Float32Array, unknown>
  }
>()("sluice/caches/Embedder") {
  /** The words, numbers and runs of letters of a text, counted into a fixed number of places: no model, no network, the same everywhere. */
  static readonly layerHashed = Layer.succeed(this, { embed: (text) => Effect.sync(() => hashed(text)) })

  /** By somebody who may fail or be slow: he is waited for a moment and no longer, and left alone for a while when he fails. */
  static readonly layerOf = (embed: (text: string) => Effect.Effect<ReadonlyArray<number>, unknown>) =>
    Layer.sync(this, () => patient(embed))
}

/** No vector, and so no answer out of what means the same. @category errors @since 0.1.0 */
export class NotCompared extends Data.TaggedError("NotCompared")<{ readonly reason: "slow" | "failed" | "unusable" | "resting" }> {}

/** Milliseconds that a request waits for a vector. */
const PATIENCE = 1_000
/** Failures in a row after which it is left alone, and for how long, in milliseconds. */
const FAILURES = 5
const REST = 10_000
/** Numbers of a vector, at most. */
const MOST = 8_192

const bypasses = Metric.counter("sluice_semantic_cache_bypasses_total", {
  description: "Requests that were not compared with others because no vector of theirs came, by why",
  incremental: true
})

const isUsable = (vector: ReadonlyArray<number>): boolean =>
  vector.length > 0 && vector.length <= MOST && vector.every(Number.isFinite) && vector.some((value) => value !== 0)

const patient = (ask: (text: string) => Effect.Effect<ReadonlyArray<number>, unknown>): Embedder["Service"] => {
  let failures = 0
  let restsUntil = 0
  const bypass = (reason: NotCompared["reason"]) =>
    Effect.andThen(Metric.update(Metric.withAttributes(bypasses, { reason }), 1), Effect.fail(new NotCompared({ reason })))
  const failed = Effect.fnUntraced(function* (reason: NotCompared["reason"], why: unknown) {
    failures++
    if (failures >= FAILURES) restsUntil = (yield* Clock.currentTimeMillis) + REST
    if (failures === FAILURES) yield* Effect.logWarning("The semantic cache is passed over: no vectors come", why)
    return yield* bypass(reason)
  })
  return {
    embed: Effect.fnUntraced(function* (text: string) {
      if ((yield* Clock.currentTimeMillis) < restsUntil) return yield* bypass("resting")
      const asked = Effect.timeoutOrElse(Effect.exit(ask(text)), { duration: PATIENCE, orElse: () => Effect.succeed(null) })
      const end = yield* asked
      if (end === null) return yield* failed("slow", `none within ${PATIENCE} ms`)
      if (end._tag === "Failure") return yield* failed("failed", end.cause)
      if (!isUsable(end.value)) return yield* failed("unusable", "the vector is none")
      failures = 0
      return normalized(Float32Array.from(end.value))
    })
  }
}

const DIMENSIONS = 512
/** A word counts more than the letters in it, and what changes the meaning of everything around it counts most. */
const WORD = 1
const LETTERS = 0.25
const DECISIVE = 4

const decisive = /^(?:.*\d.*|no|not|never|none|without|nor|isn't|don't|doesn't|can't|won't|aren't)$/

/** FNV-1a, 32 bits. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** A vector as long as 1. @category conversions @since 0.1.0 */
export const normalized = (vector: Float32Array): Float32Array => {
  const length = Math.hypot(...vector)
  return length === 0 ? vector : vector.map((value) => value / length)
}

/** The cosine of the angle between two vectors of length 1. @category conversions @since 0.1.0 */
export const cosine = (a: Float32Array, b: Float32Array): number => {
  if (a.length !== b.length) return 0
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0)
  return sum
}

const hashed = (text: string): Float32Array => {
  const vector = new Float32Array(DIMENSIONS)
  const add = (feature: string, weight: number) => {
    const hash = hashOf(feature)
    const place = hash % DIMENSIONS
    vector[place] = (vector[place] ?? 0) + (hash & 0x10000 ? weight : -weight)
  }
  const words =
    text
      .normalize("NFKC")
      .toLowerCase()
      .match(/[\p{L}\p{N}'’]+/gu) ?? []
  let before = ""
  for (const word of words) {
    add(`w:${word}`, decisive.test(word) ? DECISIVE : WORD)
    // The order of words: "dog bites man" is another story than "man bites dog".
    add(`b:${before} ${word}`, WORD)
    for (let i = 0; i + 3 <= word.length; i++) add(`l:${word.slice(i, i + 3)}`, LETTERS)
    before = word
  }
  return normalized(vector)
}
