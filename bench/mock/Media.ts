/**
 * What the mock answers to anything but a chat: embeddings, images and transcriptions in OpenAI's shape, embeddings and
 * images in Google's. Plain values, no sockets.
 */
import type { Script } from "./Script.ts"

type Body = Readonly<Record<string, unknown>>

/** Numbers of a vector where nothing else is said, and tokens and seconds that everything takes. */
const DIMENSIONS = 8
const TOKENS = 5
const SECONDS = 12.34

const isTokens = (input: unknown): boolean => Array.isArray(input) && typeof input[0] === "number"

const inputsOf = (body: Body): ReadonlyArray<unknown> => {
  const { input } = body
  return Array.isArray(input) && !isTokens(input) ? input : [input]
}

const vectorOf = (index: number, dimensions: number): ReadonlyArray<number> =>
  Array.from({ length: dimensions }, (_, place) => index + place / 4)

const base64Of = (vector: ReadonlyArray<number>): string => Buffer.from(new Float32Array(vector).buffer).toString("base64")

const embeddings = (script: Script, body: Body) => {
  const dimensions = typeof body["dimensions"] === "number" ? body["dimensions"] : DIMENSIONS
  const rows = script.empty === true ? [] : inputsOf(body)
  const isBase64 = body["encoding_format"] === "base64" && script.ignoresEncoding !== true
  const data = rows.map((_, index) => {
    const vector = vectorOf(index, dimensions)
    return { object: "embedding", index, embedding: isBase64 ? base64Of(vector) : vector }
  })
  const tokens = TOKENS * rows.length
  const usage = script.usage ?? { prompt_tokens: tokens, total_tokens: tokens }
  return { object: "list", data, model: body["model"], ...(script.noUsage === true ? {} : { usage }) }
}

const images = (script: Script, body: Body) => {
  const n = typeof body["n"] === "number" ? body["n"] : 1
  const one = body["response_format"] === "b64_json" ? { b64_json: "aW1hZ2U=" } : { url: "https://images.example/1.png" }
  const data = script.empty === true ? [] : Array.from({ length: script.images ?? n }, () => one)
  return { created: 1_700_000_000, data, ...(script.usage === undefined ? {} : { usage: script.usage }) }
}

const transcription = (script: Script, body: Body): object | string => {
  const text = script.empty === true ? "" : (script.text ?? "Hello world. How are you?")
  const duration = script.noUsage === true ? {} : { duration: script.seconds ?? SECONDS }
  switch (body["response_format"]) {
    case "text":
      return `${text}\n`
    case "srt":
      return `1\n00:00:00,000 --> 00:00:03,000\n${text}\n\n`
    case "vtt":
      return `WEBVTT\n\n00:00:00.000 --> 00:00:03.000\n${text}\n\n`
    case "verbose_json": {
      const heard = { seek: 0, tokens: [1, 2], temperature: 0, avg_logprob: -0.2, compression_ratio: 1.1, no_speech_prob: 0.01 }
      const segments = [
        { id: 0, start: 0, end: 1.5, text: " Hello world.", ...heard },
        { id: 1, start: 1.5, end: 3723.004, text: " How are you?", ...heard }
      ]
      return { task: "transcribe", language: "english", ...duration, text, segments }
    }
    default:
      return { text, ...(script.usage === undefined ? {} : { usage: script.usage }) }
  }
}

const googleEmbeddings = (body: Body) => {
  const requests = Array.isArray(body["requests"]) ? body["requests"] : []
  return { embeddings: requests.map((request, index) => ({ values: vectorOf(index, request?.outputDimensionality ?? DIMENSIONS) })) }
}

const googlePredictions = (body: Body) => {
  const instances = Array.isArray(body["instances"]) ? body["instances"] : []
  if (instances.some((instance) => typeof instance?.content === "string")) {
    return {
      predictions: instances.map((_, index) => ({
        embeddings: { values: vectorOf(index, DIMENSIONS), statistics: { token_count: TOKENS } }
      }))
    }
  }
  const { parameters } = body
  const count = typeof parameters === "object" && parameters !== null && "sampleCount" in parameters ? Number(parameters.sampleCount) : 1
  return { predictions: Array.from({ length: count }, () => ({ bytesBase64Encoded: "aW1hZ2U=", mimeType: "image/png" })) }
}

/** The answer at a path; undefined where the path is none of these. */
export const mediaAnswer = (path: string, script: Script, body: Body): object | string | undefined => {
  if (path.endsWith("/embeddings")) return embeddings(script, body)
  if (path.endsWith("/images/generations")) return images(script, body)
  if (path.endsWith("/audio/transcriptions")) return transcription(script, body)
  if (path.endsWith(":batchEmbedContents")) return googleEmbeddings(body)
  return path.endsWith(":predict") ? googlePredictions(body) : undefined
}

/** A form as an object: fields as texts, a file as what is known of it. */
export const readForm = async (contentType: string, bytes: Buffer): Promise<Record<string, unknown>> => {
  const form = await new Response(new Uint8Array(bytes), { headers: { "content-type": contentType } }).formData()
  const body: Record<string, unknown> = {}
  for (const [name, value] of form.entries()) {
    body[name] =
      typeof value === "string"
        ? value
        : { name: value.name, type: value.type, bytes: Buffer.from(await value.arrayBuffer()).toString("latin1") }
  }
  return body
}
