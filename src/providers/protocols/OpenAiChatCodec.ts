/**
 * The OpenAI chat protocol as providers speak it: synchronous steps from a request to bytes and from bytes to events.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent } from "../../../schemas/Inference.ts"
import * as Json from "../../../schemas/Json.ts"
import type { ProviderAnswer } from "../../../schemas/Provider.ts"
import type { Usage } from "../../../schemas/Usage.ts"
import { SseParser } from "../../streams/Sse.ts"
import type { ProviderCall } from "../ProviderAdapter.ts"
import { type AnswerDecoder, type Decoded, fault } from "./AnswerDecoding.ts"
import { withoutGatewayFields } from "./GatewayFields.ts"

/** OpenAI's own reasoning families take no `max_tokens`. */
const takesCompletionTokens = (call: ProviderCall): boolean =>
  call.provider.definition.slug === "openai" && /^(o\d|gpt-[5-9])/.test(call.nativeId)

/**
 * The caller's own body with only what must change changed. Usage is always asked for, as it is what is charged.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeRequest = (call: ProviderCall): string => {
  const { body, stream } = call.request
  const out: Record<string, Json.Json> = { ...withoutGatewayFields(body), model: call.nativeId }
  if (stream) {
    const options = Json.isObject(body["stream_options"]) ? body["stream_options"] : {}
    out["stream"] = true
    out["stream_options"] = { ...options, include_usage: true }
  }
  if (call.maxTokens !== null) out[takesCompletionTokens(call) ? "max_completion_tokens" : "max_tokens"] = call.maxTokens
  return JSON.stringify(out)
}

const finishReason = (value: string): FinishReason => {
  switch (value) {
    case "length":
    case "max_tokens":
      return "length"
    case "tool_calls":
    case "function_call":
      return "tool_calls"
    case "content_filter":
      return "content_filter"
    default:
      return "stop"
  }
}

/** Figures of a provider, in disjoint classes; null when there are none. */
const decodeUsage = (value: Json.Json | undefined): Usage | null => {
  if (!Json.isObject(value) || (typeof value["prompt_tokens"] !== "number" && typeof value["completion_tokens"] !== "number")) return null
  const prompt = Json.count(value["prompt_tokens"])
  const completion = Json.count(value["completion_tokens"])
  const promptDetails = value["prompt_tokens_details"]
  const completionDetails = value["completion_tokens_details"]
  const cached = Math.min(prompt, Json.count(Json.isObject(promptDetails) ? promptDetails["cached_tokens"] : undefined))
  const reasoning = Math.min(completion, Json.count(Json.isObject(completionDetails) ? completionDetails["reasoning_tokens"] : undefined))
  return {
    input: prompt - cached,
    cachedRead: cached,
    cacheWrite: 0,
    output: completion - reasoning,
    reasoning,
    images: 0,
    audioSeconds: 0,
    source: "provider"
  }
}

const pushText = (events: Array<InferenceEvent>, choice: number, message: Json.JsonObject, logprobs: Json.Json | undefined): void => {
  const reasoning = Json.string(message["reasoning_content"]) ?? Json.string(message["reasoning"])
  if (reasoning !== null && reasoning !== "") events.push({ _tag: "Reasoning", choice, text: reasoning })
  const text = Json.string(message["content"])
  const hasLogprobs = logprobs !== undefined && logprobs !== null
  if ((text !== null && text !== "") || hasLogprobs) {
    events.push(hasLogprobs ? { _tag: "Text", choice, text: text ?? "", logprobs } : { _tag: "Text", choice, text: text ?? "" })
  }
  const refusal = Json.string(message["refusal"])
  if (refusal !== null && refusal !== "") events.push({ _tag: "Refusal", choice, text: refusal })
}

/** Tool calls, whole or in pieces: a piece with an id or a name begins one, every piece may carry arguments. */
const pushToolCalls = (events: Array<InferenceEvent>, choice: number, message: Json.JsonObject, begun: Set<string>): void => {
  const calls = message["tool_calls"]
  const legacy = message["function_call"]
  const pieces = Json.isArray(calls) ? calls : Json.isObject(legacy) ? [{ index: 0, id: "call_0", function: legacy }] : []
  pieces.forEach((piece, position) => {
    if (!Json.isObject(piece)) return
    const index = typeof piece["index"] === "number" ? piece["index"] : position
    const fn = Json.isObject(piece["function"]) ? piece["function"] : {}
    const name = Json.string(fn["name"])
    const key = `${choice}:${index}`
    if (!begun.has(key) && name !== null) {
      begun.add(key)
      events.push({ _tag: "ToolCallStart", choice, index, id: Json.string(piece["id"]) ?? `call_${index}`, name })
    }
    const text = Json.string(fn["arguments"])
    if (text !== null && text !== "") events.push({ _tag: "ToolCallArguments", choice, index, text })
  })
}

const errorText = (value: Json.Json): string =>
  (Json.isObject(value) ? Json.string(value["message"]) : Json.string(value)) ?? "the provider reported an error"

/**
 * A whole answer. An answer without content is empty unless its finish reason says why there is none.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeAnswer = (text: string): Decoded => {
  const events: Array<InferenceEvent> = []
  const body = Json.parse(text)
  if (!Json.isObject(body)) return { events, fault: fault("malformed", "the answer is not a JSON object") }
  const error = body["error"]
  if (error !== undefined && error !== null) return { events, fault: fault("reported", errorText(error)) }
  const choices = body["choices"]
  if (!Json.isArray(choices) || choices.length === 0) return { events, fault: fault("empty", "the answer has no choices") }
  const begun = new Set<string>()
  for (const [position, choice] of choices.entries()) {
    if (!Json.isObject(choice)) return { events, fault: fault("malformed", "a choice is not an object") }
    const index = typeof choice["index"] === "number" ? choice["index"] : position
    const before = events.length
    if (Json.isObject(choice["message"])) {
      pushText(events, index, choice["message"], choice["logprobs"])
      pushToolCalls(events, index, choice["message"], begun)
    }
    const reason = Json.string(choice["finish_reason"])
    if (reason === null) return { events, fault: fault("cut", "a choice has no finish reason") }
    if (events.length === before && finishReason(reason) !== "content_filter" && finishReason(reason) !== "length") {
      return { events, fault: fault("empty", "a choice has no content") }
    }
    events.push({ _tag: "Finish", choice: index, reason: finishReason(reason) })
  }
  const usage = decodeUsage(body["usage"])
  if (usage !== null) events.push({ _tag: "Usage", usage })
  return { events, fault: null }
}

/**
 * The state of one stream: bytes in, events out, one batch for each read. Nothing after `[DONE]` counts.
 *
 * @category decoding
 * @since 0.1.0
 */
export class StreamDecoder implements AnswerDecoder {
  private readonly sse = new SseParser()
  private readonly begun = new Set<string>()
  private readonly finished = new Set<number>()
  private readonly opened = new Set<number>()
  private content = false
  private excused = false
  private done = false

  push(bytes: Uint8Array): Decoded {
    const decoded = this.events(this.sse.push(bytes))
    return this.sse.overflowed && decoded.fault === null
      ? { events: decoded.events, fault: fault("malformed", "an event is too large") }
      : decoded
  }

  /** The provider has ended: whole only when every choice that began has its finish reason. */
  end(): Decoded {
    const decoded = this.events(this.sse.end())
    if (decoded.fault !== null) return decoded
    if (!this.content && !this.excused) return { ...decoded, fault: fault("empty", "the stream ended without content") }
    for (const choice of this.opened) {
      if (!this.finished.has(choice)) return { ...decoded, fault: fault("cut", "the stream ended without a finish reason") }
    }
    return decoded
  }

  /** `[DONE]` has come: what follows is not read. */
  get isDone(): boolean {
    return this.done
  }

  private events(incoming: ReadonlyArray<{ readonly data: string }>): Decoded {
    const events: Array<InferenceEvent> = []
    for (const { data } of incoming) {
      if (this.done) break
      if (data.trim() === "[DONE]") {
        this.done = true
        break
      }
      if (data === "") continue
      const broken = this.chunk(data, events)
      if (broken !== null) return { events, fault: broken }
    }
    return { events, fault: null }
  }

  private chunk(data: string, events: Array<InferenceEvent>): ProviderAnswer | null {
    const body = Json.parse(data)
    if (!Json.isObject(body)) return fault("malformed", "an event is not a JSON object")
    const error = body["error"]
    if (error !== undefined && error !== null) return fault("reported", errorText(error))
    const choices = body["choices"]
    if (Json.isArray(choices)) {
      for (const choice of choices) if (Json.isObject(choice)) this.choice(choice, events)
    }
    const usage = decodeUsage(body["usage"])
    if (usage !== null) events.push({ _tag: "Usage", usage })
    return null
  }

  private choice(choice: Json.JsonObject, events: Array<InferenceEvent>): void {
    const index = typeof choice["index"] === "number" ? choice["index"] : 0
    if (this.finished.has(index)) return
    this.opened.add(index)
    const before = events.length
    if (Json.isObject(choice["delta"])) {
      pushText(events, index, choice["delta"], choice["logprobs"])
      pushToolCalls(events, index, choice["delta"], this.begun)
    }
    if (events.length > before) this.content = true
    const reason = Json.string(choice["finish_reason"])
    if (reason === null || reason === "") return
    this.finished.add(index)
    const finish = finishReason(reason)
    if (finish === "content_filter" || finish === "length") this.excused = true
    events.push({ _tag: "Finish", choice: index, reason: finish })
  }
}
