/**
 * Writes answers in the OpenAI chat protocol, whole.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent, Safety } from "../../schemas/Inference.ts"
import type { Json } from "../../schemas/Json.ts"
import type { Usage } from "../../schemas/Usage.ts"
import { type AnswerBlock, foldBlocks, logprobsOf } from "./AnswerBlocks.ts"

/** What every chunk of an answer repeats. `created` in Unix seconds, `model` the canonical id. @category models @since 0.1.0 */
export interface AnswerHead {
  readonly id: string
  readonly created: number
  readonly model: string
}

/** What the request says about the form of its answer. @category models @since 0.1.0 */
export interface AnswerForm {
  /** `functions` instead of `tools`: a call is a `function_call`. */
  readonly legacyFunctions: boolean
  readonly logprobs: boolean
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

/** Said where log probabilities were asked for and the provider gave none. @category encoding @since 0.1.0 */
export const NO_LOGPROBS = "`logprobs` is null: the provider of this answer gives no log probabilities."

/** A closed thought, in OpenRouter's form, to be sent back with the message. @category encoding @since 0.1.0 */
export const thoughtDetail = (index: number, text: string, signature: string) => ({ type: "reasoning.text", index, text, signature })

/** A thought that only its provider can read. @category encoding @since 0.1.0 */
export const sealedDetail = (index: number, data: string) => ({ type: "reasoning.encrypted", index, data })

/** What a provider wants back with a tool call, in the form of Google's own OpenAI-compatible API. @category encoding @since 0.1.0 */
export const signedCall = (signature: string | null | undefined) =>
  signature === null || signature === undefined ? {} : { extra_content: { google: { thought_signature: signature } } }

/** @category encoding @since 0.1.0 */
export const safetyField = (safety: Safety | null) => (safety === null ? {} : { safety })

/** @category encoding @since 0.1.0 */
export const finishReason = (reason: FinishReason, form: AnswerForm): string =>
  reason === "tool_calls" && form.legacyFunctions ? "function_call" : reason

const detailsOf = (blocks: ReadonlyArray<AnswerBlock>) => {
  const thoughts = blocks.filter((block) => block._tag === "Thought" || block._tag === "Redacted")
  const details = thoughts.flatMap((block, index): ReadonlyArray<object> => {
    if (block._tag === "Redacted") return [sealedDetail(index, block.data)]
    return block.signature === null ? [] : [thoughtDetail(index, block.text, block.signature)]
  })
  return details.length === 0 ? {} : { reasoning_details: details }
}

const callsOf = (blocks: ReadonlyArray<AnswerBlock>, form: AnswerForm) => {
  const calls = blocks.filter((block) => block._tag === "ToolCall")
  const [first] = calls
  if (first === undefined) return {}
  if (form.legacyFunctions) return { function_call: { name: first.name, arguments: first.arguments } }
  return {
    tool_calls: calls.map((call) => ({
      id: call.id,
      type: "function",
      function: { name: call.name, arguments: call.arguments },
      ...signedCall(call.signature)
    }))
  }
}

/** The texts of one kind, joined; null where there is none. */
const said = (blocks: ReadonlyArray<AnswerBlock>, kind: "Text" | "Refusal" | "Thought"): string | null => {
  const texts = blocks.flatMap((block) => (block._tag === kind ? [block.text] : []))
  return texts.length === 0 ? null : texts.join("")
}

const logprobsAt = (events: ReadonlyArray<InferenceEvent>, choice: number) => {
  const given: Array<Json> = []
  for (const event of events) {
    if (event._tag === "Text" && event.choice === choice && event.logprobs !== undefined) given.push(event.logprobs)
  }
  if (given.length === 0) return null
  const refusal = given.flatMap((value) => logprobsOf(value, "refusal"))
  return { content: given.flatMap((value) => logprobsOf(value)), refusal: refusal.length === 0 ? null : refusal }
}

const encodeChoice = (events: ReadonlyArray<InferenceEvent>, index: number, form: AnswerForm) => {
  const { blocks, reason, safety } = foldBlocks(events, index)
  const reasoning = said(blocks, "Thought")
  return {
    index,
    message: {
      role: "assistant",
      content: said(blocks, "Text"),
      refusal: said(blocks, "Refusal"),
      ...(reasoning === null || reasoning === "" ? {} : { reasoning_content: reasoning }),
      ...detailsOf(blocks),
      ...callsOf(blocks, form)
    },
    logprobs: logprobsAt(events, index),
    finish_reason: finishReason(reason, form),
    ...safetyField(safety)
  }
}

/** A whole answer as a `chat.completion`. @category encoding @since 0.1.0 */
export const encodeAnswer = (events: ReadonlyArray<InferenceEvent>, head: AnswerHead & { readonly usage: Usage }, form: AnswerForm) => {
  const indexes = new Set<number>()
  for (const event of events) if (event._tag !== "Usage" && event._tag !== "Data") indexes.add(event.choice)
  const choices = [...indexes].sort((a, b) => a - b).map((index) => encodeChoice(events, index, form))
  const lacks = form.logprobs && choices.some((choice) => choice.logprobs === null)
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices,
    usage: encodeUsage(head.usage),
    ...(lacks ? { notes: [NO_LOGPROBS] } : {})
  }
}
