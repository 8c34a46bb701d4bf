/**
 * The request that asks another provider to go on where an answer broke off. Pure.
 *
 * @since 0.1.0
 */
import type { Conversation, Part, Turn } from "../../schemas/Conversation.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { estimateTokens, type Usage } from "../../schemas/Usage.ts"

/**
 * Providers that take an answer's beginning only when it is marked as one; the mark of their assistant message. Others of
 * OpenAI's protocol go on from an assistant message at the end.
 */
const marks: Readonly<Record<string, Json.JsonObject>> = {
  mistral: { prefix: true },
  moonshot: { partial: true },
  "alibaba-cloud": { partial: true }
}

/** Providers that begin a new message after an assistant's, or refuse one at the end. */
const beginAnew: ReadonlyArray<string> = ["openai", "azure-openai", "deepseek", "xai", "perplexity", "cohere"]

/** Whether a provider can be asked to go on from text that was sent: white space alone asks nothing of it. @category predicates @since 0.1.0 */
export const canContinue = (candidate: Candidate, sent: string): boolean =>
  sent.trim() === "" || (candidate.model.supports.prefill && !beginAnew.includes(candidate.provider))

/** Whether what a request asks for survives being made by two: one text without a form to keep or figures for each token. @category predicates @since 0.1.0 */
export const isContinuable = (request: InferenceRequest): boolean => {
  if (request.operation !== "chat" || request.choices !== 1) return false
  const { format, sampling } = request.conversation()
  return format._tag === "Text" && !sampling.logprobs
}

const appendPart = (parts: ReadonlyArray<Part>, text: string): ReadonlyArray<Part> => {
  const last = parts.at(-1)
  return last?._tag === "Text" ? [...parts.slice(0, -1), { ...last, text: last.text + text }] : [...parts, { _tag: "Text", text }]
}

const continueConversation = (conversation: Conversation, text: string): Conversation => {
  const last = conversation.turns.at(-1)
  const turn: Turn = { role: "assistant", parts: appendPart(last?.role === "assistant" ? last.parts : [], text) }
  return { ...conversation, turns: [...(last?.role === "assistant" ? conversation.turns.slice(0, -1) : conversation.turns), turn] }
}

/** The caller's messages with the beginning of the answer at their end; a caller's own beginning stays in front of it. */
const continueMessages = (messages: ReadonlyArray<Json.Json>, text: string, mark: Json.JsonObject): ReadonlyArray<Json.Json> => {
  const last = messages.at(-1)
  if (!Json.isObject(last) || last["role"] !== "assistant") return [...messages, { role: "assistant", content: text, ...mark }]
  const before = last["content"]
  const content = Json.isArray(before) ? [...before, { type: "text", text }] : (Json.string(before) ?? "") + text
  return [...messages.slice(0, -1), { ...last, content, ...mark }]
}

const boundFields = ["max_tokens", "max_completion_tokens", "max_output_tokens"]

const continueBody = (request: InferenceRequest, text: string, provider: string, maxTokens: number | null): Json.JsonObject => {
  const body: Record<string, Json.Json> = { ...request.body }
  for (const field of boundFields) if (typeof body[field] === "number" && maxTokens !== null) body[field] = maxTokens
  if (text === "") return body
  if (Json.isArray(body["messages"])) {
    const mark = request.protocol === "openai-chat" ? (marks[provider] ?? {}) : {}
    body["messages"] = continueMessages(body["messages"], text, mark)
  } else if (request.protocol === "openai-responses") {
    const input = body["input"]
    const items = Json.isArray(input) ? input : [{ role: "user", content: Json.string(input) ?? "" }]
    body["input"] = [...items, { role: "assistant", content: text }]
  }
  return body
}

/** Tokens of a bound that are left once some text was sent; at least one. @category accessors @since 0.1.0 */
export const remaining = (bound: number | null, sent: string): number | null =>
  bound === null ? null : Math.max(1, bound - estimateTokens(sent.length))

/**
 * The request for the rest of an answer. White space at the end of what was sent is not shown: providers refuse it or stumble
 * over it, and the splice finds it again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const continueRequest = (request: InferenceRequest, sent: string, provider: string): InferenceRequest => {
  const text = sent.trim() === "" ? "" : sent.trimEnd()
  const maxTokens = remaining(request.maxTokens, sent)
  return {
    ...request,
    body: continueBody(request, text, provider, maxTokens),
    conversation: () => (text === "" ? request.conversation() : continueConversation(request.conversation(), text)),
    maxTokens,
    promptCharacters: request.promptCharacters + text.length
  }
}

/** What was sent when a provider went on, and characters that it repeated of it. @category models @since 0.1.0 */
export interface Joint {
  readonly sent: string
  readonly repeated: number
}

/**
 * Figures of a provider that continued, as figures of the whole answer: the input, and the output that the caller got. What
 * the provider read of the answer is output, what it repeated is none. Where it divides is estimated.
 *
 * @category accounting
 * @since 0.1.0
 */
export const wholeUsage = (usage: Usage, request: InferenceRequest, { repeated, sent }: Joint): Usage => {
  const read = estimateTokens(sent.trimEnd().length)
  const prompt = estimateTokens(request.promptCharacters)
  // A provider that does not count what it was given to begin with is not made to have read less than the prompt.
  const taken = Math.max(0, Math.min(read, usage.input + usage.cachedRead + usage.cacheWrite - prompt))
  const fromInput = Math.min(taken, usage.input)
  return {
    ...usage,
    input: usage.input - fromInput,
    cachedRead: usage.cachedRead - Math.min(taken - fromInput, usage.cachedRead),
    output: Math.max(0, usage.output - estimateTokens(repeated)) + estimateTokens(sent.length),
    source: "estimated"
  }
}
