/**
 * Writes answers in OpenAI's responses protocol, in pieces.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../schemas/Inference.ts"
import type { Json } from "../../schemas/Json.ts"
import type { Usage } from "../../schemas/Usage.ts"
import { logprobsOf, safetyOf } from "./AnswerBlocks.ts"
import type { ApiError } from "./ApiError.ts"
import {
  type Call,
  callItem,
  encodeResponse,
  incompleteReason,
  messageItem,
  type ResponseHead,
  reasoningItem,
  refusalPart,
  responseId,
  textPart
} from "./OpenAiResponsesAnswer.ts"
import { REDACTED } from "./OpenAiResponsesConversation.ts"
import { ToolCallOrder } from "./ToolCallOrder.ts"

/** The item that is being written. */
type Open =
  | {
      readonly _tag: "Message"
      readonly id: string
      readonly content: Array<object>
      part: { readonly kind: "text" | "refusal"; text: string; readonly logprobs: Array<Json> } | null
    }
  | { readonly _tag: "Reasoning"; readonly id: string; text: string; sealed: string | null }
  | { readonly _tag: "Call"; readonly id: string; readonly call: Omit<Call, "arguments"> & { arguments: string } }

type Piece = Exclude<InferenceEvent, { _tag: "Usage" | "Data" }>

/**
 * Writes the events of one stream. One item is open at a time; each is closed before the next, and all before the end, which
 * repeats them whole.
 *
 * @category encoding
 * @since 0.1.0
 */
export class ResponseEncoder {
  private readonly head: ResponseHead
  private readonly usage: () => Usage
  private readonly order = new ToolCallOrder()
  private readonly output: Array<object> = []
  private sequence = 0
  private begun = false
  private open: Open | null = null
  private refused = false
  private finish: Extract<InferenceEvent, { _tag: "Finish" }> | null = null

  constructor(head: ResponseHead, usage: () => Usage) {
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
    const reason = this.finish?.reason ?? "stop"
    const ending = { reason, safety: safetyOf(reason, this.finish?.safety, this.refused) }
    const text = this.begin() + this.close()
    const response = encodeResponse(this.head, this.output, ending, this.usage())
    return text + this.event(incompleteReason(reason) === null ? "response.completed" : "response.incomplete", { response })
  }

  /** The error in both forms that clients look for: its fields, and the object of an answer that fails at once. */
  error({ code, message, param }: ApiError, error: object): string {
    return this.event("error", { code, message, param, error })
  }

  private event(type: string, data: object): string {
    return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: this.sequence++, ...data })}\n\n`
  }

  private begin(): string {
    if (this.begun) return ""
    this.begun = true
    const response = encodeResponse(this.head, [], null, null)
    return this.event("response.created", { response }) + this.event("response.in_progress", { response })
  }

  private get index(): number {
    return this.output.length
  }

  /** Where an event belongs. */
  private at(id: string) {
    return { item_id: id, output_index: this.index }
  }

  private piece(piece: Piece): string {
    switch (piece._tag) {
      case "Text":
        return piece.text === "" ? "" : this.said("text", piece.text, logprobsOf(piece.logprobs))
      case "Refusal":
        if (piece.text === "") return ""
        this.refused = true
        return this.said("refusal", piece.text, [])
      case "Reasoning":
        return this.thought(piece)
      case "ToolCallStart": {
        const closed = this.close()
        const id = responseId("fc", this.head.requestId, this.index)
        const call = { id: piece.id, name: piece.name, arguments: "", signature: piece.signature ?? null }
        this.open = { _tag: "Call", id, call }
        return closed + this.event("response.output_item.added", { output_index: this.index, item: callItem(id, "in_progress", call) })
      }
      case "ToolCallArguments": {
        if (this.open?._tag !== "Call" || piece.text === "") return ""
        this.open.call.arguments += piece.text
        return this.event("response.function_call_arguments.delta", { ...this.at(this.open.id), delta: piece.text })
      }
      case "Finish":
        this.finish = piece
        return ""
    }
  }

  private said(kind: "text" | "refusal", text: string, logprobs: ReadonlyArray<Json>): string {
    let out = ""
    if (this.open?._tag !== "Message") {
      out += this.close()
      const id = responseId("msg", this.head.requestId, this.index)
      this.open = { _tag: "Message", id, content: [], part: null }
      out += this.event("response.output_item.added", { output_index: this.index, item: messageItem(id, "in_progress", []) })
    }
    const message = this.open
    if (message._tag !== "Message") return out
    const at = () => ({ ...this.at(message.id), content_index: message.content.length })
    if (message.part?.kind !== kind) {
      out += this.closePart()
      message.part = { kind, text: "", logprobs: [] }
      out += this.event("response.content_part.added", { ...at(), part: kind === "text" ? textPart("") : refusalPart("") })
    }
    message.part.text += text
    message.part.logprobs.push(...logprobs)
    return kind === "text"
      ? out + this.event("response.output_text.delta", { ...at(), delta: text, logprobs })
      : out + this.event("response.refusal.delta", { ...at(), delta: text })
  }

  private thought(piece: Extract<InferenceEvent, { _tag: "Reasoning" }>): string {
    const sealed = piece.redacted === undefined ? (piece.signature ?? null) : REDACTED + piece.redacted
    if (piece.text === "" && sealed === null) return ""
    let out = ""
    if (this.open?._tag !== "Reasoning" || piece.redacted !== undefined) {
      out += this.close()
      const id = responseId("rs", this.head.requestId, this.index)
      this.open = { _tag: "Reasoning", id, text: "", sealed: null }
      out += this.event("response.output_item.added", { output_index: this.index, item: reasoningItem(id, "", null) })
    }
    const thought = this.open
    if (thought._tag !== "Reasoning") return out
    if (piece.text !== "") {
      const at = { ...this.at(thought.id), summary_index: 0 }
      if (thought.text === "") {
        out += this.event("response.reasoning_summary_part.added", { ...at, part: { type: "summary_text", text: "" } })
      }
      thought.text += piece.text
      out += this.event("response.reasoning_summary_text.delta", { ...at, delta: piece.text })
    }
    thought.sealed = sealed
    return sealed === null ? out : out + this.close()
  }

  private closePart(): string {
    if (this.open?._tag !== "Message" || this.open.part === null) return ""
    const { content, id, part } = this.open
    const at = { ...this.at(id), content_index: content.length }
    const { logprobs, text } = part
    const whole = part.kind === "text" ? textPart(text, logprobs) : refusalPart(text)
    content.push(whole)
    this.open.part = null
    return (
      (part.kind === "text"
        ? this.event("response.output_text.done", { ...at, text, logprobs })
        : this.event("response.refusal.done", { ...at, refusal: text })) + this.event("response.content_part.done", { ...at, part: whole })
    )
  }

  private close(): string {
    const { open } = this
    if (open === null) return ""
    const out = this.closePart() + this.closing(open)
    const status = this.finish !== null && incompleteReason(this.finish.reason) !== null ? "incomplete" : "completed"
    const item =
      open._tag === "Message"
        ? messageItem(open.id, status, open.content)
        : open._tag === "Reasoning"
          ? reasoningItem(open.id, open.text, open.sealed)
          : callItem(open.id, status, open.call)
    const done = this.event("response.output_item.done", { output_index: this.index, item })
    this.output.push(item)
    this.open = null
    return out + done
  }

  /** What is said of an item before it is done. */
  private closing(open: Open): string {
    if (open._tag === "Call") {
      const { name, arguments: text } = open.call
      return this.event("response.function_call_arguments.done", { ...this.at(open.id), name, arguments: text })
    }
    if (open._tag !== "Reasoning" || open.text === "") return ""
    const at = { ...this.at(open.id), summary_index: 0 }
    return (
      this.event("response.reasoning_summary_text.done", { ...at, text: open.text }) +
      this.event("response.reasoning_summary_part.done", { ...at, part: { type: "summary_text", text: open.text } })
    )
  }
}
