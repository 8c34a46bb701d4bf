/**
 * Reads the body of `POST /v1/chat/completions` for its meaning; the body itself goes on as it is.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { toConversation } from "./OpenAiChatConversation.ts"
import { chatRequest, outOfRange, type Read, readCount, readModels, readPreference, refuse } from "./RequestFields.ts"

const roles = ["developer", "system", "user", "assistant", "tool", "function"]

/** Whose messages may have no content: who called tools has said enough. */
const mayBeSilent = ["assistant", "function"]

/** What a model reads: text, tool calls, and how many images. */
interface Measured {
  characters: number
  images: number
}

const addContent = (measured: Measured, content: Json.Json | undefined): void => {
  if (typeof content === "string") measured.characters += content.length
  else if (Json.isArray(content)) {
    for (const part of content) {
      if (!Json.isObject(part)) continue
      if (part["type"] === "image_url" || part["type"] === "input_image" || part["type"] === "image") measured.images++
      else measured.characters += (Json.string(part["text"]) ?? Json.string(part["refusal"]) ?? "").length
    }
  }
}

const characters = (value: Json.Json | undefined): number => (value === undefined || value === null ? 0 : JSON.stringify(value).length)

/** What is wrong with a message; null when nothing is. */
const messageFault = (message: Json.Json, index: number): Read<never> | null => {
  if (!Json.isObject(message)) return refuse(`\`messages.${index}\` must be an object.`, `messages.${index}`)
  const { content, role } = message
  if (typeof role !== "string" || !roles.includes(role)) {
    const at = `messages.${index}.role`
    return refuse(`\`${at}\` must be one of ${roles.join(", ")}.`, at, "INVALID_ROLE")
  }
  if (typeof content === "string") return null
  const at = `messages.${index}.content`
  if (content === undefined || content === null) {
    return mayBeSilent.includes(role) ? null : refuse(`\`${at}\` is missing.`, at, "MISSING_REQUIRED_FIELD")
  }
  return Json.isArray(content) ? null : refuse(`\`${at}\` must be a string or an array of parts.`, at)
}

const readMessages = (body: Json.JsonObject): Read<Measured> => {
  const messages = body["messages"]
  if (messages === undefined) return refuse("`messages` is missing.", "messages", "MISSING_REQUIRED_FIELD")
  if (!Json.isArray(messages)) return refuse("`messages` must be an array.", "messages")
  if (messages.length === 0) return refuse("`messages` must hold at least one message.", "messages", "EMPTY_MESSAGES_ARRAY")
  const measured: Measured = { characters: 0, images: 0 }
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index] ?? null
    const fault = messageFault(message, index)
    if (fault !== null) return fault
    if (!Json.isObject(message)) continue
    addContent(measured, message["content"])
    measured.characters += characters(message["tool_calls"]) + (Json.string(message["reasoning_content"])?.length ?? 0)
  }
  measured.characters += characters(body["tools"]) + characters(body["functions"]) + characters(body["response_format"])
  return Result.succeed(measured)
}

const isWithin = (value: Json.Json | undefined, least: number, most: number): boolean =>
  value === undefined || value === null || (typeof value === "number" && value >= least && value <= most)

const switches = ["stream", "logprobs", "parallel_tool_calls"]
const objects = ["response_format", "stream_options"]

/** Types and ranges of what is passed on, so that a mistake is told here and costs no provider call; null when there is none. */
const faultOf = (body: Json.JsonObject): Read<never> | null => {
  if (!isWithin(body["temperature"], 0, 2)) return outOfRange("temperature", "a number from 0 to 2")
  if (!isWithin(body["top_p"], 0, 1)) return outOfRange("top_p", "a number from 0 to 1")
  if (!isWithin(body["presence_penalty"], -2, 2)) return outOfRange("presence_penalty", "a number from -2 to 2")
  if (!isWithin(body["frequency_penalty"], -2, 2)) return outOfRange("frequency_penalty", "a number from -2 to 2")
  for (const param of switches) {
    const value = body[param]
    if (value !== undefined && value !== null && typeof value !== "boolean") return refuse(`\`${param}\` must be true or false.`, param)
  }
  const stop = body["stop"] ?? null
  if (stop !== null && typeof stop !== "string" && !(Json.isArray(stop) && stop.every((item) => typeof item === "string"))) {
    return refuse("`stop` must be a string or an array of strings.", "stop")
  }
  const tools = body["tools"]
  if (tools !== undefined && tools !== null && !Json.isArray(tools)) return refuse("`tools` must be an array.", "tools")
  for (const param of objects) {
    const value = body[param]
    if (value !== undefined && value !== null && !Json.isObject(value)) return refuse(`\`${param}\` must be an object.`, param)
  }
  return null
}

const MOST = Number.MAX_SAFE_INTEGER

/** @category decoding @since 0.1.0 */
export const decodeRequest = (body: Json.JsonObject): Read<InferenceRequest> => {
  const models = readModels(body)
  if (Result.isFailure(models)) return Result.fail(models.failure)
  const prompt = readMessages(body)
  if (Result.isFailure(prompt)) return Result.fail(prompt.failure)
  const fault = faultOf(body)
  if (fault !== null) return fault
  const completionTokens = readCount(body, "max_completion_tokens", MOST)
  if (Result.isFailure(completionTokens)) return Result.fail(completionTokens.failure)
  const maxTokens = completionTokens.success === null ? readCount(body, "max_tokens", MOST) : completionTokens
  if (Result.isFailure(maxTokens)) return Result.fail(maxTokens.failure)
  const preference = readPreference(body["provider"])
  if (Result.isFailure(preference)) return Result.fail(preference.failure)
  const choices = readCount(body, "n", 128)
  if (Result.isFailure(choices)) return Result.fail(choices.failure)
  const options = body["stream_options"]
  return Result.succeed(
    chatRequest(body, {
      protocol: "openai-chat",
      ...models.success,
      preference: preference.success,
      maxTokens: maxTokens.success,
      prompt: prompt.success,
      conversation: () => toConversation(body),
      choices: choices.success ?? 1,
      includeUsage: Json.isObject(options) && options["include_usage"] === true
    })
  )
}
