/**
 * Reads the body of `POST /v1/chat/completions` for its meaning; the body itself goes on as it is.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { toConversation } from "./OpenAiChatConversation.ts"
import { fieldFault } from "./OpenAiChatFields.ts"
import { characters, readMessages } from "./OpenAiChatMessages.ts"
import { chatRequest, type Read, readCount, readModels, readPreference } from "./RequestFields.ts"

const MOST = Number.MAX_SAFE_INTEGER

/** @category decoding @since 0.1.0 */
export const decodeRequest = (body: Json.JsonObject): Read<InferenceRequest> => {
  const models = readModels(body)
  if (Result.isFailure(models)) return Result.fail(models.failure)
  const prompt = readMessages(body)
  if (Result.isFailure(prompt)) return Result.fail(prompt.failure)
  const fault = fieldFault(body)
  if (fault !== null) return fault
  const completionTokens = readCount(body, "max_completion_tokens", MOST)
  if (Result.isFailure(completionTokens)) return Result.fail(completionTokens.failure)
  const maxTokens = readCount(body, "max_tokens", MOST)
  if (Result.isFailure(maxTokens)) return Result.fail(maxTokens.failure)
  const preference = readPreference(body["provider"])
  if (Result.isFailure(preference)) return Result.fail(preference.failure)
  const choices = readCount(body, "n", 128)
  if (Result.isFailure(choices)) return Result.fail(choices.failure)
  const options = body["stream_options"]
  const offered = characters(body["tools"]) + characters(body["functions"]) + characters(body["response_format"])
  return Result.succeed(
    chatRequest(body, {
      protocol: "openai-chat",
      ...models.success,
      preference: preference.success,
      maxTokens: completionTokens.success ?? maxTokens.success,
      prompt: { characters: prompt.success.characters + offered, images: prompt.success.images },
      conversation: () => toConversation(body),
      choices: choices.success ?? 1,
      includeUsage: Json.isObject(options) && options["include_usage"] === true
    })
  )
}
