/**
 * Reads the body of `POST /v1/responses` for its meaning. What would need a response kept by the server is refused.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { needsString, noneOf, notA, notAnObject, refusal } from "./Flaw.ts"
import { toConversation } from "./OpenAiResponsesConversation.ts"
import { chatRequest, type Read, readCount, readModels, readPreference, refuse } from "./RequestFields.ts"

const roles = ["user", "assistant", "system", "developer"]

interface Measure {
  characters: number
  images: number
}

const written = (value: Json.Json | undefined): number => (value === undefined || value === null ? 0 : JSON.stringify(value).length)

/** A document's bytes make about one character of prompt for so many of base64. */
const BASE64_PER_CHARACTER = 20

const measureContent = (content: Json.Json | undefined, into: Measure): void => {
  if (typeof content === "string") into.characters += content.length
  if (!Json.isArray(content)) return
  for (const part of content) {
    if (!Json.isObject(part)) continue
    if (part["type"] === "input_image") into.images++
    else if (part["type"] === "input_file")
      into.characters += Math.ceil((Json.string(part["file_data"])?.length ?? 0) / BASE64_PER_CHARACTER)
    else into.characters += (Json.string(part["text"]) ?? Json.string(part["refusal"]) ?? "").length
  }
}

/** Fields that an item of a type needs. */
const needs: Readonly<Record<string, ReadonlyArray<string>>> = {
  function_call: ["call_id", "name", "arguments"],
  function_call_output: ["call_id", "output"]
}

/** The types of items. What those that only OpenAI understands need, it knows best itself. */
const itemTypes: ReadonlySet<string> = new Set([
  "message",
  "reasoning",
  ...Object.keys(needs),
  "custom_tool_call",
  "custom_tool_call_output",
  "file_search_call",
  "web_search_call",
  "computer_call",
  "computer_call_output",
  "image_generation_call",
  "code_interpreter_call",
  "local_shell_call",
  "local_shell_call_output",
  "shell_call",
  "shell_call_output",
  "apply_patch_call",
  "apply_patch_call_output",
  "tool_search_call",
  "tool_search_output",
  "additional_tools",
  "configuration_update",
  "mcp_list_tools",
  "mcp_approval_request",
  "mcp_approval_response",
  "mcp_call",
  "compaction",
  "compaction_trigger",
  "program",
  "program_output"
])

/** The types of parts that a message may have, and the field that makes each; of pictures and files several may. */
const parts: ReadonlyMap<string, string | null> = new Map([
  ["input_text", "text"],
  ["output_text", "text"],
  ["text", "text"],
  ["refusal", "refusal"],
  ["input_image", null],
  ["input_file", null],
  ["input_audio", null]
])

const contentFault = (content: ReadonlyArray<Json.Json>, at: string): Read<never> | null => {
  for (const [index, part] of content.entries()) {
    if (!Json.isObject(part)) return refusal(`${at}.${index}`, notAnObject)
    const { type } = part
    if (typeof type !== "string") return refusal(`${at}.${index}`, notA("a string", type, "type"))
    const field = parts.get(type)
    if (field === undefined) return refusal(`${at}.${index}`, noneOf(parts.keys(), "type"))
    const flaw = field === null ? null : needsString(part, field)
    if (flaw !== null) return refusal(`${at}.${index}`, flaw)
  }
  return null
}

const messageFault = (item: Json.JsonObject, at: string): Read<never> | null => {
  const { content, role } = item
  if (typeof role !== "string" || !roles.includes(role)) {
    return refuse(`\`${at}.role\` must be one of ${roles.join(", ")}.`, `${at}.role`, "INVALID_ROLE")
  }
  if (typeof content === "string") return null
  if (!Json.isArray(content)) return refuse(`\`${at}.content\` must be a string or an array of parts.`, `${at}.content`)
  return contentFault(content, `${at}.content`)
}

const readItem = (item: Json.Json, at: string, into: Measure): Read<void> => {
  if (!Json.isObject(item)) return refuse(`\`${at}\` must be an object.`, at)
  const type = item["type"] ?? (item["role"] === undefined ? null : "message")
  if (typeof type !== "string") return refuse(`\`${at}.type\` is missing.`, `${at}.type`, "MISSING_REQUIRED_FIELD")
  if (type === "item_reference") {
    return refuse(
      `\`${at}\` refers to an item that would have to be kept here, and responses are not. Send the items themselves (\`store: false\`).`,
      at,
      "UNSUPPORTED_PARAMETER"
    )
  }
  if (!itemTypes.has(type)) return refusal(at, noneOf(itemTypes, "type"))
  const lacking = needs[type]?.find((field) => item[field] === undefined || item[field] === null)
  if (lacking !== undefined) return refuse(`\`${at}.${lacking}\` is missing.`, `${at}.${lacking}`, "MISSING_REQUIRED_FIELD")
  const fault = type === "message" ? messageFault(item, at) : null
  if (fault !== null) return fault
  measureContent(item["content"], into)
  measureContent(item["summary"], into)
  measureContent(item["output"], into)
  into.characters += (Json.string(item["arguments"]) ?? "").length + (Json.string(item["name"]) ?? "").length
  return Result.succeed(undefined)
}

const readInput = (body: Json.JsonObject): Read<Measure> => {
  const input = body["input"]
  const measure: Measure = {
    characters: (Json.string(body["instructions"]) ?? "").length + written(body["tools"]) + written(body["text"]),
    images: 0
  }
  if (input === undefined || input === null) return refuse("`input` is missing.", "input", "MISSING_REQUIRED_FIELD")
  if (typeof input === "string") {
    measure.characters += input.length
    return Result.succeed(measure)
  }
  if (!Json.isArray(input)) return refuse("`input` must be a string or an array of items.", "input")
  if (input.length === 0) return refuse("`input` must hold at least one item.", "input", "EMPTY_MESSAGES_ARRAY")
  for (const [index, item] of input.entries()) {
    const read = readItem(item, `input.${index}`, measure)
    if (Result.isFailure(read)) return Result.fail(read.failure)
  }
  return Result.succeed(measure)
}

/** What needs a response that the server has kept, or goes on without the caller. */
const kept: Readonly<Record<string, string>> = {
  previous_response_id: "Responses are not kept here: send the whole conversation in `input`.",
  conversation: "Conversations are not kept here: send the whole of it in `input`.",
  prompt: "Prompt templates of OpenAI are not known here: send what it says in `instructions` and `input`.",
  background: "A response is not worked on in the background here: leave it out, or send `stream: true`."
}

const checkKept = (body: Json.JsonObject): Read<void> => {
  for (const [param, why] of Object.entries(kept)) {
    const value = body[param]
    if (value !== undefined && value !== null && value !== false) {
      return refuse(`\`${param}\` is not supported. ${why}`, param, "UNSUPPORTED_PARAMETER")
    }
  }
  return Result.succeed(undefined)
}

const types: Readonly<Record<string, ReadonlyArray<string>>> = {
  boolean: ["stream", "store", "parallel_tool_calls"],
  object: ["text", "reasoning", "metadata", "stream_options"],
  array: ["tools", "include"],
  string: ["instructions"]
}

const typeOf = (value: Json.Json): string => (Json.isArray(value) ? "array" : typeof value)

const checkPlain = (body: Json.JsonObject): Read<void> => {
  for (const [type, params] of Object.entries(types)) {
    for (const param of params) {
      const value = body[param]
      if (value !== undefined && value !== null && typeOf(value) !== type) return refuse(`\`${param}\` must be of type ${type}.`, param)
    }
  }
  for (const [param, most] of [
    ["temperature", 2],
    ["top_p", 1],
    ["top_logprobs", 20]
  ] as const) {
    const value = body[param]
    if (value !== undefined && value !== null && !(typeof value === "number" && value >= 0 && value <= most)) {
      return refuse(`\`${param}\` must be a number from 0 to ${most}.`, param, "PARAMETER_OUT_OF_RANGE")
    }
  }
  for (const [index, tool] of (Json.isArray(body["tools"]) ? body["tools"] : []).entries()) {
    const at = `tools.${index}`
    if (!Json.isObject(tool) || typeof tool["type"] !== "string")
      return refuse(`\`${at}.type\` is missing.`, `${at}.type`, "MISSING_REQUIRED_FIELD")
    if (tool["type"] === "function" && typeof tool["name"] !== "string") {
      return refuse(`\`${at}.name\` is missing.`, `${at}.name`, "MISSING_REQUIRED_FIELD")
    }
  }
  return Result.succeed(undefined)
}

/** @category decoding @since 0.1.0 */
export const decodeRequest = (body: Json.JsonObject): Read<InferenceRequest> => {
  const models = readModels(body)
  if (Result.isFailure(models)) return Result.fail(models.failure)
  const unkept = checkKept(body)
  if (Result.isFailure(unkept)) return Result.fail(unkept.failure)
  const prompt = readInput(body)
  if (Result.isFailure(prompt)) return Result.fail(prompt.failure)
  const plain = checkPlain(body)
  if (Result.isFailure(plain)) return Result.fail(plain.failure)
  const preference = readPreference(body["provider"])
  if (Result.isFailure(preference)) return Result.fail(preference.failure)
  const maxTokens = readCount(body, "max_output_tokens", Number.MAX_SAFE_INTEGER)
  if (Result.isFailure(maxTokens)) return Result.fail(maxTokens.failure)
  return Result.succeed(
    chatRequest(body, {
      protocol: "openai-responses",
      ...models.success,
      preference: preference.success,
      maxTokens: maxTokens.success,
      prompt: prompt.success,
      conversation: () => toConversation(body),
      choices: 1,
      includeUsage: true
    })
  )
}
