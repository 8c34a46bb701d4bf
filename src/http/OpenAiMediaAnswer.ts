/**
 * Answers of OpenAI's routes other than chat, in the form that was asked for.
 *
 * @since 0.1.0
 */

import { Result } from "effect"
import { Base64 } from "effect/encoding"
import type { TranscriptFormat } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { totalTokens, type Usage } from "../../schemas/Usage.ts"

/** The bytes of an answer. @category models @since 0.1.0 */
export interface MediaAnswer {
  readonly contentType: string
  readonly body: string
}

const json = (value: object): MediaAnswer => ({ contentType: "application/json", body: JSON.stringify(value) })

const BYTES_PER_FLOAT = 4

const toBase64 = (vector: ReadonlyArray<Json.Json>): string => {
  const bytes = new Uint8Array(vector.length * BYTES_PER_FLOAT)
  const view = new DataView(bytes.buffer)
  vector.forEach((value, at) => {
    view.setFloat32(at * BYTES_PER_FLOAT, Number(value), true)
  })
  return Base64.encode(bytes)
}

/** The numbers; the text itself when it is not the base64 of floats. */
const toFloats = (text: string): ReadonlyArray<number> | string => {
  const decoded = Base64.decode(text)
  if (Result.isFailure(decoded) || decoded.success.length % BYTES_PER_FLOAT !== 0) return text
  const bytes = decoded.success
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.length / BYTES_PER_FLOAT }, (_, at) => view.getFloat32(at * BYTES_PER_FLOAT, true))
}

const inFormat = (embedding: Json.Json | undefined, isBase64: boolean): Json.Json => {
  if (typeof embedding === "string") return isBase64 ? embedding : toFloats(embedding)
  return Json.isArray(embedding) ? (isBase64 ? toBase64(embedding) : embedding) : null
}

/** Vectors in the encoding that the caller asked for, whatever the provider's was. @category encoding @since 0.1.0 */
export const encodeEmbeddings = (value: Json.JsonObject, request: Json.JsonObject, model: string, usage: Usage): MediaAnswer => {
  const isBase64 = request["encoding_format"] === "base64"
  const rows = Json.isArray(value["data"]) ? value["data"] : []
  const data = rows.map((row, index) => {
    const embedding = Json.isObject(row) ? row["embedding"] : undefined
    return { object: "embedding", index, embedding: inFormat(embedding, isBase64) }
  })
  const tokens = totalTokens(usage)
  return json({ object: "list", data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } })
}

/** Images as the provider gave them; `created` in Unix seconds. @category encoding @since 0.1.0 */
export const encodeImages = (value: Json.JsonObject, created: number, usage: Usage): MediaAnswer => {
  const { input, output } = usage
  const tokens = {
    input_tokens: input,
    output_tokens: output,
    total_tokens: input + output,
    input_tokens_details: { text_tokens: input, image_tokens: 0 }
  }
  return json({ created, ...value, ...(output > 0 ? { usage: tokens } : {}) })
}

/** What only the verbose form has. */
const verboseFields = ["task", "language", "duration", "segments", "words", "x_groq"]

const stamp = (seconds: number, separator: string): string => {
  const ms = Math.max(0, Math.round(seconds * 1_000))
  const pad = (value: number, length = 2) => String(Math.floor(value)).padStart(length, "0")
  return `${pad(ms / 3_600_000)}:${pad((ms / 60_000) % 60)}:${pad((ms / 1_000) % 60)}${separator}${pad(ms % 1_000, 3)}`
}

/** Cues out of the segments; the whole text as one where a provider tells no segments. */
const cues = (value: Json.JsonObject, text: string, usage: Usage, separator: string): ReadonlyArray<string> => {
  const segments = Json.isArray(value["segments"]) ? value["segments"].filter(Json.isObject) : [{ start: 0, end: usage.audioSeconds, text }]
  return segments.map((segment) => {
    const [start, end] = [segment["start"], segment["end"]].map((time) => stamp(Number(time), separator))
    return `${start} --> ${end}\n${(Json.string(segment["text"]) ?? "").trim()}\n`
  })
}

/** A transcript. @category encoding @since 0.1.0 */
export const encodeTranscript = (value: Json.JsonObject, format: TranscriptFormat, usage: Usage): MediaAnswer => {
  const text = Json.string(value["text"]) ?? ""
  const counted = { type: "duration", seconds: Math.ceil(usage.audioSeconds) }
  switch (format) {
    case "verbose_json":
      return json({ ...value, usage: counted })
    case "json":
      return json({ ...Object.fromEntries(Object.entries(value).filter(([name]) => !verboseFields.includes(name))), usage: counted })
    case "text":
      return { contentType: "text/plain; charset=utf-8", body: `${text.trim()}\n` }
    case "srt": {
      const numbered = cues(value, text, usage, ",").map((cue, at) => `${at + 1}\n${cue}\n`)
      return { contentType: "application/x-subrip; charset=utf-8", body: text.includes("-->") ? text : numbered.join("") }
    }
    case "vtt": {
      const all = cues(value, text, usage, ".").map((cue) => `${cue}\n`)
      return { contentType: "text/vtt; charset=utf-8", body: text.startsWith("WEBVTT") ? text : `WEBVTT\n\n${all.join("")}` }
    }
  }
}

/** The same as events, for who asked for a stream: the text at once, then its end. @category encoding @since 0.1.0 */
export const encodeTranscriptStream = (value: Json.JsonObject, usage: Usage): MediaAnswer => {
  const text = Json.string(value["text"]) ?? ""
  const done = { type: "transcript.text.done", text, usage: { type: "duration", seconds: Math.ceil(usage.audioSeconds) } }
  const events = [{ type: "transcript.text.delta", delta: text }, done].map((event) => `data: ${JSON.stringify(event)}\n\n`)
  return { contentType: "text/event-stream", body: `${events.join("")}data: [DONE]\n\n` }
}
