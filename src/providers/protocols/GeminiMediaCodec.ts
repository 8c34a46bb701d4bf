/**
 * Embeddings and images as Google speaks them: `:batchEmbedContents` of the Gemini API, and `:predict` of Imagen and Vertex.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../../schemas/Inference.ts"
import * as Json from "../../../schemas/Json.ts"
import { none, type Usage } from "../../../schemas/Usage.ts"
import { type EmbeddingInput, inputsOf } from "../../../schemas/wire/OpenAiEmbeddings.ts"
import type { ProviderCall } from "../ProviderAdapter.ts"
import { type Decoded, fault } from "./AnswerDecoding.ts"
import { credible, figure } from "./Figures.ts"
import type { MediaRequest } from "./HttpProtocol.ts"

const inputs = (call: ProviderCall): ReadonlyArray<EmbeddingInput> => inputsOf(call.request.body["input"]) ?? []

const isPredict = (path: string): boolean => path.endsWith(":predict")

/** The field that Google cannot do, by the caller's name for it. @category encoding @since 0.1.0 */
export const unsupported = (call: ProviderCall): string | null => {
  if (call.request.operation !== "embeddings") return null
  const all = inputs(call)
  // Tokens are those of one model, and Google takes none; Vertex takes one text at a time for these models.
  const single = isPredict(call.provider.definition.paths.embeddings ?? "") && call.nativeId.startsWith("gemini-embedding")
  return all.some((input) => typeof input !== "string") || (single && all.length > 1) ? "input" : null
}

/** A request for embeddings or images; null where the provider has no way in for it. @category encoding @since 0.1.0 */
export const encodeRequest = (call: ProviderCall): MediaRequest | null => {
  const { embeddings, images } = call.provider.definition.paths
  const { operation } = call.request
  if (operation === "embeddings" && embeddings !== undefined) {
    return toRequest(embeddings, isPredict(embeddings) ? encodeVertexEmbeddings(call) : encodeEmbeddings(call))
  }
  return operation === "images" && images !== undefined ? toRequest(images, encodeImages(call)) : null
}

const toRequest = (path: string, body: Json.JsonObject): MediaRequest => ({
  path,
  contentType: "application/json",
  body: JSON.stringify(body)
})

const dimensionsOf = (call: ProviderCall): Json.JsonObject => {
  const dimensions = call.request.body["dimensions"]
  return typeof dimensions === "number" ? { outputDimensionality: dimensions } : {}
}

const encodeEmbeddings = (call: ProviderCall): Json.JsonObject => ({
  requests: inputs(call).map((text) => ({ model: `models/${call.nativeId}`, content: { parts: [{ text }] }, ...dimensionsOf(call) }))
})

const encodeVertexEmbeddings = (call: ProviderCall): Json.JsonObject => ({
  instances: inputs(call).map((content) => ({ content })),
  parameters: dimensionsOf(call)
})

const ratios: ReadonlyArray<readonly [name: string, ratio: number]> = [
  ["1:1", 1],
  ["3:4", 3 / 4],
  ["4:3", 4 / 3],
  ["9:16", 9 / 16],
  ["16:9", 16 / 9]
]

/** The ratio that comes closest to a size. */
const ratioOf = (size: string | null): string => {
  const [, width, height] = /^(\d+)x(\d+)$/.exec(size ?? "") ?? []
  if (width === undefined || height === undefined) return "1:1"
  const distance = (ratio: number) => Math.abs(Math.log(Number(width) / Number(height) / ratio))
  return ratios.reduce((best, next) => (distance(next[1]) < distance(best[1]) ? next : best))[0]
}

const encodeImages = (call: ProviderCall): Json.JsonObject => {
  const { body, choices } = call.request
  return {
    instances: [{ prompt: Json.string(body["prompt"]) ?? "" }],
    parameters: { sampleCount: choices, aspectRatio: ratioOf(Json.string(body["size"])) }
  }
}

/** A whole answer: one Data event in OpenAI's shape, and what was counted. @category decoding @since 0.1.0 */
export const decodeAnswer = (call: ProviderCall, text: string): Decoded => {
  const body = Json.parse(text)
  if (!Json.isObject(body)) return { events: [], fault: fault("malformed", "the answer is not a JSON object") }
  const predictions = body["predictions"]
  const rows = Json.isArray(predictions) ? predictions : Json.isArray(body["embeddings"]) ? body["embeddings"] : []
  return call.request.operation === "images" ? decodeImages(call, rows) : decodeEmbeddings(call, rows, body["usageMetadata"])
}

const whole = (value: Json.JsonObject, usage: Usage | null): Decoded => {
  const events: Array<InferenceEvent> = [{ _tag: "Data", value }]
  if (usage !== null) events.push({ _tag: "Usage", usage })
  return { events, fault: null }
}

const decodeEmbeddings = (call: ProviderCall, rows: ReadonlyArray<Json.Json>, counted: Json.Json | undefined): Decoded => {
  const wanted = inputs(call).length
  const data: Array<Json.Json> = []
  let tokens = Json.isObject(counted) ? figure(counted["promptTokenCount"]) : 0
  for (const [index, row] of rows.entries()) {
    if (!Json.isObject(row)) continue
    const embedding = Json.isObject(row["embeddings"]) ? row["embeddings"] : row
    const { statistics, values } = embedding
    if (!Json.isArray(values) || values.length === 0) continue
    if (Json.isObject(statistics)) tokens += figure(statistics["token_count"])
    data.push({ object: "embedding", index, embedding: values })
  }
  if (data.length === 0) return { events: [], fault: fault("empty", "the answer has no vectors") }
  if (data.length < wanted) return { events: [], fault: fault("cut", `${data.length} vectors for ${wanted} inputs`) }
  return whole({ object: "list", data }, tokens > 0 ? credible({ ...none, input: tokens, source: "provider" }) : null)
}

const decodeImages = (call: ProviderCall, rows: ReadonlyArray<Json.Json>): Decoded => {
  const { body, choices, image } = call.request
  const data = rows.flatMap((row): ReadonlyArray<Json.JsonObject> => {
    const bytes = Json.isObject(row) ? Json.string(row["bytesBase64Encoded"]) : null
    if (!Json.isObject(row) || bytes === null) return []
    // There is no address of the image: one that was asked for holds the image itself.
    return [
      body["response_format"] === "url"
        ? { url: `data:${Json.string(row["mimeType"]) ?? "image/png"};base64,${bytes}` }
        : { b64_json: bytes }
    ]
  })
  if (data.length === 0) return { events: [], fault: fault("empty", "the answer has no images") }
  const images = Math.min(data.length, choices) * (image?.sizeFactor ?? 1)
  return whole({ data }, { ...none, images, source: "provider" })
}
