/**
 * Writes answers in the OpenAI chat protocol, in pieces.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../schemas/Inference.ts"
import type { Usage } from "../../schemas/Usage.ts"
import { safetyOf } from "./AnswerBlocks.ts"
import {
  type AnswerForm,
  type AnswerHead,
  encodeUsage,
  finishReason,
  NO_LOGPROBS,
  safetyField,
  sealedDetail,
  signedCall,
  thoughtDetail
} from "./OpenAiChatAnswer.ts"

const DONE = "data: [DONE]\n\n"

type Content = Exclude<InferenceEvent, { _tag: "Usage" | "Finish" | "Data" }>

/** What is known of one choice while it is written. */
interface Choice {
  refused: boolean
  logprobs: boolean
  /** The thought that is open, and how many were closed. */
  thought: string
  thoughts: number
}

/**
 * Writes the chunks of one stream, one string for each batch. Each choice begins with the role and has one finish reason;
 * usage comes last, when asked for, and `[DONE]` once.
 *
 * @category encoding
 * @since 0.1.0
 */
export class ChunkEncoder {
  private readonly prefix: string
  private readonly suffix: string
  private readonly includeUsage: boolean
  private readonly form: AnswerForm
  private readonly choices = new Map<number, Choice>()
  private readonly finished = new Set<number>()

  constructor(options: AnswerHead & AnswerForm & { readonly includeUsage: boolean }) {
    this.includeUsage = options.includeUsage
    this.form = options
    // The head of every chunk is the same text: made once, not serialised for each.
    const head = JSON.stringify({ id: options.id, object: "chat.completion.chunk", created: options.created, model: options.model })
    this.prefix = `data: ${head.slice(0, -1)},"choices":[`
    this.suffix = options.includeUsage ? `],"usage":null}\n\n` : "]}\n\n"
  }

  encode(batch: ReadonlyArray<InferenceEvent>): string {
    let text = ""
    for (const event of batch) {
      if (event._tag === "Usage" || event._tag === "Data" || this.finished.has(event.choice)) continue
      text += event._tag === "Finish" ? this.finish(event) : this.content(event)
    }
    return text
  }

  /** The end of a whole stream. */
  end(usage: Usage): string {
    if (!this.includeUsage) return DONE
    return `${this.prefix}],"usage":${JSON.stringify(encodeUsage(usage))}}\n\n${DONE}`
  }

  /** The end of a broken one: the error as an event, no finish reason. */
  error(body: { readonly error: object }): string {
    return `data: ${JSON.stringify(body)}\n\n${DONE}`
  }

  private content(event: Content): string {
    const known = this.choices.get(event.choice)
    // What nearly every piece is.
    if (known !== undefined && event._tag === "Text" && event.logprobs === undefined) {
      return this.chunk(event.choice, `{"content":${JSON.stringify(event.text)}}`, "null", "null")
    }
    const choice = known ?? { refused: false, logprobs: false, thought: "", thoughts: 0 }
    const delta = this.delta(event, choice)
    if (delta === null) return ""
    const logprobs = event._tag === "Text" && event.logprobs !== undefined ? JSON.stringify(event.logprobs) : "null"
    if (logprobs !== "null") choice.logprobs = true
    if (known !== undefined) return this.chunk(event.choice, JSON.stringify(delta), "null", logprobs)
    this.choices.set(event.choice, choice)
    const first = { role: "assistant", ...("content" in delta ? {} : { content: null }), ...delta }
    return this.chunk(event.choice, JSON.stringify(first), "null", logprobs)
  }

  private finish(event: Extract<InferenceEvent, { _tag: "Finish" }>): string {
    const choice = this.choices.get(event.choice)
    const opening = choice === undefined ? this.chunk(event.choice, '{"role":"assistant","content":""}', "null", "null") : ""
    this.finished.add(event.choice)
    const safety = safetyOf(event.reason, event.safety, choice?.refused === true)
    const notes = this.form.logprobs && choice?.logprobs !== true ? { notes: [NO_LOGPROBS] } : {}
    const more = JSON.stringify({ ...safetyField(safety), ...notes }).slice(1, -1)
    const reason = `"${finishReason(event.reason, this.form)}"${more === "" ? "" : `,${more}`}`
    return opening + this.chunk(event.choice, "{}", reason, "null")
  }

  private chunk(choice: number, delta: string, finish: string, logprobs: string): string {
    return `${this.prefix}{"index":${choice},"delta":${delta},"logprobs":${logprobs},"finish_reason":${finish}}${this.suffix}`
  }

  private delta(event: Content, choice: Choice) {
    switch (event._tag) {
      case "Text":
        return { content: event.text }
      case "Refusal":
        choice.refused = true
        return { refusal: event.text }
      case "Reasoning":
        return thoughtDelta(event, choice)
      case "ToolCallStart": {
        const call = { name: event.name, arguments: "" }
        if (this.form.legacyFunctions) return event.index === 0 ? { function_call: call } : null
        return { tool_calls: [{ index: event.index, id: event.id, type: "function", function: call, ...signedCall(event.signature) }] }
      }
      case "ToolCallArguments":
        if (this.form.legacyFunctions) return event.index === 0 ? { function_call: { arguments: event.text } } : null
        return { tool_calls: [{ index: event.index, function: { arguments: event.text } }] }
    }
  }
}

/** Text as it comes; a thought that is closed once more, whole and with what its provider wants back. */
const thoughtDelta = (event: Extract<InferenceEvent, { _tag: "Reasoning" }>, choice: Choice) => {
  if (event.redacted !== undefined) return { reasoning_details: [sealedDetail(choice.thoughts++, event.redacted)] }
  choice.thought += event.text
  if (event.signature === undefined) return { reasoning_content: event.text }
  const details = [thoughtDetail(choice.thoughts++, choice.thought, event.signature)]
  choice.thought = ""
  return event.text === "" ? { reasoning_details: details } : { reasoning_content: event.text, reasoning_details: details }
}
