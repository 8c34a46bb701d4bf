/**
 * Reads the body of `POST /v1/chat/completions` for its meaning; the body itself goes on as it is.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { toConversation } from "./OpenAiChatConversation.ts"
import { once, outOfRange, type Read, readCount, readModels, readPreference, refuse } from "./RequestFields.ts"

const roles = ["developer", "system", "user", "assistant", "tool", "function"]

/** Whose messages may have no content: who called tools has said enough. */
const mayBeSilent = ["assistant", "function"]

/** What a model reads of one message: text, tool calls, and how many images. */
const measureContent = (content: Json.Json | undefined): { readonly characters: number; readonly images: number } => {
  if (typeof content === "string") return { characters: content.length, images: 0 }
  let characters = 0
  let images = 0
  if (Json.isArray(content)) {
    for (const part of content) {
      if (!Json.isObject(part)) continue
      if (part["type"] === "image_url" || part["type"] === "input_image" || part["type"] === "image") images++
      else characters += (Json.string(part["text"]) ?? Json.string(part["refusal"]) ?? "").length
    }
  }
  return { characters, images }
}

const characters = (value: Json.Json | undefined): number => (value === undefined || value === null ? 0 : JSON.stringify(value).length)

const readMessages = (body: Json.JsonObject): Read<{ readonly characters: number; readonly images: number }> => {
  const messages = body["messages"]
  if (messages === undefined) return refuse("`messages` is missing.", "messages", "MISSING_REQUIRED_FIELD")
  if (!Json.isArray(messages)) return refuse("`messages` must be an array.", "messages")
  if (messages.length === 0) return refuse("`messages` must hold at least one message.", "messages", "EMPTY_MESSAGES_ARRAY")
  let total = 0
  let images = 0
  for (const [index, message] of messages.entries()) {
    const at = `messages.${index}`
    if (!Json.isObject(message)) return refuse(`\`${at}\` must be an object.`, at)
    const role = message["role"]
    if (typeof role !== "string" || !roles.includes(role)) {
      return refuse(`\`${at}.role\` must be one of ${roles.join(", ")}.`, `${at}.role`, "INVALID_ROLE")
    }
    const content = message["content"]
    if ((content === undefined || content === null) && !mayBeSilent.includes(role)) {
      return refuse(`\`${at}.content\` is missing.`, `${at}.content`, "MISSING_REQUIRED_FIELD")
    }
    if (content !== undefined && content !== null && typeof content !== "string" && !Json.isArray(content)) {
      return refuse(`\`${at}.content\` must be a string or an array of parts.`, `${at}.content`)
    }
    const measured = measureContent(content)
    total += measured.characters + characters(message["tool_calls"]) + (Json.string(message["reasoning_content"])?.length ?? 0)
    images += measured.images
  }
  return Result.succeed({
    characters: total + characters(body["tools"]) + characters(body["functions"]) + characters(body["response_format"]),
    images
  })
}

/** Types and ranges of what is passed on, so that a mistake is told here and costs no provider call. */
const checkPlain = (body: Json.JsonObject): Read<void> => {
  const within = (param: string, least: number, most: number) => {
    const value = body[param]
    return value === undefined || value === null || (typeof value === "number" && value >= least && value <= most)
  }
  if (!within("temperature", 0, 2)) return outOfRange("temperature", "a number from 0 to 2")
  if (!within("top_p", 0, 1)) return outOfRange("top_p", "a number from 0 to 1")
  if (!within("presence_penalty", -2, 2)) return outOfRange("presence_penalty", "a number from -2 to 2")
  if (!within("frequency_penalty", -2, 2)) return outOfRange("frequency_penalty", "a number from -2 to 2")
  for (const param of ["stream", "logprobs", "parallel_tool_calls"]) {
    const value = body[param]
    if (value !== undefined && value !== null && typeof value !== "boolean") return refuse(`\`${param}\` must be true or false.`, param)
  }
  const stop = body["stop"] ?? []
  if (typeof stop !== "string" && !(Json.isArray(stop) && stop.every((item) => typeof item === "string"))) {
    return refuse("`stop` must be a string or an array of strings.", "stop")
  }
  const tools = body["tools"]
  if (tools !== undefined && tools !== null && !Json.isArray(tools)) return refuse("`tools` must be an array.", "tools")
  for (const param of ["response_format", "stream_options"]) {
    const value = body[param]
    if (value !== undefined && value !== null && !Json.isObject(value)) return refuse(`\`${param}\` must be an object.`, param)
  }
  return Result.succeed(undefined)
}

/** @category decoding @since 0.1.0 */
export const decodeRequest = (body: Json.JsonObject): Read<InferenceRequest> =>
  Result.gen(function* () {
    const { fallbackModels, model } = yield* readModels(body)
    const prompt = yield* readMessages(body)
    yield* checkPlain(body)
    const most = Number.MAX_SAFE_INTEGER
    const maxTokens = (yield* readCount(body, "max_completion_tokens", most)) ?? (yield* readCount(body, "max_tokens", most))
    const options = body["stream_options"]
    return {
      protocol: "openai-chat" as const,
      operation: "chat" as const,
      body,
      conversation: once(() => toConversation(body)),
      dropUnsupported: body["drop_params"] === true,
      model,
      fallbackModels,
      preference: yield* readPreference(body["provider"]),
      stream: body["stream"] === true,
      includeUsage: Json.isObject(options) && options["include_usage"] === true,
      maxTokens,
      choices: (yield* readCount(body, "n", 128)) ?? 1,
      promptCharacters: prompt.characters,
      promptImages: prompt.images
    }
  })
