/**
 * Reads the body of `POST /v1/messages` for its meaning; the body itself goes on as it is. Mistakes are told in the words of
 * the protocol: the path, then what is wrong.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { toConversation } from "./AnthropicConversation.ts"
import * as ApiError from "./ApiError.ts"
import { chatRequest, type Read, readModels, readPreference } from "./RequestFields.ts"

const refuse = (at: string, what: string, code = "INVALID_REQUEST") => Result.fail(ApiError.invalid(`${at}: ${what}`, at, code))

const missing = (at: string) => refuse(at, "Field required", "MISSING_REQUIRED_FIELD")

const roles = ["user", "assistant", "system"]

/** What a model reads: characters, and images. */
interface Measure {
  characters: number
  images: number
}

const written = (value: Json.Json | undefined): number => (value === undefined || value === null ? 0 : JSON.stringify(value).length)

/** A document's bytes make about one character of prompt for so many of base64. */
const BASE64_PER_CHARACTER = 20

/** Fields that every block of a type needs. */
const needs: Readonly<Record<string, ReadonlyArray<string>>> = {
  text: ["text"],
  image: ["source"],
  document: ["source"],
  thinking: ["thinking", "signature"],
  redacted_thinking: ["data"],
  tool_use: ["id", "name", "input"],
  tool_result: ["tool_use_id"]
}

/** The types of blocks. What those that only Anthropic understands need, it knows best itself. */
const blockTypes: ReadonlySet<string> = new Set([
  ...Object.keys(needs),
  "search_result",
  "server_tool_use",
  "web_search_tool_result",
  "web_fetch_tool_result",
  "code_execution_tool_result",
  "bash_code_execution_tool_result",
  "text_editor_code_execution_tool_result",
  "tool_search_tool_result",
  "advisor_tool_result",
  "mcp_tool_use",
  "mcp_tool_result",
  "mcp_tool_listing",
  "tool_addition",
  "tool_removal",
  "container_upload",
  "compaction",
  "fallback"
])

/** What may stand in the result of a tool. */
const resultTypes: ReadonlySet<string> = new Set(["text", "image", "document", "search_result", "tool_reference", "browser_state"])

const measureBlock = (block: Json.JsonObject, into: Measure): void => {
  if (block["type"] === "image") into.images++
  else if (block["type"] === "document") {
    const source = Json.isObject(block["source"]) ? block["source"] : {}
    const data = Json.string(source["data"])?.length ?? 0
    into.characters += source["type"] === "base64" ? Math.ceil(data / BASE64_PER_CHARACTER) : data + written(source["content"])
  } else if (block["type"] === "tool_use") into.characters += written(block["input"]) + written(block["name"])
  else {
    into.characters += (Json.string(block["text"]) ?? Json.string(block["thinking"]) ?? "").length
    measureContent(block["content"], into)
  }
}

const measureContent = (content: Json.Json | undefined, into: Measure): void => {
  if (typeof content === "string") into.characters += content.length
  else if (Json.isArray(content)) for (const block of content) if (Json.isObject(block)) measureBlock(block, into)
}

/** What is wrong with a block among those of some types; null when nothing is. */
const blockFault = (block: Json.Json, at: string, types: ReadonlySet<string>): Read<never> | null => {
  if (!Json.isObject(block)) return refuse(at, "Input should be an object")
  const type = block["type"]
  if (typeof type !== "string") return missing(`${at}.type`)
  if (!types.has(type)) return refuse(`${at}.type`, `Input should be one of ${[...types].map((known) => `'${known}'`).join(", ")}`)
  const lacking = needs[type]?.find((field) => block[field] === undefined || block[field] === null)
  if (lacking !== undefined) return missing(`${at}.${type}.${lacking}`)
  if (type === "text" && typeof block["text"] !== "string") return refuse(`${at}.text.text`, "Input should be a valid string")
  if (type === "tool_use" && !Json.isObject(block["input"])) return refuse(`${at}.tool_use.input`, "Input should be a valid dictionary")
  return type === "tool_result" ? resultFault(block["content"], `${at}.tool_result.content`) : null
}

/** A tool may have nothing to say, so that empty texts pass. */
const resultFault = (content: Json.Json | undefined, at: string): Read<never> | null => {
  if (content === undefined || content === null || typeof content === "string") return null
  if (!Json.isArray(content)) return refuse(at, "Input should be a valid string or an array of content blocks")
  for (const [index, block] of content.entries()) {
    const fault = blockFault(block, `${at}.${index}`, resultTypes)
    if (fault !== null) return fault
  }
  return null
}

const checkBlock = (block: Json.Json, at: string): Read<void> => {
  const fault = blockFault(block, at, blockTypes)
  if (fault !== null) return fault
  const isEmptyText = Json.isObject(block) && block["type"] === "text" && block["text"] === ""
  return isEmptyText ? refuse(at, "text content blocks must be non-empty") : Result.succeed(undefined)
}

const checkContent = (content: Json.Json | undefined, at: string): Read<void> => {
  if (content === undefined || content === null) return missing(at)
  if (typeof content === "string") return Result.succeed(undefined)
  if (!Json.isArray(content)) return refuse(at, "Input should be a valid string or an array of content blocks")
  for (const [index, block] of content.entries()) {
    const checked = checkBlock(block, `${at}.${index}`)
    if (Result.isFailure(checked)) return checked
  }
  return Result.succeed(undefined)
}

const isEmpty = (content: Json.Json | undefined): boolean => content === "" || (Json.isArray(content) && content.length === 0)

const readMessages = (body: Json.JsonObject): Read<Measure> => {
  const messages = body["messages"]
  if (messages === undefined) return missing("messages")
  if (!Json.isArray(messages)) return refuse("messages", "Input should be a valid list")
  if (messages.length === 0) return refuse("messages", "at least one message is required", "EMPTY_MESSAGES_ARRAY")
  const measure: Measure = { characters: written(body["tools"]), images: 0 }
  measureContent(body["system"], measure)
  for (const [index, message] of messages.entries()) {
    const at = `messages.${index}`
    if (!Json.isObject(message)) return refuse(at, "Input should be an object")
    const role = message["role"]
    if (role === undefined) return missing(`${at}.role`)
    if (typeof role !== "string" || !roles.includes(role)) {
      return refuse(`${at}.role`, "Input should be 'user', 'assistant' or 'system'", "INVALID_ROLE")
    }
    const checked = checkContent(message["content"], `${at}.content`)
    if (Result.isFailure(checked)) return Result.fail(checked.failure)
    if (isEmpty(message["content"]) && !(role === "assistant" && index === messages.length - 1)) {
      return refuse(at, `${role} messages must have non-empty content`)
    }
    measureContent(message["content"], measure)
  }
  return Result.succeed(measure)
}

const isStrings = (value: Json.Json): boolean => Json.isArray(value) && value.every((item) => typeof item === "string")

const checkThinking = (body: Json.JsonObject, maxTokens: number | null): Read<void> => {
  const thinking = body["thinking"]
  if (thinking === undefined || thinking === null) return Result.succeed(undefined)
  if (!Json.isObject(thinking)) return refuse("thinking", "Input should be an object")
  if (thinking["type"] !== "enabled") return Result.succeed(undefined)
  const budget = thinking["budget_tokens"]
  if (budget === undefined) return missing("thinking.enabled.budget_tokens")
  if (typeof budget !== "number" || !Number.isSafeInteger(budget) || budget < 1_024) {
    return refuse("thinking.enabled.budget_tokens", "Input should be greater than or equal to 1024", "PARAMETER_OUT_OF_RANGE")
  }
  return maxTokens !== null && budget >= maxTokens
    ? refuse("max_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`", "PARAMETER_OUT_OF_RANGE")
    : Result.succeed(undefined)
}

const toolChoices = ["auto", "any", "tool", "none"]

/** Types and ranges of what is passed on, so that a mistake is told here and costs no provider call. */
const checkPlain = (body: Json.JsonObject): Read<void> => {
  const given = (param: string) => body[param] !== undefined && body[param] !== null
  const within = (param: string, most: number) => {
    const value = body[param]
    return typeof value === "number" && value >= 0 && value <= most
  }
  for (const param of ["temperature", "top_p"]) {
    if (given(param) && !within(param, 1)) return refuse(param, "Input should be a number from 0 to 1", "PARAMETER_OUT_OF_RANGE")
  }
  if (given("top_k") && !within("top_k", Number.MAX_SAFE_INTEGER))
    return refuse("top_k", "Input should be greater than or equal to 0", "PARAMETER_OUT_OF_RANGE")
  const stream = body["stream"]
  if (given("stream") && typeof stream !== "boolean") return refuse("stream", "Input should be a valid boolean")
  const stop = body["stop_sequences"] ?? []
  if (!isStrings(stop)) return refuse("stop_sequences", "Input should be a list of strings")
  const system = body["system"]
  if (given("system") && typeof system !== "string") {
    const checked = checkContent(system, "system")
    if (Result.isFailure(checked)) return checked
  }
  for (const param of ["metadata", "tool_choice", "output_config"]) {
    if (given(param) && !Json.isObject(body[param])) return refuse(param, "Input should be an object")
  }
  const choice = body["tool_choice"]
  if (Json.isObject(choice) && !(typeof choice["type"] === "string" && toolChoices.includes(choice["type"]))) {
    return refuse("tool_choice.type", "Input should be 'auto', 'any', 'tool' or 'none'")
  }
  if (Json.isObject(choice) && choice["type"] === "tool" && typeof choice["name"] !== "string") return missing("tool_choice.tool.name")
  return checkTools(body["tools"])
}

const checkTools = (tools: Json.Json | undefined): Read<void> => {
  if (tools === undefined || tools === null) return Result.succeed(undefined)
  if (!Json.isArray(tools)) return refuse("tools", "Input should be a valid list")
  for (const [index, tool] of tools.entries()) {
    if (!Json.isObject(tool)) return refuse(`tools.${index}`, "Input should be an object")
    const custom = tool["type"] === undefined || tool["type"] === null || tool["type"] === "custom"
    if (custom && typeof tool["name"] !== "string") return missing(`tools.${index}.custom.name`)
    if (custom && !Json.isObject(tool["input_schema"])) return missing(`tools.${index}.custom.input_schema`)
  }
  return Result.succeed(undefined)
}

const readMaxTokens = (body: Json.JsonObject): Read<number> => {
  const value = body["max_tokens"]
  if (value === undefined || value === null) return missing("max_tokens")
  if (typeof value !== "number" || !Number.isSafeInteger(value)) return refuse("max_tokens", "Input should be a valid integer")
  return value >= 1 ? Result.succeed(value) : refuse("max_tokens", "Input should be greater than or equal to 1", "PARAMETER_OUT_OF_RANGE")
}

/** What an error calls a field, in the words of the protocol. */
const inWords = (error: ApiError.ApiError): ApiError.ApiError =>
  error.code === "MISSING_REQUIRED_FIELD" ? { ...error, message: `${error.param}: Field required` } : error

const decode = (body: Json.JsonObject, maxTokens: Read<number | null>): Read<InferenceRequest> => {
  const models = readModels(body)
  if (Result.isFailure(models)) return Result.fail(inWords(models.failure))
  if (Result.isFailure(maxTokens)) return Result.fail(maxTokens.failure)
  const prompt = readMessages(body)
  if (Result.isFailure(prompt)) return Result.fail(prompt.failure)
  const plain = checkPlain(body)
  if (Result.isFailure(plain)) return Result.fail(plain.failure)
  const thinking = checkThinking(body, maxTokens.success)
  if (Result.isFailure(thinking)) return Result.fail(thinking.failure)
  const preference = readPreference(body["provider"])
  if (Result.isFailure(preference)) return Result.fail(preference.failure)
  return Result.succeed(
    chatRequest(body, {
      protocol: "anthropic-messages",
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

/** @category decoding @since 0.1.0 */
export const decodeRequest = (body: Json.JsonObject): Read<InferenceRequest> => decode(body, readMaxTokens(body))

/** The body of `POST /v1/messages/count_tokens`: the same without a bound. @category decoding @since 0.1.0 */
export const decodeCount = (body: Json.JsonObject): Read<InferenceRequest> => decode(body, Result.succeed(null))
