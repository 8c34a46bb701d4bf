/**
 * What the sandbox makes besides text, all of it deterministic: `sandbox/embed` vectors out of the characters of a text,
 * `sandbox/image` an image of one dot, `sandbox/transcribe` as many words as a recording has seconds.
 *
 * @since 0.1.0
 */
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type * as Json from "../../schemas/Json.ts"
import { estimateTokens, none } from "../../schemas/Usage.ts"
import { type EmbeddingInput, inputsOf } from "../../schemas/wire/OpenAiEmbeddings.ts"

/** Numbers of a vector where the caller asks for no other count, and of all vectors of an answer at most. */
const DIMENSIONS = 256
const MAX_NUMBERS = 1_000_000

/** A vector of length 1: each character trigram (or token) pushes one place up or down, so that texts alike lie near each other. */
const vectorOf = (input: EmbeddingInput, dimensions: number): ReadonlyArray<number> => {
  const places = new Float64Array(dimensions)
  const pieces = typeof input === "string" ? trigrams(input.toLowerCase()) : input.map(String)
  for (const piece of pieces) {
    // FNV-1a.
    let hash = 0x811c9dc5
    for (let i = 0; i < piece.length; i++) hash = Math.imul(hash ^ piece.charCodeAt(i), 0x01000193)
    const place = (hash >>> 1) % dimensions
    places[place] = (places[place] ?? 0) + ((hash & 1) === 0 ? 1 : -1)
  }
  const length = Math.sqrt(places.reduce((sum, value) => sum + value * value, 0))
  if (length === 0) places[0] = 1
  return Array.from(places, (value) => (length === 0 ? value : value / length))
}

const trigrams = (text: string): ReadonlyArray<string> => {
  const padded = `  ${text} `
  return Array.from({ length: padded.length - 2 }, (_, at) => padded.slice(at, at + 3))
}

/** One grey dot, as a PNG. */
const DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="

const words = "the quick brown fox jumps over the lazy dog".split(" ")

const dimensionsOf = (request: InferenceRequest): number => {
  const wanted = request.body["dimensions"]
  return typeof wanted === "number" ? wanted : DIMENSIONS
}

/** Why the sandbox does not do it: it works in the gateway's own process. @category predicates @since 0.1.0 */
export const refusal = (request: InferenceRequest): string | null => {
  const numbers = (inputsOf(request.body["input"])?.length ?? 0) * dimensionsOf(request)
  return numbers > MAX_NUMBERS ? `The sandbox gives at most ${MAX_NUMBERS} numbers, not ${numbers}.` : null
}

const embed = (request: InferenceRequest): Json.JsonObject => {
  const dimensions = dimensionsOf(request)
  const inputs = inputsOf(request.body["input"]) ?? []
  return { object: "list", data: inputs.map((input, index) => ({ object: "embedding", index, embedding: vectorOf(input, dimensions) })) }
}

const draw = (request: InferenceRequest): Json.JsonObject => {
  const isUrl = request.body["response_format"] === "url"
  return { data: Array.from({ length: request.choices }, () => (isUrl ? { url: `data:image/png;base64,${DOT}` } : { b64_json: DOT })) }
}

const transcribe = (seconds: number): Json.JsonObject => {
  const text = Array.from({ length: Math.max(1, Math.floor(seconds)) }, (_, at) => words[at % words.length]).join(" ")
  const heard = { seek: 0, tokens: [], temperature: 0, avg_logprob: 0, compression_ratio: 1, no_speech_prob: 0 }
  const segments = [{ id: 0, start: 0, end: seconds, text: ` ${text}`, ...heard }]
  return { task: "transcribe", language: "english", duration: seconds, text, segments }
}

/** The whole answer of the sandbox to anything but a chat. @category answers @since 0.1.0 */
export const answer = (request: InferenceRequest): ReadonlyArray<InferenceEvent> => {
  const source = "provider" as const
  if (request.operation === "images") {
    const images = request.choices * (request.image?.sizeFactor ?? 1)
    return [
      { _tag: "Data", value: draw(request) },
      { _tag: "Usage", usage: { ...none, images, source } }
    ]
  }
  if (request.operation === "transcription") {
    const audioSeconds = request.audio?.seconds ?? 0
    return [
      { _tag: "Data", value: transcribe(audioSeconds) },
      { _tag: "Usage", usage: { ...none, audioSeconds, source } }
    ]
  }
  return [
    { _tag: "Data", value: embed(request) },
    { _tag: "Usage", usage: { ...none, input: estimateTokens(request.promptCharacters), source } }
  ]
}
