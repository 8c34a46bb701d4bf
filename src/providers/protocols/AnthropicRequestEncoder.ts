/**
 * A request as Anthropic's Messages API takes it.
 *
 * @since 0.1.0
 */
import type { Conversation, Tool } from "../../../schemas/Conversation.ts"
import * as Json from "../../../schemas/Json.ts"
import type { ProviderCall } from "../ProviderAdapter.ts"
import { isSayable, messagesOf, ownBlocks, systemOf } from "./AnthropicContent.ts"
import { boundOf, planThinking } from "./AnthropicThinking.ts"
import { callersWord } from "./CallerWords.ts"
import { abilitiesOf } from "./ClaudeModels.ts"
import { withoutGatewayFields } from "./GatewayFields.ts"
import { forAnthropic } from "./SchemaDialects.ts"

/** The tool that a model which cannot hold itself to a schema is made to use: its input is the answer. @category data @since 0.1.0 */
export const ANSWER_TOOL = "json_answer"

type Structure =
  | { readonly _tag: "None" }
  | { readonly _tag: "Native"; readonly schema: Json.JsonObject }
  | { readonly _tag: "Tool"; readonly schema: Json.JsonObject }
  | { readonly _tag: "Instruction"; readonly text: string }

const asText = "Answer with JSON only: no words around it, no code fence."

/** How an answer in JSON is brought about; what comes is checked in any case. @category encoding @since 0.1.0 */
export const structureOf = (call: ProviderCall, conversation: Conversation): Structure => {
  const { format } = conversation
  if (format._tag === "Text") return { _tag: "None" }
  if (format._tag === "Json") return { _tag: "Instruction", text: asText }
  const abilities = abilitiesOf(call.nativeId)
  const schema = abilities.structured ? forAnthropic(format.schema) : null
  if (schema !== null) return { _tag: "Native", schema }
  const thinks = conversation.thinking !== null && conversation.thinking.effort !== "none" && conversation.thinking.budgetTokens !== 0
  const free = abilities.forcedTool && conversation.tools.length === 0 && !(thinks && abilities.thinking !== "none")
  if (free && format.schema["type"] === "object") return { _tag: "Tool", schema: format.schema }
  return { _tag: "Instruction", text: `${asText} It must be valid against this JSON Schema:\n${JSON.stringify(format.schema)}` }
}

const isForced = (conversation: Conversation): boolean =>
  conversation.toolChoice === "required" || (typeof conversation.toolChoice === "object" && conversation.toolChoice !== null)

const toolOf = (tool: Tool): Json.JsonObject => ({
  name: tool.name,
  ...(tool.description === null ? {} : { description: tool.description }),
  input_schema: { ...tool.parameters, type: "object" },
  ...(tool.cacheControl === undefined ? {} : { cache_control: tool.cacheControl })
})

/** Tools that the conversation used and that are no longer offered: Anthropic wants them named all the same. */
const usedTools = (conversation: Conversation): ReadonlyArray<string> => [
  ...new Set(conversation.turns.flatMap((turn) => turn.parts.flatMap((part) => (part._tag === "ToolCall" ? [part.name] : []))))
]

const toolsOf = (conversation: Conversation, structure: Structure): Json.JsonObject => {
  if (structure._tag === "Tool") {
    return {
      tools: [{ name: ANSWER_TOOL, description: "Gives the answer.", input_schema: structure.schema }],
      tool_choice: { type: "tool", name: ANSWER_TOOL, disable_parallel_tool_use: true }
    }
  }
  if (conversation.tools.length === 0) {
    const used = usedTools(conversation)
    if (used.length === 0) return {}
    return { tools: used.map((name) => ({ name, input_schema: { type: "object" } })), tool_choice: { type: "none" } }
  }
  const one = conversation.parallelToolCalls === false ? { disable_parallel_tool_use: true } : {}
  const choice = conversation.toolChoice
  const tools = conversation.tools.map(toolOf)
  if (choice === "none") return { tools, tool_choice: { type: "none" } }
  if (choice === "required") return { tools, tool_choice: { type: "any", ...one } }
  if (typeof choice === "object" && choice !== null) return { tools, tool_choice: { type: "tool", name: choice.name, ...one } }
  return choice === null && conversation.parallelToolCalls !== false ? { tools } : { tools, tool_choice: { type: "auto", ...one } }
}

const samplingOf = (call: ProviderCall, conversation: Conversation, thinks: boolean): Json.JsonObject => {
  const { stop, temperature, topK, topP } = conversation.sampling
  const abilities = abilitiesOf(call.nativeId)
  const stops = stop.length === 0 ? {} : { stop_sequences: stop }
  if (thinks || !abilities.sampling) return stops
  const both = temperature !== null && topP !== null
  return {
    ...stops,
    ...(temperature === null ? {} : { temperature: Math.min(1, temperature) }),
    ...(topP === null || (both && !abilities.bothSamplings) ? {} : { top_p: topP }),
    ...(topK === null ? {} : { top_k: topK })
  }
}

const fromConversation = (call: ProviderCall): Json.JsonObject => {
  const conversation = call.request.conversation()
  const structure = structureOf(call, conversation)
  const plan = planThinking(call, conversation, isForced(conversation) || structure._tag === "Tool")
  const system = systemOf(conversation, structure._tag === "Instruction" ? structure.text : null)
  const output: Json.JsonObject = {
    ...(plan.effort === null ? {} : { effort: plan.effort }),
    ...(structure._tag === "Native" ? { format: { type: "json_schema", schema: structure.schema } } : {})
  }
  const thinks = plan.thinking !== null && plan.thinking["type"] !== "disabled"
  return {
    model: call.nativeId,
    max_tokens: plan.maxTokens,
    ...(system === null ? {} : { system }),
    messages: messagesOf(conversation),
    ...toolsOf(conversation, structure),
    ...samplingOf(call, conversation, thinks),
    ...(plan.thinking === null ? {} : { thinking: plan.thinking }),
    ...(Object.keys(output).length === 0 ? {} : { output_config: output }),
    ...(conversation.user === null ? {} : { metadata: { user_id: conversation.user } }),
    ...(call.request.stream ? { stream: true } : {})
  }
}

/** @category encoding @since 0.1.0 */
export const encodeRequest = (call: ProviderCall): string => {
  if (call.request.protocol !== "anthropic-messages") return JSON.stringify(fromConversation(call))
  const { body } = call.request
  const messages = Json.isArray(body["messages"]) ? { messages: body["messages"].map(ownBlocks) } : {}
  return JSON.stringify({ ...withoutGatewayFields(body), ...messages, model: call.nativeId, max_tokens: boundOf(call) })
}

const isSet = (value: number | null): boolean => value !== null && value !== 0

/** What sampling asks for and this generation refuses. */
const unsupportedSampling = (call: ProviderCall, conversation: Conversation): string | null => {
  const { temperature, topK, topP } = conversation.sampling
  const abilities = abilitiesOf(call.nativeId)
  const thinks = planThinking(call, conversation, isForced(conversation)).thinking?.["type"]
  const fixed = !abilities.sampling || thinks === "enabled" || thinks === "adaptive"
  if (temperature !== null && (temperature > 1 || (fixed && temperature !== 1))) return "temperature"
  if (topP !== null && topP !== 1 && (fixed || (temperature !== null && !abilities.bothSamplings))) return "top_p"
  return topK !== null && fixed ? "top_k" : null
}

const unsupportedWord = (call: ProviderCall): string | null => {
  const conversation = call.request.conversation()
  const { sampling } = conversation
  if (call.request.choices > 1) return "n"
  // Chat's own answer has a place to say that there are none.
  if (sampling.logprobs && call.request.protocol !== "openai-chat") return "logprobs"
  if (sampling.seed !== null) return "seed"
  if (sampling.logitBias !== null) return "logit_bias"
  if (isSet(sampling.frequencyPenalty)) return "frequency_penalty"
  if (isSet(sampling.presencePenalty)) return "presence_penalty"
  if (conversation.turns.some((turn) => !turn.parts.every(isSayable))) return "messages"
  return conversation.foreign[0]?.param ?? unsupportedSampling(call, conversation)
}

/** The field that Anthropic cannot do, by the caller's name for it. @category encoding @since 0.1.0 */
export const unsupported = (call: ProviderCall): string | null =>
  call.request.protocol === "anthropic-messages" ? null : callersWord(call.request.protocol, unsupportedWord(call))
