/**
 * What the bodies of every protocol have in common: the model and its fallbacks, the provider, counts.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import type { InferenceRequest, ProviderPreference } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import * as ApiError from "./ApiError.ts"

/** A part of a body, or what is wrong with it. @category models @since 0.1.0 */
export type Read<A> = Result.Result<A, ApiError.ApiError>

/** A mistake of the caller. @category constructors @since 0.1.0 */
export const refuse = (message: string, param: string, code = "INVALID_PARAMETER_TYPE") =>
  Result.fail(ApiError.invalid(message, param, code))

const outOfRange = (param: string, takes: string) => refuse(`\`${param}\` must be ${takes}.`, param, "PARAMETER_OUT_OF_RANGE")

/** What was left out. */
const absent = Result.succeed(null)

/** A whole number from 1 on; null when it was left out. @category decoding @since 0.1.0 */
export const readCount = (body: Json.JsonObject, param: string, most: number): Read<number | null> => {
  const value = body[param]
  if (value === undefined || value === null) return absent
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= most
    ? Result.succeed(value)
    : outOfRange(param, `a whole number from 1 to ${most}`)
}

const isStrings = (value: Json.Json): value is ReadonlyArray<string> =>
  Json.isArray(value) && value.every((item) => typeof item === "string")

const readSlugs = (value: Json.Json | undefined, param: string): Read<ReadonlyArray<string>> => {
  if (value === undefined || value === null) return Result.succeed([])
  return isStrings(value) && value.length <= 50 ? Result.succeed(value) : refuse(`\`${param}\` must be an array of provider slugs.`, param)
}

const sorts = ["price", "latency", "throughput"] as const

/** The `provider` field. @category decoding @since 0.1.0 */
export const readPreference = (value: Json.Json | undefined): Read<ProviderPreference | null> => {
  if (value === undefined || value === null) return absent
  if (typeof value === "string") return Result.succeed({ order: [value], only: [], allowFallbacks: true, named: value })
  if (!Json.isObject(value))
    return refuse("`provider` must be a slug, or an object with `order`, `only`, `allow_fallbacks` and `sort`.", "provider")
  const allow = value["allow_fallbacks"] ?? true
  if (typeof allow !== "boolean") return refuse("`provider.allow_fallbacks` must be true or false.", "provider.allow_fallbacks")
  const wanted = value["sort"] ?? null
  const sort = sorts.find((known) => known === wanted)
  if (wanted !== null && sort === undefined) {
    return refuse(`\`provider.sort\` must be one of ${sorts.join(", ")}.`, "provider.sort", "PARAMETER_OUT_OF_RANGE")
  }
  return Result.gen(function* () {
    const order = yield* readSlugs(value["order"], "provider.order")
    const only = yield* readSlugs(value["only"], "provider.only")
    return { order, only, allowFallbacks: allow, ...(sort === undefined ? {} : { sort }) }
  })
}

const MAX_FALLBACK_MODELS = 10
const NONE: ReadonlyArray<string> = []

/** The model asked for, and its fallbacks. @category decoding @since 0.1.0 */
export const readModels = (body: Json.JsonObject): Read<{ readonly model: string; readonly fallbackModels: ReadonlyArray<string> }> => {
  const models = body["models"] ?? NONE
  if (!isStrings(models) || models.length > MAX_FALLBACK_MODELS || models.includes("")) {
    return refuse(`\`models\` must be an array of at most ${MAX_FALLBACK_MODELS} model names.`, "models")
  }
  const model = body["model"] ?? models[0]
  if (model === undefined || model === "") return refuse("`model` is missing.", "model", "MISSING_REQUIRED_FIELD")
  if (typeof model !== "string") return refuse("`model` must be a string.", "model")
  if (model.length > 256) return refuse("`model` is too long.", "model", "INVALID_MODEL_FORMAT")
  return Result.succeed({ model, fallbackModels: models.length === 0 ? NONE : models.filter((name) => name !== model) })
}

/** A value that is worked out when it is first asked for. @category constructors @since 0.1.0 */
export const once = <A>(make: () => A): (() => A) => {
  let value: { readonly made: A } | null = null
  return () => {
    value ??= { made: make() }
    return value.made
  }
}

/** What each chat protocol reads in its own way, or says in its own words when it cannot. @category models @since 0.1.0 */
export interface ChatParts
  extends Pick<InferenceRequest, "protocol" | "model" | "fallbackModels" | "preference" | "maxTokens" | "conversation"> {
  readonly prompt: { readonly characters: number; readonly images: number }
  readonly choices: number
  /** Protocols that always tell of it have no word for it. */
  readonly includeUsage: boolean
}

/** A chat request out of its parts, and of what every protocol's body has under the same name. @category constructors @since 0.1.0 */
export const chatRequest = (body: Json.JsonObject, parts: ChatParts): InferenceRequest => ({
  protocol: parts.protocol,
  operation: "chat",
  body,
  conversation: once(parts.conversation),
  dropUnsupported: body["drop_params"] === true,
  model: parts.model,
  fallbackModels: parts.fallbackModels,
  preference: parts.preference,
  stream: body["stream"] === true,
  includeUsage: parts.includeUsage,
  maxTokens: parts.maxTokens,
  choices: parts.choices,
  promptCharacters: parts.prompt.characters,
  promptImages: parts.prompt.images
})
