/**
 * Writes answers in the Anthropic protocol: one message, or named events.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent, Safety } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import type { Usage } from "../../schemas/Usage.ts"
import { type AnswerBlock, foldBlocks, safetyOf } from "./AnswerBlocks.ts"
import { ToolCallOrder } from "./ToolCallOrder.ts"

/** @category models @since 0.1.0 */
export interface MessageHead {
  readonly id: string
  readonly model: string
}

/** The public id of a message, from the server's id of the request. @category constructors @since 0.1.0 */
export const messageId = (requestId: string): string => `msg_${requestId.replaceAll("-", "")}`

/** The classes of tokens, as Anthropic counts them. @category encoding @since 0.1.0 */
export const encodeUsage = (usage: Usage) => ({
  input_tokens: usage.input,
  cache_creation_input_tokens: usage.cacheWrite,
  cache_read_input_tokens: usage.cachedRead,
  output_tokens: usage.output + usage.reasoning,
  output_tokens_details: { thinking_tokens: usage.reasoning }
})

const stopReason = (reason: FinishReason, stopSequence: string | null): string => {
  switch (reason) {
    case "stop":
      return stopSequence === null ? "end_turn" : "stop_sequence"
    case "length":
      return "max_tokens"
    case "tool_calls":
      return "tool_use"
    case "content_filter":
      return "refusal"
  }
}

/** What a model wrote as the input of a tool. What is not an object (it was cut) is kept as text. */
const inputOf = (text: string): Json.JsonObject => {
  if (text.trim() === "") return {}
  const input = Json.parse(text)
  return Json.isObject(input) ? input : { raw_arguments: text }
}

const signed = (signature: string | null | undefined) => (signature === null || signature === undefined ? {} : { signature })

const encodeBlock = (block: AnswerBlock) => {
  switch (block._tag) {
    case "Text":
    case "Refusal":
      return { type: "text", text: block.text, citations: null }
    case "Thought":
      return { type: "thinking", thinking: block.text, signature: block.signature ?? "" }
    case "Redacted":
      return { type: "redacted_thinking", data: block.data }
    case "ToolCall":
      return { type: "tool_use", id: block.id, name: block.name, input: inputOf(block.arguments), ...signed(block.signature) }
  }
}

const safetyField = (safety: Safety | null) => (safety === null ? {} : { safety })

const message = (head: MessageHead, usage: Usage) => ({
  id: head.id,
  type: "message",
  role: "assistant",
  model: head.model,
  content: [],
  stop_reason: null,
  stop_sequence: null,
  stop_details: null,
  usage: encodeUsage(usage)
})

/** A whole answer as a `message`. @category encoding @since 0.1.0 */
export const encodeAnswer = (events: ReadonlyArray<InferenceEvent>, head: MessageHead & { readonly usage: Usage }) => {
  const { blocks, reason, safety, stopSequence } = foldBlocks(events)
  return {
    ...message(head, head.usage),
    content: blocks.filter((block) => block._tag !== "Text" || block.text !== "").map(encodeBlock),
    stop_reason: stopReason(reason, stopSequence),
    stop_sequence: stopSequence,
    ...safetyField(safety)
  }
}

const event = (name: string, data: object): string => `event: ${name}\ndata: ${JSON.stringify({ type: name, ...data })}\n\n`

/** A sign of life that every client of the protocol passes over. @category encoding @since 0.1.0 */
export const PING = event("ping", {})

type Opened = "text" | "thinking" | "tool" | null

/**
 * Writes the events of one stream. One block is open at a time; each is closed before the next, and all before the end.
 *
 * @category encoding
 * @since 0.1.0
 */
export class MessageEncoder {
  private readonly head: MessageHead
  private readonly usage: () => Usage
  private readonly order = new ToolCallOrder()
  private begun = false
  private open: Opened = null
  private index = -1
  private refused = false
  private finish: Extract<InferenceEvent, { _tag: "Finish" }> | null = null

  constructor(head: MessageHead, usage: () => Usage) {
    this.head = head
    this.usage = usage
  }

  encode(batch: ReadonlyArray<InferenceEvent>): string {
    let text = this.begin()
    for (const piece of this.order.push(batch)) {
      if (piece._tag === "Usage" || piece._tag === "Data" || piece.choice !== 0 || this.finish !== null) continue
      text += this.piece(piece)
    }
    return text
  }

  end(): string {
    const { reason = "stop", safety = null, stopSequence = null } = this.finish ?? {}
    const delta = {
      stop_reason: stopReason(reason, stopSequence),
      stop_sequence: stopSequence,
      stop_details: null,
      ...safetyField(safetyOf(reason, safety, this.refused))
    }
    return this.begin() + this.close() + event("message_delta", { delta, usage: encodeUsage(this.usage()) }) + event("message_stop", {})
  }

  private begin(): string {
    if (this.begun) return ""
    this.begun = true
    return event("message_start", { message: message(this.head, this.usage()) })
  }

  private piece(piece: Exclude<InferenceEvent, { _tag: "Usage" | "Data" }>): string {
    switch (piece._tag) {
      case "Text":
      case "Refusal":
        if (piece.text === "") return ""
        this.refused ||= piece._tag === "Refusal"
        return this.opening("text", { type: "text", text: "", citations: null }) + this.delta({ type: "text_delta", text: piece.text })
      case "Reasoning":
        return this.thought(piece)
      case "ToolCallStart": {
        const block = { type: "tool_use", id: piece.id, name: piece.name, input: {}, ...signed(piece.signature) }
        return this.close() + this.opening("tool", block)
      }
      case "ToolCallArguments":
        return this.open === "tool" && piece.text !== "" ? this.delta({ type: "input_json_delta", partial_json: piece.text }) : ""
      case "Finish":
        this.finish = piece
        return ""
    }
  }

  private thought(piece: Extract<InferenceEvent, { _tag: "Reasoning" }>): string {
    if (piece.redacted !== undefined) {
      return this.close() + this.opening("thinking", { type: "redacted_thinking", data: piece.redacted }) + this.close()
    }
    if (piece.text === "" && piece.signature === undefined) return ""
    let text = this.opening("thinking", { type: "thinking", thinking: "", signature: "" })
    if (piece.text !== "") text += this.delta({ type: "thinking_delta", thinking: piece.text })
    if (piece.signature === undefined) return text
    return text + this.delta({ type: "signature_delta", signature: piece.signature }) + this.close()
  }

  private opening(what: Exclude<Opened, null>, block: object): string {
    if (this.open === what) return ""
    const closed = this.close()
    this.open = what
    this.index++
    return closed + event("content_block_start", { index: this.index, content_block: block })
  }

  private delta(delta: object): string {
    return event("content_block_delta", { index: this.index, delta })
  }

  private close(): string {
    if (this.open === null) return ""
    this.open = null
    return event("content_block_stop", { index: this.index })
  }
}
