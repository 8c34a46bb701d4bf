/**
 * Types and ranges of the plain fields of `POST /v1/chat/completions`, so that a mistake is told here and costs no provider
 * call. Only what was sent is looked at, and what nobody knows goes on as it is.
 *
 * @since 0.1.0
 */
import * as Json from "../../schemas/Json.ts"
import { type Flaw, mayBeBoolean, mayBeObject, mayBeString, noneOf, notA, refusal, within } from "./Flaw.ts"
import { effortWords } from "./OpenAiChatConversation.ts"
import { functionChoiceFlaw, functionsFlaw, toolChoiceFlaw, toolsFlaw } from "./OpenAiChatTools.ts"
import type { Read } from "./RequestFields.ts"

/** What is wrong with a field that is there and not null. */
type Check = (value: Json.Json) => Flaw | null

const outside = (takes: string): Flaw => ({ at: "", says: `must be ${takes}.`, code: "PARAMETER_OUT_OF_RANGE" })

const from = (least: number, most: number): Check => {
  const flaw = outside(`a number from ${least} to ${most}`)
  return (value) => (typeof value === "number" && value >= least && value <= most ? null : flaw)
}

const isString: Check = (value) => (typeof value === "string" ? null : notA("a string", value))
const isBoolean: Check = (value) => (typeof value === "boolean" ? null : notA("true or false", value))
const isNumber: Check = (value) => (typeof value === "number" ? null : notA("a number", value))
const isObject: Check = (value) => (Json.isObject(value) ? null : notA("an object", value))

const isStrings = (value: Json.Json): boolean => Json.isArray(value) && value.every((item) => typeof item === "string")

const effortFlaw: Check = (value) => {
  if (typeof value !== "string") return notA("a string", value)
  return effortWords.includes(value) ? null : noneOf(effortWords)
}

const formats = ["text", "json_object", "json_schema"]

const formatFlaw: Check = (format) => {
  if (!Json.isObject(format)) return notA("an object", format)
  const { json_schema: wanted, type } = format
  if (typeof type !== "string") return notA("a string", type, "type")
  if (!formats.includes(type)) return noneOf(formats, "type")
  if (type !== "json_schema") return null
  if (!Json.isObject(wanted)) return notA("an object", wanted, "json_schema")
  return within("json_schema", mayBeString(wanted, "name") ?? mayBeObject(wanted, "schema") ?? mayBeBoolean(wanted, "strict"))
}

const biasFlaw: Check = (bias) => {
  if (!Json.isObject(bias)) return notA("an object", bias)
  const fits = (value: Json.Json) => typeof value === "number" && value >= -100 && value <= 100
  return Object.values(bias).every(fits) ? null : outside("an object of numbers from -100 to 100")
}

const streamOptionsFlaw: Check = (options) => {
  if (!Json.isObject(options)) return notA("an object", options)
  return mayBeBoolean(options, "include_usage") ?? mayBeBoolean(options, "include_obfuscation")
}

/** OpenRouter's; of other forms there is nothing to say. */
const reasoningFlaw: Check = (reasoning) => {
  const effort = Json.isObject(reasoning) ? (reasoning["effort"] ?? null) : null
  return effort === null ? null : within("effort", effortFlaw(effort))
}

const checks: ReadonlyMap<string, Check> = new Map<string, Check>([
  ["temperature", from(0, 2)],
  ["top_p", from(0, 1)],
  ["presence_penalty", from(-2, 2)],
  ["frequency_penalty", from(-2, 2)],
  ["top_k", isNumber],
  ["seed", (value) => (Number.isInteger(value) ? null : notA("a whole number", value))],
  [
    "top_logprobs",
    (value) => (typeof value === "number" && Number.isInteger(value) ? from(0, 20)(value) : notA("a whole number from 0 to 20", value))
  ],
  ["logit_bias", biasFlaw],
  ["stop", (value) => (typeof value === "string" || isStrings(value) ? null : notA("a string or an array of strings", value))],
  ["stream", isBoolean],
  ["stream_options", streamOptionsFlaw],
  ["logprobs", isBoolean],
  ["parallel_tool_calls", isBoolean],
  ["store", isBoolean],
  ["tools", toolsFlaw],
  ["tool_choice", toolChoiceFlaw],
  ["functions", functionsFlaw],
  ["function_call", functionChoiceFlaw],
  ["response_format", formatFlaw],
  ["reasoning_effort", effortFlaw],
  ["reasoning", reasoningFlaw],
  ["modalities", (value) => (isStrings(value) ? null : notA("an array of strings", value))],
  ["user", isString],
  ["safety_identifier", isString],
  ["prompt_cache_key", isString],
  ["prompt_cache_retention", isString],
  ["service_tier", isString],
  ["verbosity", isString],
  ["metadata", isObject],
  ["audio", isObject],
  ["prediction", isObject],
  ["web_search_options", isObject],
  ["prompt_cache_options", isObject],
  ["moderation", isObject]
])

/** Null when there is none. @category decoding @since 0.1.0 */
export const fieldFault = (body: Json.JsonObject): Read<never> | null => {
  for (const param of Object.keys(body)) {
    const value = body[param]
    if (value === undefined || value === null) continue
    const flaw = checks.get(param)?.(value) ?? null
    if (flaw !== null) return refusal(param, flaw)
  }
  return null
}
