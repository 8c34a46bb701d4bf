/**
 * Writes answers in the OpenAI chat protocol: one JSON object, or chunks of an event stream.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../schemas/Inference.ts"
import type { Json } from "../../schemas/Json.ts"
import type { Usage } from "../../schemas/Usage.ts"

/** What every chunk of an answer repeats. `created` in Unix seconds, `model` the canonical id. @category models @since 0.1.0 */
export interface AnswerHead {
  readonly id: string
  readonly created: number
  readonly model: string
}

/** The public id of an answer, from the server's id of the request. @category constructors @since 0.1.0 */
export const answerId = (requestId: string): string => `chatcmpl-${requestId.replaceAll("-", "")}`

/** The classes of tokens, as OpenAI counts them. @category encoding @since 0.1.0 */
export const encodeUsage = (usage: Usage) => {
  const prompt = usage.input + usage.cachedRead + usage.cacheWrite
  const completion = usage.output + usage.reasoning
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: usage.cachedRead },
    completion_tokens_details: { reasoning_tokens: usage.reasoning }
  }
}

interface ToolCall {
  readonly id: string
  readonly name: string
  arguments: string
}

interface Choice {
  content: string | null
  refusal: string | null
  reasoning: string
  readonly tools: Map<number, ToolCall>
  readonly logprobs: Array<Json>
  readonly refusalLogprobs: Array<Json>
  hasLogprobs: boolean
  finish: string
}

const isList = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

const listAt = (value: Json, key: string): ReadonlyArray<Json> => {
  if (typeof value !== "object" || value === null || isList(value)) return []
  const list = value[key]
  return isList(list) ? list : []
}

const fold = (events: ReadonlyArray<InferenceEvent>): ReadonlyArray<readonly [number, Choice]> => {
  const choices = new Map<number, Choice>()
  const at = (index: number): Choice => {
    const known = choices.get(index)
    if (known !== undefined) return known
    const fresh = {
      content: null,
      refusal: null,
      reasoning: "",
      tools: new Map(),
      logprobs: [],
      refusalLogprobs: [],
      hasLogprobs: false,
      finish: "stop"
    }
    choices.set(index, fresh)
    return fresh
  }
  for (const event of events) {
    if (event._tag === "Usage" || event._tag === "Data") continue
    const choice = at(event.choice)
    switch (event._tag) {
      case "Text":
        choice.content = (choice.content ?? "") + event.text
        if (event.logprobs !== undefined) {
          choice.hasLogprobs = true
          choice.logprobs.push(...listAt(event.logprobs, "content"))
          choice.refusalLogprobs.push(...listAt(event.logprobs, "refusal"))
        }
        break
      case "Refusal":
        choice.refusal = (choice.refusal ?? "") + event.text
        break
      case "Reasoning":
        choice.reasoning += event.text
        break
      case "ToolCallStart":
        choice.tools.set(event.index, { id: event.id, name: event.name, arguments: "" })
        break
      case "ToolCallArguments": {
        const call = choice.tools.get(event.index)
        if (call !== undefined) call.arguments += event.text
        break
      }
      case "Finish":
        choice.finish = event.reason
        break
    }
  }
  return [...choices.entries()].sort(([a], [b]) => a - b)
}

const encodeChoice = ([index, choice]: readonly [number, Choice]) => {
  const calls = [...choice.tools.entries()].sort(([a], [b]) => a - b).map(([, call]) => call)
  const tools = calls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } }))
  return {
    index,
    message: {
      role: "assistant",
      content: choice.content,
      refusal: choice.refusal,
      ...(choice.reasoning === "" ? {} : { reasoning_content: choice.reasoning }),
      ...(tools.length === 0 ? {} : { tool_calls: tools })
    },
    logprobs: choice.hasLogprobs
      ? { content: choice.logprobs, refusal: choice.refusalLogprobs.length === 0 ? null : choice.refusalLogprobs }
      : null,
    finish_reason: choice.finish
  }
}

/** A whole answer as a `chat.completion`. @category encoding @since 0.1.0 */
export const encodeAnswer = (events: ReadonlyArray<InferenceEvent>, head: AnswerHead & { readonly usage: Usage }) => ({
  id: head.id,
  object: "chat.completion",
  created: head.created,
  model: head.model,
  choices: fold(events).map(encodeChoice),
  usage: encodeUsage(head.usage)
})

const DONE = "data: [DONE]\n\n"

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
  private readonly begun = new Set<number>()
  private readonly finished = new Set<number>()

  constructor(options: AnswerHead & { readonly includeUsage: boolean }) {
    this.includeUsage = options.includeUsage
    // The head of every chunk is the same text: made once, not serialised for each.
    const head = JSON.stringify({ id: options.id, object: "chat.completion.chunk", created: options.created, model: options.model })
    this.prefix = `data: ${head.slice(0, -1)},"choices":[`
    this.suffix = options.includeUsage ? `],"usage":null}\n\n` : "]}\n\n"
  }

  encode(batch: ReadonlyArray<InferenceEvent>): string {
    let text = ""
    for (const event of batch) {
      if (event._tag === "Usage" || event._tag === "Data" || this.finished.has(event.choice)) continue
      if (event._tag === "Finish") {
        text += this.open(event.choice) + this.chunk(event.choice, "{}", `"${event.reason}"`)
        this.finished.add(event.choice)
        continue
      }
      const delta = deltaOf(event)
      if (this.begun.has(event.choice)) text += this.chunk(event.choice, JSON.stringify(delta), "null", event)
      else {
        this.begun.add(event.choice)
        text += this.chunk(
          event.choice,
          JSON.stringify({ role: "assistant", ...("content" in delta ? {} : { content: null }), ...delta }),
          "null",
          event
        )
      }
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

  private open(choice: number): string {
    if (this.begun.has(choice)) return ""
    this.begun.add(choice)
    return this.chunk(choice, '{"role":"assistant","content":""}', "null")
  }

  private chunk(choice: number, delta: string, finish: string, event?: InferenceEvent): string {
    const logprobs = event?._tag === "Text" && event.logprobs !== undefined ? JSON.stringify(event.logprobs) : "null"
    return `${this.prefix}{"index":${choice},"delta":${delta},"logprobs":${logprobs},"finish_reason":${finish}}${this.suffix}`
  }
}

const deltaOf = (event: Exclude<InferenceEvent, { _tag: "Usage" | "Finish" | "Data" }>) => {
  switch (event._tag) {
    case "Text":
      return { content: event.text }
    case "Refusal":
      return { refusal: event.text }
    case "Reasoning":
      return { reasoning_content: event.text }
    case "ToolCallStart":
      return { tool_calls: [{ index: event.index, id: event.id, type: "function", function: { name: event.name, arguments: "" } }] }
    case "ToolCallArguments":
      return { tool_calls: [{ index: event.index, function: { arguments: event.text } }] }
  }
}
