/**
 * Reads what is asked for on OpenAI's routes other than chat: embeddings, images, transcriptions.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import type { ImageOrder, InferenceRequest, TranscriptFormat } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { type EmbeddingInput, inputsOf } from "../../schemas/wire/OpenAiEmbeddings.ts"
import * as ApiError from "./ApiError.ts"
import type { AudioForm } from "./AudioForm.ts"
import { type Read, readCount, readModels, readPreference } from "./RequestFields.ts"

const refuse = (message: string, param: string, code = "INVALID_PARAMETER_TYPE") => Result.fail(ApiError.invalid(message, param, code))

const readOneOf = <const A extends string>(value: Json.Json | undefined, param: string, options: ReadonlyArray<A>): Read<A | null> => {
  if (value === undefined || value === null) return Result.succeed(null)
  const found = options.find((option) => option === value)
  return found === undefined
    ? refuse(`\`${param}\` must be one of ${options.join(", ")}.`, param, "PARAMETER_OUT_OF_RANGE")
    : Result.succeed(found)
}

/** What the operations share. */
const readCommon = (body: Json.JsonObject) =>
  Result.gen(function* () {
    return {
      ...(yield* readModels(body)),
      body,
      conversation: () => {
        throw new Error("only a chat has a conversation")
      },
      dropUnsupported: false,
      preference: yield* readPreference(body["provider"]),
      stream: false,
      includeUsage: false,
      maxTokens: null,
      choices: 1,
      promptCharacters: 0,
      promptImages: 0
    }
  })

/** Texts of one request, and numbers of a vector. */
const MAX_INPUTS = 2_048
const MAX_DIMENSIONS = 65_536

/** A token counts as itself, whatever a text of its length would be taken for. */
const CHARACTERS_PER_TOKEN = 4

const charactersOf = (input: EmbeddingInput): number => (typeof input === "string" ? input.length : input.length * CHARACTERS_PER_TOKEN)

/** The body of `POST /v1/embeddings`. @category decoding @since 0.1.0 */
export const decodeEmbeddings = (body: Json.JsonObject): Read<InferenceRequest> =>
  Result.gen(function* () {
    const common = yield* readCommon(body)
    if (body["input"] === undefined) return yield* refuse("`input` is missing.", "input", "MISSING_REQUIRED_FIELD")
    const inputs = inputsOf(body["input"])
    if (inputs === null) {
      return yield* refuse("`input` must be a text, an array of texts, an array of tokens or an array of these; none of it empty.", "input")
    }
    if (inputs.length > MAX_INPUTS)
      return yield* refuse(`\`input\` holds more than ${MAX_INPUTS} texts.`, "input", "PARAMETER_OUT_OF_RANGE")
    yield* readCount(body, "dimensions", MAX_DIMENSIONS)
    yield* readOneOf(body["encoding_format"], "encoding_format", ["float", "base64"])
    const promptCharacters = inputs.reduce((sum, input) => sum + charactersOf(input), 0)
    return { ...common, protocol: "openai-embeddings" as const, operation: "embeddings" as const, promptCharacters }
  })

const sizeFactors: Readonly<Record<string, number>> = {
  "256x256": 0.5,
  "512x512": 0.75,
  "1024x1024": 1,
  "1024x1792": 1.5,
  "1792x1024": 1.5,
  "2048x2048": 2
}

/** Output tokens of one image by quality and size, as OpenAI counts them. */
const imageTokens: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  low: { "1024x1024": 272, "1024x1536": 408, "1536x1024": 400 },
  medium: { "1024x1024": 1_056, "1024x1536": 1_584, "1536x1024": 1_568 },
  high: { "1024x1024": 4_160, "1024x1536": 6_240, "1536x1024": 6_208 }
}

const imageOrder = (size: string, quality: string): ImageOrder => {
  const ofQuality = imageTokens[quality] ?? imageTokens["high"] ?? {}
  return { sizeFactor: sizeFactors[size] ?? 1, maxTokens: ofQuality[size] ?? Math.max(...Object.values(ofQuality)) }
}

const MAX_IMAGES = 10
const MAX_PROMPT = 32_000

/** The body of `POST /v1/images/generations`. @category decoding @since 0.1.0 */
export const decodeImages = (body: Json.JsonObject): Read<InferenceRequest> =>
  Result.gen(function* () {
    const common = yield* readCommon(body)
    const { prompt } = body
    if (prompt === undefined || prompt === "") return yield* refuse("`prompt` is missing.", "prompt", "MISSING_REQUIRED_FIELD")
    if (typeof prompt !== "string") return yield* refuse("`prompt` must be a string.", "prompt")
    if (prompt.length > MAX_PROMPT) {
      return yield* refuse(`\`prompt\` is longer than ${MAX_PROMPT} characters.`, "prompt", "PARAMETER_OUT_OF_RANGE")
    }
    if (body["stream"] === true) return yield* refuse("Images are not streamed.", "stream", "UNSUPPORTED_PARAMETER")
    const size = body["size"] ?? "auto"
    if (typeof size !== "string" || !/^(auto|\d{1,5}x\d{1,5})$/.test(size)) {
      return yield* refuse("`size` must be `auto`, or a width and a height such as `1024x1024`.", "size", "PARAMETER_OUT_OF_RANGE")
    }
    const quality = body["quality"] ?? "auto"
    if (typeof quality !== "string") return yield* refuse("`quality` must be a string.", "quality")
    yield* readOneOf(body["response_format"], "response_format", ["url", "b64_json"])
    return {
      ...common,
      protocol: "openai-images" as const,
      operation: "images" as const,
      choices: (yield* readCount(body, "n", MAX_IMAGES)) ?? 1,
      promptCharacters: prompt.length,
      image: imageOrder(size, quality)
    }
  })

/** Endings of names, and what a minute of each takes in bytes. */
const MEGABYTE = 1_024 * 1_024
const bytesPerMinute: Readonly<Record<string, number>> = {
  flac: 5 * MEGABYTE,
  m4a: MEGABYTE,
  mp3: MEGABYTE,
  mp4: MEGABYTE,
  mpeg: MEGABYTE,
  mpga: MEGABYTE,
  ogg: MEGABYTE,
  wav: 10 * MEGABYTE,
  webm: MEGABYTE
}

/** What a recording lasts at least, where nobody has heard it. */
const LEAST_SECONDS = 6

const subtypes: Readonly<Record<string, string>> = {
  flac: "flac",
  "x-flac": "flac",
  mp4: "mp4",
  m4a: "m4a",
  "x-m4a": "m4a",
  mp3: "mp3",
  mpeg: "mp3",
  ogg: "ogg",
  wav: "wav",
  wave: "wav",
  "x-wav": "wav",
  "vnd.wave": "wav",
  webm: "webm"
}

/** The type of a recording by its name; by the type it was sent with where the name has no ending, which it gets. */
const typeOf = (form: AudioForm): { readonly type: string; readonly fileName: string } | null => {
  const { fileName } = form
  const ending = /\.([^./\\]+)$/.exec(fileName)?.[1]?.toLowerCase()
  if (ending !== undefined) return bytesPerMinute[ending] === undefined ? null : { type: ending, fileName }
  const subtype = /^(?:audio|video|application)\/([\w.+-]+)/i.exec(form.contentType)?.[1]?.toLowerCase()
  const type = subtypes[subtype ?? ""]
  return type === undefined ? null : { type, fileName: `${fileName}.${type}` }
}

/** Fields of the form that the gateway reads itself and a provider does not get as they are. */
const ownFields = ["model", "models", "models[]", "provider", "response_format", "stream", "drop_params"]

const formats: ReadonlyArray<TranscriptFormat> = ["json", "text", "srt", "verbose_json", "vtt"]

/** A form as an object: a name that ends in `[]` or comes twice is an array. */
const toBody = (form: AudioForm): Json.JsonObject => {
  const body: Record<string, Json.Json> = {}
  for (const [name, value] of form.fields) {
    const before = body[name]
    if (Json.isArray(before)) body[name] = [...before, value]
    else body[name] = before !== undefined ? [before, value] : name.endsWith("[]") ? [value] : value
  }
  const { models, provider } = body
  return {
    ...body,
    models: body["models[]"] ?? (typeof models === "string" ? (Json.parse(models) ?? models) : (models ?? null)),
    provider: typeof provider === "string" && provider.startsWith("{") ? (Json.parse(provider) ?? provider) : (provider ?? null)
  }
}

/** The form of `POST /v1/audio/transcriptions`; `boundary` parts the form that goes on to a provider. @category decoding @since 0.1.0 */
export const decodeTranscription = (form: AudioForm, boundary: string): Read<InferenceRequest> =>
  Result.gen(function* () {
    const body = toBody(form)
    const common = yield* readCommon(body)
    const found = typeOf(form)
    if (found === null) {
      return yield* refuse(`\`file\` must be one of ${Object.keys(bytesPerMinute).join(", ")}.`, "file", "UNSUPPORTED_FILE_TYPE")
    }
    const format = yield* readOneOf(body["response_format"], "response_format", formats)
    const temperature = body["temperature"]
    if (temperature !== undefined && !(Number(temperature) >= 0 && Number(temperature) <= 1)) {
      return yield* refuse("`temperature` must be a number from 0 to 1.", "temperature", "PARAMETER_OUT_OF_RANGE")
    }
    return {
      ...common,
      protocol: "openai-audio" as const,
      operation: "transcription" as const,
      audio: {
        file: form.file,
        fileName: found.fileName,
        contentType: form.contentType,
        fields: form.fields.filter(([name]) => !ownFields.includes(name)),
        format: format ?? "json",
        seconds: Math.max(LEAST_SECONDS, (form.file.length / (bytesPerMinute[found.type] ?? MEGABYTE)) * 60),
        boundary
      }
    }
  })
