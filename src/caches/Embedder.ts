/**
 * Texts as vectors, so that those that mean the same are near each other.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"

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
