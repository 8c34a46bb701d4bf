/**
 * How the providers that speak OpenAI's protocol differ in it.
 *
 * @since 0.1.0
 */
import type { ProviderCall } from "../ProviderAdapter.ts"
import type { ThoughtForm } from "./OpenAiMessages.ts"

/** @category models @since 0.1.0 */
export interface Dialect {
  /** The name of the bound on the output. */
  readonly bound: "max_tokens" | "max_completion_tokens"
  /** OpenAI's own reasoning families: fixed sampling, no stops, a developer instead of a system. */
  readonly isReasoner: boolean
  readonly streamOptions: boolean
  readonly thoughts: ThoughtForm
  readonly marks: boolean
  readonly topK: boolean
}

const openAiHosts: ReadonlyArray<string> = ["openai", "azure-openai"]

/** These know both names of the bound, so that a caller's own goes on as it is. */
const knowsBoth: ReadonlyArray<string> = [
  "openai",
  "azure-openai",
  "openrouter",
  "groq",
  "cerebras",
  "vercel-ai-gateway",
  "xai",
  "fireworks"
]

/** These send usage unasked, and refuse to be asked. */
const withoutStreamOptions: ReadonlyArray<string> = ["mistral", "perplexity"]

const withDetails: ReadonlyArray<string> = ["openrouter", "vercel-ai-gateway"]
const withThoughts: ReadonlyArray<string> = [
  "deepseek",
  "moonshot",
  "zai",
  "minimax",
  "xiaomi",
  "alibaba-cloud",
  "fireworks",
  "novita",
  "siliconflow"
]

const isReasonerName = (id: string): boolean => /(^|\/)(o\d|gpt-[5-9])/.test(id)

/** @category accessors @since 0.1.0 */
export const dialectOf = (call: ProviderCall): Dialect => {
  const { slug } = call.provider.definition
  const isOpenAi = openAiHosts.includes(slug)
  const isReasoner = isOpenAi && (isReasonerName(call.nativeId) || isReasonerName(call.model.id))
  return {
    bound: isReasoner ? "max_completion_tokens" : "max_tokens",
    isReasoner,
    streamOptions: !withoutStreamOptions.includes(slug),
    thoughts: withDetails.includes(slug) ? "details" : withThoughts.includes(slug) ? "text" : "none",
    marks: withDetails.includes(slug),
    topK: !isOpenAi
  }
}

/** Whether a caller's `max_completion_tokens` may go on by that name. @category predicates @since 0.1.0 */
export const knowsCompletionTokens = (slug: string): boolean => knowsBoth.includes(slug)
