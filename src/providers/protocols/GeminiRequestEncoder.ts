/**
 * A request as Gemini's `generateContent` takes it.
 *
 * @since 0.1.0
 */
import type { Conversation, Thinking } from "../../../schemas/Conversation.ts"
import * as Json from "../../../schemas/Json.ts"
import type { ProviderCall } from "../ProviderAdapter.ts"
import { callersWord } from "./CallerWords.ts"
import { contentsOf } from "./GeminiContent.ts"
import { forGemini } from "./SchemaDialects.ts"

/** Vertex refuses less. */
const LEAST_VERTEX_OUTPUT = 16

/** Answers of one call, at most. */
const MAX_CANDIDATES = 8

/** The main number of a Gemini's version; 0 for models of other names. */
const generationOf = (nativeId: string): number => Number(/gemini-(\d+)/.exec(nativeId)?.[1] ?? 0)

const has = (nativeId: string, word: string): boolean => nativeId.includes(word)

const budgets = { none: 0, minimal: 512, low: 1_024, medium: 8_192, high: 24_576, xhigh: 24_576 } as const

/** The third generation and later know levels instead of budgets; the first of them no middle one, and the large ones no least. */
const levelOf = (nativeId: string, effort: NonNullable<Thinking["effort"]>): string => {
  const isSmall = has(nativeId, "flash")
  if (effort === "none" || effort === "minimal") return isSmall ? "minimal" : "low"
  if (effort === "medium") return /gemini-3-pro/.test(nativeId) ? "high" : "medium"
  return effort === "xhigh" ? "high" : effort
}

const thinkingOf = (call: ProviderCall, wanted: Thinking | null): Json.JsonObject | null => {
  const { nativeId } = call
  const generation = generationOf(nativeId)
  const thinks = generation >= 3 || /gemini-2\.5/.test(nativeId)
  if (wanted === null || !thinks || has(nativeId, "-image")) return null
  const isOff = wanted.effort === "none" || wanted.budgetTokens === 0
  if (generation >= 3 && wanted.budgetTokens === null) {
    return { thinkingLevel: levelOf(nativeId, wanted.effort ?? "medium"), ...(isOff ? {} : { includeThoughts: true }) }
  }
  const budget = wanted.budgetTokens ?? budgets[wanted.effort ?? "medium"]
  // The large model cannot do without.
  const least = has(nativeId, "pro") ? 128 : has(nativeId, "lite") && budget > 0 ? 512 : 0
  return { thinkingBudget: Math.max(least, budget), ...(isOff ? {} : { includeThoughts: true }) }
}

/** The second generation writes JSON or calls functions, never both. */
const jsonByWords = (call: ProviderCall, conversation: Conversation): boolean =>
  conversation.format._tag !== "Text" && conversation.tools.length > 0 && generationOf(call.nativeId) < 3

const formatOf = (call: ProviderCall, conversation: Conversation): Json.JsonObject => {
  const { format } = conversation
  if (format._tag === "Text" || jsonByWords(call, conversation)) return {}
  return {
    responseMimeType: "application/json",
    ...(format._tag === "JsonSchema" ? { responseJsonSchema: forGemini(format.schema) } : {})
  }
}

const instructionOf = (call: ProviderCall, conversation: Conversation): string | null => {
  if (!jsonByWords(call, conversation)) return null
  const asText = "When you answer, answer with JSON only: no words around it, no code fence."
  return conversation.format._tag === "JsonSchema"
    ? `${asText} It must be valid against this JSON Schema:\n${JSON.stringify(conversation.format.schema)}`
    : asText
}

const configOf = (call: ProviderCall, conversation: Conversation): Json.JsonObject => {
  const { sampling } = conversation
  const bound = call.request.maxTokens ?? call.maxTokens
  const isVertex = call.provider.definition.slug === "google-vertex"
  return {
    ...Json.given({
      temperature: sampling.temperature,
      topP: sampling.topP,
      topK: sampling.topK,
      seed: sampling.seed,
      frequencyPenalty: sampling.frequencyPenalty,
      presencePenalty: sampling.presencePenalty,
      maxOutputTokens: bound !== null && isVertex ? Math.max(LEAST_VERTEX_OUTPUT, bound) : bound,
      stopSequences: sampling.stop.length === 0 ? null : sampling.stop,
      candidateCount: call.request.choices === 1 ? null : Math.min(MAX_CANDIDATES, call.request.choices),
      responseLogprobs: sampling.logprobs ? true : null,
      logprobs: sampling.logprobs ? sampling.topLogprobs : null,
      thinkingConfig: thinkingOf(call, conversation.thinking)
    }),
    ...formatOf(call, conversation)
  }
}

const toolsOf = (conversation: Conversation): Json.JsonObject => {
  const { toolChoice, tools } = conversation
  if (tools.length === 0) return {}
  const functionDeclarations = tools.map((tool) => ({
    name: tool.name,
    ...(tool.description === null ? {} : { description: tool.description }),
    parametersJsonSchema: forGemini({ ...tool.parameters, type: "object" })
  }))
  const mode = { auto: "AUTO", none: "NONE", required: "ANY" }
  const config =
    toolChoice === null
      ? null
      : typeof toolChoice === "object"
        ? { mode: "ANY", allowedFunctionNames: [toolChoice.name] }
        : { mode: mode[toolChoice] }
  return {
    tools: [{ functionDeclarations }],
    ...(config === null ? {} : { toolConfig: { functionCallingConfig: config } })
  }
}

/** @category encoding @since 0.1.0 */
export const encodeRequest = (call: ProviderCall): string => {
  const conversation = call.request.conversation()
  const instruction = instructionOf(call, conversation)
  const system = [...conversation.system.map(({ text }) => text), ...(instruction === null ? [] : [instruction])].filter(
    (text) => text !== ""
  )
  const config = configOf(call, conversation)
  return JSON.stringify({
    contents: contentsOf(conversation, generationOf(call.nativeId) >= 3),
    ...(system.length === 0 ? {} : { systemInstruction: { parts: system.map((text) => ({ text })) } }),
    ...toolsOf(conversation),
    ...(Object.keys(config).length === 0 ? {} : { generationConfig: config })
  })
}

const unsupportedWord = (call: ProviderCall): string | null => {
  const conversation = call.request.conversation()
  if (call.request.choices > MAX_CANDIDATES) return "n"
  if (conversation.sampling.logitBias !== null) return "logit_bias"
  if (conversation.parallelToolCalls === false && conversation.tools.length > 0) return "parallel_tool_calls"
  return conversation.foreign[0]?.param ?? null
}

/** The field that Gemini cannot do, by the caller's name for it. @category encoding @since 0.1.0 */
export const unsupported = (call: ProviderCall): string | null => callersWord(call.request.protocol, unsupportedWord(call))
