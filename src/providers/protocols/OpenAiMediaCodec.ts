/**
 * Embeddings, images and transcriptions as providers of the OpenAI protocol speak them: synchronous steps from a request to
 * bytes and from bytes to events.
 *
 * @since 0.1.0
 */
import type { AudioUpload, InferenceEvent, InferenceRequest } from "../../../schemas/Inference.ts"
import * as Json from "../../../schemas/Json.ts"
import { none, type Usage } from "../../../schemas/Usage.ts"
import { inputsOf } from "../../../schemas/wire/OpenAiEmbeddings.ts"
import type { ProviderCall } from "../ProviderAdapter.ts"
import { type Decoded, fault } from "./AnswerDecoding.ts"
import { credible, figure } from "./Figures.ts"
import type { MediaRequest } from "./HttpProtocol.ts"
import { errorText } from "./OpenAiChatCodec.ts"

/** Fields that speak to the gateway, not to a provider. */
const gatewayFields = ["models", "provider", "drop_params"]

/**
 * A request of another operation than chat; null where the provider has no way in for it.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeRequest = (call: ProviderCall): MediaRequest | null => {
  const { embeddings, images, transcriptions } = call.provider.definition.paths
  const { audio, operation } = call.request
  if (operation === "embeddings" && embeddings !== undefined) return { path: embeddings, ...json(call) }
  if (operation === "images" && images !== undefined) return { path: images, ...json(call, imageFields(call)) }
  if (operation === "transcription" && transcriptions !== undefined && audio !== undefined) {
    return { path: transcriptions, contentType: `multipart/form-data; boundary=${audio.boundary}`, body: encodeForm(call, audio) }
  }
  return null
}

/** The caller's own body with only what must change changed. */
const json = (call: ProviderCall, changes: Json.JsonObject = {}) => {
  const out: Record<string, Json.Json> = { ...call.request.body, model: call.nativeId, ...changes }
  for (const field of gatewayFields) delete out[field]
  return { contentType: "application/json", body: JSON.stringify(out) }
}

/** Together has its own names for the size and for images that come along. */
const imageFields = (call: ProviderCall): Json.JsonObject => {
  if (call.provider.definition.slug !== "together") return {}
  const { body } = call.request
  const [, width, height] = /^(\d+)x(\d+)$/.exec(Json.string(body["size"]) ?? "") ?? []
  return {
    ...(width === undefined || height === undefined ? {} : { width: Number(width), height: Number(height) }),
    ...(body["response_format"] === "b64_json" ? { response_format: "base64" } : {})
  }
}

/** Whisper tells how long a recording is only in its verbose form; the others know no such form, and `text` would hide what they counted. */
const askedFormat = (call: ProviderCall, audio: AudioUpload): string => {
  if (/whisper/i.test(call.nativeId)) return "verbose_json"
  return audio.format === "text" ? "json" : audio.format
}

const quoted = (name: string): string => name.replace(/[\r\n"]/g, (char) => encodeURIComponent(char))

const encoder = new TextEncoder()

const encodeForm = (call: ProviderCall, audio: AudioUpload): Uint8Array => {
  const fields: ReadonlyArray<readonly [string, string]> = [
    ["model", call.nativeId],
    ["response_format", askedFormat(call, audio)],
    // The prompt as guardrails left it.
    ...audio.fields.map(([name, value]) => [name, (name === "prompt" ? Json.string(call.request.body["prompt"]) : null) ?? value] as const)
  ]
  const before = fields.map(
    ([name, value]) => `--${audio.boundary}\r\ncontent-disposition: form-data; name="${quoted(name)}"\r\n\r\n${value}\r\n`
  )
  const type = audio.contentType.replace(/[\r\n]/g, "")
  const file = `--${audio.boundary}\r\ncontent-disposition: form-data; name="file"; filename="${quoted(audio.fileName)}"\r\ncontent-type: ${type}\r\n\r\n`
  const head = encoder.encode(before.join("") + file)
  const tail = encoder.encode(`\r\n--${audio.boundary}--\r\n`)
  const out = new Uint8Array(head.length + audio.file.length + tail.length)
  out.set(head, 0)
  out.set(audio.file, head.length)
  out.set(tail, head.length + audio.file.length)
  return out
}

/** A whole answer: one Data event, and what the provider counted. @category decoding @since 0.1.0 */
export const decodeAnswer = (call: ProviderCall, text: string): Decoded => {
  const { audio, operation } = call.request
  // Subtitles of a model that was asked for just these: no JSON, and nobody says how long they are.
  if (audio !== undefined && /^(srt|vtt)$/.test(askedFormat(call, audio))) return whole({ text }, null)
  const body = Json.parse(text)
  if (!Json.isObject(body)) return { events: [], fault: fault("malformed", "the answer is not a JSON object") }
  const error = body["error"]
  if (error !== undefined && error !== null) return { events: [], fault: fault("reported", errorText(error)) }
  if (operation === "transcription") return decodeTranscript(body)
  return operation === "images" ? decodeImages(call.request, body) : decodeEmbeddings(call.request, body)
}

const whole = (body: Json.JsonObject, usage: Usage | null): Decoded => {
  const { usage: _, ...value } = body
  const events: Array<InferenceEvent> = [{ _tag: "Data", value }]
  if (usage !== null) events.push({ _tag: "Usage", usage })
  return { events, fault: null }
}

const decodeEmbeddings = (request: InferenceRequest, body: Json.JsonObject): Decoded => {
  const { data, usage } = body
  const wanted = inputsOf(request.body["input"])?.length ?? 1
  if (!Json.isArray(data) || data.length === 0) return { events: [], fault: fault("empty", "the answer has no vectors") }
  const isVector = (row: Json.Json): boolean =>
    Json.isObject(row) && (Json.isArray(row["embedding"]) || typeof row["embedding"] === "string") && row["embedding"].length > 0
  if (!data.every(isVector)) return { events: [], fault: fault("malformed", "a row of the answer has no vector") }
  if (data.length < wanted) return { events: [], fault: fault("cut", `${data.length} vectors for ${wanted} inputs`) }
  const counted = Json.isObject(usage) ? (usage["prompt_tokens"] ?? usage["total_tokens"]) : undefined
  return whole(body, (counted ?? null) === null ? null : credible({ ...none, input: figure(counted), source: "provider" }))
}

const decodeImages = (request: InferenceRequest, body: Json.JsonObject): Decoded => {
  const { data, usage } = body
  const isImage = (row: Json.Json): boolean => Json.isObject(row) && Boolean(Json.string(row["url"]) || Json.string(row["b64_json"]))
  const made = Json.isArray(data) ? data.filter(isImage).length : 0
  if (made === 0) return { events: [], fault: fault("empty", "the answer has no images") }
  const counted = Json.isObject(usage) ? usage : {}
  const images = Math.min(made, request.choices) * (request.image?.sizeFactor ?? 1)
  const tokens = { input: figure(counted["input_tokens"]), output: figure(counted["output_tokens"]) }
  // The images are there to be counted, whatever is said of them.
  return whole(body, credible({ ...none, ...tokens, images, source: "provider" }) ?? { ...none, images })
}

/** Audio tokens that a second takes in the models that count these instead of telling the time. */
const TOKENS_PER_SECOND = 10

const secondsOf = (body: Json.JsonObject): number | null => {
  const usage = Json.isObject(body["usage"]) ? body["usage"] : {}
  const told = [body["duration"], usage["seconds"], usage["prompt_audio_seconds"]]
    .map(Number)
    .find((seconds) => Number.isFinite(seconds) && seconds > 0)
  if (told !== undefined) return told
  const details = usage["input_token_details"]
  const tokens = Json.isObject(details) ? Json.count(details["audio_tokens"]) : 0
  return tokens > 0 ? tokens / TOKENS_PER_SECOND : null
}

const decodeTranscript = (body: Json.JsonObject): Decoded => {
  if (typeof body["text"] !== "string") return { events: [], fault: fault("malformed", "the answer has no text") }
  const seconds = secondsOf(body)
  return whole(body, seconds === null ? null : credible({ ...none, audioSeconds: seconds, source: "provider" }))
}
