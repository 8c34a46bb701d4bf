/**
 * Answers of Anthropic's Messages API, whole and in pieces, as events.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent } from "../../../schemas/Inference.ts"
import * as Json from "../../../schemas/Json.ts"
import type { ProviderAnswer } from "../../../schemas/Provider.ts"
import { none, type Usage } from "../../../schemas/Usage.ts"
import { type Decoded, fault } from "./AnswerDecoding.ts"
import { ANSWER_TOOL } from "./AnthropicRequestEncoder.ts"
import { EventDecoder, type EventReader } from "./EventDecoder.ts"
import { credible, figure } from "./Figures.ts"

const finishReason = (value: string): FinishReason => {
  switch (value) {
    case "max_tokens":
    case "model_context_window_exceeded":
      return "length"
    case "tool_use":
      return "tool_calls"
    case "refusal":
      return "content_filter"
    default:
      return "stop"
  }
}

/** Figures on top of those before: later ones are cumulative, and may leave out what has not changed. */
const addUsage = (before: Usage, value: Json.JsonObject): Usage => {
  const at = (name: string, known: number) => ((value[name] ?? null) === null ? known : figure(value[name]))
  const details = value["output_tokens_details"]
  const output = at("output_tokens", before.output + before.reasoning)
  const thinking = Json.isObject(details) ? Json.count(details["thinking_tokens"]) : before.reasoning
  const reasoning = Math.min(output, thinking)
  return {
    ...before,
    input: at("input_tokens", before.input),
    cachedRead: at("cache_read_input_tokens", before.cachedRead),
    cacheWrite: at("cache_creation_input_tokens", before.cacheWrite),
    output: output - reasoning,
    reasoning,
    source: "provider"
  }
}

const finishOf = (reason: string, message: Json.JsonObject, isStructured: boolean): InferenceEvent => {
  const finish = finishReason(reason)
  const stopSequence = Json.string(message["stop_sequence"])
  const details = message["stop_details"]
  const category = Json.isObject(details) ? Json.string(details["category"]) : null
  return {
    _tag: "Finish",
    choice: 0,
    // The tool that carries a structured answer is none of the caller's.
    reason: isStructured && finish === "tool_calls" ? "stop" : finish,
    ...(stopSequence === null ? {} : { stopSequence }),
    ...(finish === "content_filter" ? { safety: { blocked: true, categories: category === null ? [] : [category] } } : {})
  }
}

const errorText = (body: Json.JsonObject): string =>
  (Json.isObject(body["error"]) ? Json.string(body["error"]["message"]) : null) ?? "the provider reported an error"

/** What an open block turns its pieces into. */
interface OpenBlock {
  readonly kind: "text" | "thinking" | "tool" | "answer" | "other"
  readonly tool: number
  pieces: number
}

/** One answer, fed with Anthropic's events, or with a whole message as if it were these. */
class MessageReader implements EventReader {
  readonly events: Array<InferenceEvent> = []
  private readonly blocks = new Map<number, OpenBlock>()
  private readonly isStructured: boolean
  private usage: Usage = none
  private tools = 0
  private content = false
  private excused = false
  finished = false
  stopped = false

  /** `isStructured`: the answer was asked for as the input of a tool. */
  constructor(isStructured: boolean) {
    this.isStructured = isStructured
  }

  take(event: Json.JsonObject): ProviderAnswer | null {
    switch (event["type"]) {
      case "message_start":
        if (Json.isObject(event["message"])) this.takeUsage(event["message"], true)
        return null
      case "content_block_start":
        if (Json.isObject(event["content_block"])) this.open(Json.count(event["index"]), event["content_block"])
        return null
      case "content_block_delta":
        if (Json.isObject(event["delta"])) this.delta(Json.count(event["index"]), event["delta"])
        return null
      case "content_block_stop":
        this.close(Json.count(event["index"]))
        return null
      case "message_delta":
        this.takeUsage(event, false)
        if (Json.isObject(event["delta"])) this.finish(event["delta"])
        return null
      case "message_stop":
        this.stopped = true
        return null
      case "error":
        return fault("reported", errorText(event))
      default:
        return null
    }
  }

  takeUsage(holder: Json.JsonObject, partial: boolean): void {
    const value = holder["usage"]
    if (!Json.isObject(value)) return
    this.usage = addUsage(this.usage, value)
    const usage = credible(partial ? { ...this.usage, output: 0, reasoning: 0 } : this.usage)
    if (usage !== null) this.events.push(partial ? { _tag: "Usage", usage, partial } : { _tag: "Usage", usage })
  }

  open(index: number, block: Json.JsonObject): void {
    const kind = this.kindOf(block)
    this.blocks.set(index, { kind, tool: kind === "tool" ? this.tools++ : 0, pieces: 0 })
    if (kind === "tool") {
      const id = Json.string(block["id"]) ?? `call_${index}`
      this.push({ _tag: "ToolCallStart", choice: 0, index: this.tools - 1, id, name: Json.string(block["name"]) ?? "" })
    }
    if (block["type"] === "redacted_thinking") {
      this.push({ _tag: "Reasoning", choice: 0, text: "", redacted: Json.string(block["data"]) ?? "" })
    }
    this.delta(index, { text: block["text"] ?? "", thinking: block["thinking"] ?? "" })
    const input = block["input"]
    if (Json.isObject(input) && Object.keys(input).length > 0) this.delta(index, { partial_json: JSON.stringify(input) })
    if (kind === "thinking") this.delta(index, { signature: block["signature"] ?? "" })
  }

  delta(index: number, delta: Json.JsonObject): void {
    const block = this.blocks.get(index)
    if (block === undefined) return
    const field = block.kind === "text" ? "text" : block.kind === "thinking" ? "thinking" : "partial_json"
    const signature = Json.string(delta["signature"])
    if (block.kind === "thinking" && signature !== null && signature !== "") {
      this.push({ _tag: "Reasoning", choice: 0, text: "", signature })
    }
    const text = Json.string(delta[field])
    if (text === null || text === "" || block.kind === "other") return
    block.pieces++
    if (block.kind === "text" || block.kind === "answer") this.push({ _tag: "Text", choice: 0, text })
    else if (block.kind === "thinking") this.push({ _tag: "Reasoning", choice: 0, text })
    else this.push({ _tag: "ToolCallArguments", choice: 0, index: block.tool, text })
  }

  close(index: number): void {
    const block = this.blocks.get(index)
    // A tool without input has an empty one; no text at all would not be JSON.
    if (block !== undefined && (block.kind === "tool" || block.kind === "answer") && block.pieces === 0) {
      this.delta(index, { partial_json: "{}" })
    }
    this.blocks.delete(index)
  }

  finish(message: Json.JsonObject): void {
    const reason = Json.string(message["stop_reason"])
    if (reason === null || this.finished) return
    this.finished = true
    this.excused = finishReason(reason) === "length" || finishReason(reason) === "content_filter"
    this.events.push(finishOf(reason, message, this.isStructured))
  }

  /** How the answer is wanting, now that it has ended. */
  verdict(): ProviderAnswer | null {
    if (!this.finished && this.content) return fault("cut", "the answer ended without a stop reason")
    return this.content || this.excused ? null : fault("empty", "the answer has no content")
  }

  private kindOf(block: Json.JsonObject): OpenBlock["kind"] {
    switch (block["type"]) {
      case "text":
        return "text"
      case "thinking":
        return "thinking"
      case "tool_use":
        return this.isStructured && block["name"] === ANSWER_TOOL ? "answer" : "tool"
      default:
        return "other"
    }
  }

  private push(event: InferenceEvent): void {
    this.content = true
    this.events.push(event)
  }
}

/** A whole answer. @category decoding @since 0.1.0 */
export const decodeAnswer = (text: string, isStructured: boolean): Decoded => {
  const reader = new MessageReader(isStructured)
  const { events } = reader
  const body = Json.parse(text)
  if (!Json.isObject(body)) return { events, fault: fault("malformed", "the answer is not a JSON object") }
  if (body["type"] === "error") return { events, fault: fault("reported", errorText(body)) }
  const content = body["content"]
  if (!Json.isArray(content)) return { events, fault: fault("malformed", "the answer has no content") }
  for (const [index, block] of content.entries()) {
    if (!Json.isObject(block)) return { events, fault: fault("malformed", "a content block is not an object") }
    reader.open(index, block)
    reader.close(index)
  }
  reader.takeUsage(body, false)
  reader.finish(body)
  return { events, fault: reader.finished ? reader.verdict() : fault("cut", "the answer has no stop reason") }
}

/** The state of one stream. @category decoding @since 0.1.0 */
export class AnthropicStreamDecoder extends EventDecoder {
  constructor(isStructured: boolean) {
    super(new MessageReader(isStructured))
  }
}
