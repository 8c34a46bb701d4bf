/**
 * Writes answers in OpenAI's responses protocol, whole.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent, Safety } from "../../schemas/Inference.ts"
import type { Json, JsonObject } from "../../schemas/Json.ts"
import type { Usage } from "../../schemas/Usage.ts"
import { type AnswerBlock, foldBlocks } from "./AnswerBlocks.ts"
import { REDACTED } from "./OpenAiResponsesConversation.ts"

/** @category models @since 0.1.0 */
export interface ResponseHead {
  /** The server's id of the request. */
  readonly requestId: string
  readonly createdAt: number
  readonly model: string
  /** The caller's own body, which an answer repeats in part. */
  readonly body: JsonObject
}

/** The public id of a response, or of its item at `index`. @category constructors @since 0.1.0 */
export const responseId = (prefix: "resp" | "msg" | "rs" | "fc", requestId: string, index?: number): string =>
  `${prefix}_${requestId.replaceAll("-", "")}${index === undefined ? "" : index.toString(16).padStart(4, "0")}`

/** The classes of tokens, as OpenAI counts them. @category encoding @since 0.1.0 */
export const encodeUsage = (usage: Usage) => {
  const input = usage.input + usage.cachedRead + usage.cacheWrite
  const output = usage.output + usage.reasoning
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: usage.cachedRead, cache_write_tokens: usage.cacheWrite },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: usage.reasoning },
    total_tokens: input + output
  }
}

type Status = "in_progress" | "completed" | "incomplete"

/** A content part of a message. @category encoding @since 0.1.0 */
export const textPart = (text: string, logprobs: ReadonlyArray<Json> = []) => ({ type: "output_text", text, annotations: [], logprobs })

/** @category encoding @since 0.1.0 */
export const refusalPart = (refusal: string) => ({ type: "refusal", refusal })

/** An item of the output. @category encoding @since 0.1.0 */
export const messageItem = (id: string, status: Status, content: ReadonlyArray<object>) => ({
  id,
  type: "message",
  status,
  role: "assistant",
  content
})

/** `sealed`: what its provider wants back with it. @category encoding @since 0.1.0 */
export const reasoningItem = (id: string, text: string, sealed: string | null) => ({
  id,
  type: "reasoning",
  summary: text === "" ? [] : [{ type: "summary_text", text }],
  ...(sealed === null ? {} : { encrypted_content: sealed })
})

/** @category models @since 0.1.0 */
export interface Call {
  readonly id: string
  readonly name: string
  readonly arguments: string
  readonly signature: string | null
}

/** @category encoding @since 0.1.0 */
export const callItem = (id: string, status: Status, call: Call) => ({
  id,
  type: "function_call",
  status,
  call_id: call.id,
  name: call.name,
  arguments: call.arguments,
  ...(call.signature === null ? {} : { signature: call.signature })
})

/** How an answer ended. @category models @since 0.1.0 */
export interface Ending {
  readonly reason: FinishReason
  readonly safety: Safety | null
}

/** @category accessors @since 0.1.0 */
export const incompleteReason = (reason: FinishReason): string | null =>
  reason === "length" ? "max_output_tokens" : reason === "content_filter" ? "content_filter" : null

/** The response object around its output; `ending` null while it is in progress. @category encoding @since 0.1.0 */
export const encodeResponse = (
  head: ResponseHead,
  output: ReadonlyArray<object>,
  ending: Ending | null,
  usage: Usage | null
): Readonly<Record<string, unknown>> => {
  const { body } = head
  const reason = ending === null ? null : incompleteReason(ending.reason)
  return {
    id: responseId("resp", head.requestId),
    object: "response",
    created_at: head.createdAt,
    status: ending === null ? "in_progress" : reason === null ? "completed" : "incomplete",
    background: false,
    error: null,
    incomplete_details: reason === null ? null : { reason },
    instructions: body["instructions"] ?? null,
    max_output_tokens: body["max_output_tokens"] ?? null,
    metadata: body["metadata"] ?? {},
    model: head.model,
    output,
    parallel_tool_calls: body["parallel_tool_calls"] ?? true,
    previous_response_id: null,
    reasoning: body["reasoning"] ?? { effort: null, summary: null },
    store: false,
    temperature: body["temperature"] ?? 1,
    text: body["text"] ?? { format: { type: "text" } },
    tool_choice: body["tool_choice"] ?? "auto",
    tools: body["tools"] ?? [],
    top_p: body["top_p"] ?? 1,
    truncation: body["truncation"] ?? "disabled",
    usage: usage === null ? null : encodeUsage(usage),
    user: body["user"] ?? null,
    ...(ending?.safety === undefined || ending.safety === null ? {} : { safety: ending.safety })
  }
}

/** Blocks as items: text and refusals that follow each other are one message. */
const itemsOf = (blocks: ReadonlyArray<AnswerBlock>, requestId: string, status: Status): ReadonlyArray<object> => {
  const items: Array<object> = []
  let content: Array<object> | null = null
  const next = (prefix: "msg" | "rs" | "fc") => responseId(prefix, requestId, items.length)
  for (const block of blocks) {
    if (block._tag === "Text" || block._tag === "Refusal") {
      if (block.text === "") continue
      if (content === null) {
        content = []
        items.push(messageItem(next("msg"), status, content))
      }
      content.push(block._tag === "Text" ? textPart(block.text, block.logprobs) : refusalPart(block.text))
      continue
    }
    content = null
    if (block._tag === "Thought") items.push(reasoningItem(next("rs"), block.text, block.signature))
    else if (block._tag === "Redacted") items.push(reasoningItem(next("rs"), "", REDACTED + block.data))
    else items.push(callItem(next("fc"), status, block))
  }
  return items
}

/** A whole answer as a `response`. @category encoding @since 0.1.0 */
export const encodeAnswer = (events: ReadonlyArray<InferenceEvent>, head: ResponseHead, usage: Usage) => {
  const { blocks, reason, safety } = foldBlocks(events)
  const status = incompleteReason(reason) === null ? "completed" : "incomplete"
  return encodeResponse(head, itemsOf(blocks, head.requestId, status), { reason, safety }, usage)
}
