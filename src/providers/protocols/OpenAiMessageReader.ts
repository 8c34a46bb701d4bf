/**
 * What is inside a message or a delta of OpenAI's chat, in the ways that the providers that speak it say it.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent, Safety } from "../../../schemas/Inference.ts"
import * as Json from "../../../schemas/Json.ts"
import { none, type Usage } from "../../../schemas/Usage.ts"
import { credible, figure } from "./Figures.ts"

/** Null: the answer broke off at the provider's, whatever it is called there. @category decoding @since 0.1.0 */
export const finishReason = (value: string): FinishReason | null => {
  switch (value) {
    case "length":
    case "max_tokens":
    case "model_length":
      return "length"
    case "tool_calls":
    case "function_call":
      return "tool_calls"
    case "content_filter":
      return "content_filter"
    case "error":
    case "abort":
    case "insufficient_system_resource":
      return null
    default:
      return "stop"
  }
}

/** Figures of a provider, in disjoint classes; null when there are none, or none that can be. @category decoding @since 0.1.0 */
export const decodeUsage = (value: Json.Json | undefined): Usage | null => {
  if (!Json.isObject(value) || (value["prompt_tokens"] ?? value["completion_tokens"] ?? null) === null) return null
  const prompt = figure(value["prompt_tokens"])
  const completion = figure(value["completion_tokens"])
  const details = Json.objectAt(value, "prompt_tokens_details")
  const cached = Math.min(prompt, Json.count(details["cached_tokens"] ?? value["prompt_cache_hit_tokens"] ?? value["cached_tokens"]))
  const written = Math.min(prompt - cached, Json.count(details["cache_write_tokens"] ?? details["cache_creation_tokens"]))
  const thoughts = Json.count(Json.objectAt(value, "completion_tokens_details")["reasoning_tokens"])
  // Some count the reasoning beside the completion, not in it: then only the total has them all.
  const isBeside = thoughts > 0 && value["total_tokens"] === prompt + completion + thoughts
  const reasoning = isBeside ? thoughts : Math.min(completion, thoughts)
  return credible({
    ...none,
    input: prompt - cached - written,
    cachedRead: cached,
    cacheWrite: written,
    output: isBeside ? completion : completion - reasoning,
    reasoning,
    source: "provider"
  })
}

const isAnthropic = (detail: Json.JsonObject): boolean => (Json.string(detail["format"]) ?? "").startsWith("anthropic")

/** OpenRouter's details of thoughts. What is signed or sealed is kept only where its maker is known. */
const detailEvents = (details: ReadonlyArray<Json.Json>, choice: number): ReadonlyArray<InferenceEvent> =>
  details.flatMap((detail): ReadonlyArray<InferenceEvent> => {
    if (!Json.isObject(detail)) return []
    const data = Json.string(detail["data"])
    if (data !== null) return isAnthropic(detail) ? [{ _tag: "Reasoning", choice, text: "", redacted: data }] : []
    const text = Json.string(detail["text"]) ?? Json.string(detail["summary"]) ?? ""
    const signature = isAnthropic(detail) ? Json.string(detail["signature"]) : null
    if (text === "" && (signature === null || signature === "")) return []
    return [{ _tag: "Reasoning", choice, text, ...(signature === null || signature === "" ? {} : { signature }) }]
  })

const pushThoughts = (events: Array<InferenceEvent>, choice: number, message: Json.JsonObject): void => {
  const details = message["reasoning_details"]
  const found = Json.isArray(details) ? detailEvents(details, choice) : []
  if (found.length > 0) {
    events.push(...found)
    return
  }
  const text = Json.string(message["reasoning_content"]) ?? Json.string(message["reasoning"])
  if (text !== null && text !== "") events.push({ _tag: "Reasoning", choice, text })
}

const joinTexts = (parts: ReadonlyArray<Json.Json>): string =>
  parts.map((part) => (Json.isObject(part) ? (Json.string(part["text"]) ?? "") : "")).join("")

/** Content in parts: Mistral's thoughts are among them. */
const textOfParts = (events: Array<InferenceEvent>, choice: number, parts: ReadonlyArray<Json.Json>): string => {
  for (const part of parts) {
    const thinking = Json.isObject(part) && part["type"] === "thinking" ? part["thinking"] : undefined
    const text = Json.isArray(thinking) ? joinTexts(thinking) : (Json.string(thinking) ?? "")
    if (text !== "") events.push({ _tag: "Reasoning", choice, text })
  }
  return joinTexts(parts)
}

/** Thoughts, text and refusals. @category decoding @since 0.1.0 */
export const pushText = (
  events: Array<InferenceEvent>,
  choice: number,
  message: Json.JsonObject,
  logprobs: Json.Json | undefined
): void => {
  pushThoughts(events, choice, message)
  const content = message["content"]
  const text = Json.isArray(content) ? textOfParts(events, choice, content) : Json.string(content)
  const hasLogprobs = logprobs !== undefined && logprobs !== null
  if ((text !== null && text !== "") || hasLogprobs) {
    events.push(hasLogprobs ? { _tag: "Text", choice, text: text ?? "", logprobs } : { _tag: "Text", choice, text: text ?? "" })
  }
  const refusal = Json.string(message["refusal"])
  if (refusal !== null && refusal !== "") events.push({ _tag: "Refusal", choice, text: refusal })
}

/** Tool calls, whole or in pieces: a piece with a name begins one, every piece may carry arguments. @category decoding @since 0.1.0 */
export const pushToolCalls = (events: Array<InferenceEvent>, choice: number, message: Json.JsonObject, begun: Set<string>): void => {
  const calls = message["tool_calls"]
  const legacy = message["function_call"]
  const pieces = Json.isArray(calls) ? calls : Json.isObject(legacy) ? [{ index: 0, id: "call_0", function: legacy }] : []
  pieces.forEach((piece, position) => {
    if (!Json.isObject(piece)) return
    const index = typeof piece["index"] === "number" ? piece["index"] : position
    const fn = Json.objectAt(piece, "function")
    const name = Json.string(fn["name"])
    const key = `${choice}:${index}`
    if (!begun.has(key) && name !== null) {
      begun.add(key)
      events.push({ _tag: "ToolCallStart", choice, index, id: Json.string(piece["id"]) ?? `call_${index}`, name })
    }
    const given = fn["arguments"]
    // Some give the arguments as the object that they are.
    const text = Json.isObject(given) ? JSON.stringify(given) : Json.string(given)
    if (text !== null && text !== "") events.push({ _tag: "ToolCallArguments", choice, index, text })
  })
}

/** What Azure's filter says of a choice. */
const filtered = (results: Json.JsonObject): ReadonlyArray<string> =>
  Object.entries(results).flatMap(([name, result]) =>
    Json.isObject(result) && (result["filtered"] === true || result["detected"] === true) ? [name] : []
  )

const hasCalls = (begun: ReadonlySet<string>, choice: number): boolean => {
  for (const key of begun) if (key.startsWith(`${choice}:`)) return true
  return false
}

/**
 * The end of a choice; `null` when the provider broke it off. Where tools were called, `begun` has them, and that is why it
 * ended, also with those who say `stop`: clients go by it.
 *
 * @category decoding
 * @since 0.1.0
 */
export const finishEvent = (
  index: number,
  reason: string,
  choice: Json.JsonObject,
  begun: ReadonlySet<string>
): (InferenceEvent & { readonly _tag: "Finish" }) | null => {
  const said = finishReason(reason)
  if (said === null) return null
  const finish = said === "stop" && hasCalls(begun, index) ? "tool_calls" : said
  const safety: Safety = { blocked: true, categories: filtered(Json.objectAt(choice, "content_filter_results")) }
  return finish === "content_filter"
    ? { _tag: "Finish", choice: index, reason: finish, safety }
    : { _tag: "Finish", choice: index, reason: finish }
}
