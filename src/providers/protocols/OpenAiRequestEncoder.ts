/**
 * A request as OpenAI's chat completions take it: the caller's own body where the caller speaks it, else from the
 * conversation.
 *
 * @since 0.1.0
 */
import type { Conversation, Thinking, Tool } from "../../../schemas/Conversation.ts"
import * as Json from "../../../schemas/Json.ts"
import type { ProviderCall } from "../ProviderAdapter.ts"
import { callersWord } from "./CallerWords.ts"
import { withoutGatewayFields } from "./GatewayFields.ts"
import { type Dialect, dialectOf, knowsCompletionTokens } from "./OpenAiDialects.ts"
import { messagesOf, type ThoughtForm } from "./OpenAiMessages.ts"
import { isStrict } from "./SchemaDialects.ts"

/** Usage is always asked for, as it is what is charged. */
const streaming = (options: Json.Json | undefined, dialect: Dialect): Json.JsonObject =>
  dialect.streamOptions
    ? { stream: true, stream_options: { ...(Json.isObject(options) ? options : {}), include_usage: true } }
    : { stream: true }

/** What answers of ours carry for the next turn, and the form of thoughts that takes each. */
const carried: Readonly<Record<string, ThoughtForm | null>> = {
  reasoning_signature: null,
  reasoning_content: "text",
  reasoning: "details",
  reasoning_details: "details"
}

const isCarried = (name: string): boolean => carried[name] !== undefined

const withoutExtras = (call: Json.Json): Json.Json => {
  if (!Json.isObject(call) || call["extra_content"] === undefined) return call
  const { extra_content: _, ...plain } = call
  return plain
}

/** A message without what this provider would refuse. */
const cleaned = (message: Json.Json, dialect: Dialect): Json.Json => {
  if (!Json.isObject(message) || message["role"] !== "assistant") return message
  const calls = message["tool_calls"]
  if (!Object.keys(message).some(isCarried) && !Json.isArray(calls)) return message
  const kept = Object.entries(message).filter(([name]) => !isCarried(name) || carried[name] === dialect.thoughts)
  return { ...Object.fromEntries(kept), ...(Json.isArray(calls) ? { tool_calls: calls.map(withoutExtras) } : {}) }
}

/** The bound on the output by the name that the provider knows. */
const bounds = (call: ProviderCall, dialect: Dialect): Json.JsonObject => {
  const { body } = call.request
  const completion = body["max_completion_tokens"]
  if (call.maxTokens !== null) return { [dialect.bound]: call.maxTokens }
  if (typeof completion === "number" && knowsCompletionTokens(call.provider.definition.slug)) return { max_completion_tokens: completion }
  const bound = completion ?? body["max_tokens"]
  return bound === undefined || bound === null ? {} : { [dialect.bound]: bound }
}

/** The caller's own body with only what must change changed. */
const passedOn = (call: ProviderCall): Json.JsonObject => {
  const { body, stream } = call.request
  const dialect = dialectOf(call)
  const { max_completion_tokens: _, max_tokens: __, stream_options: options, ...rest } = withoutGatewayFields(body)
  const { messages } = rest
  return {
    ...rest,
    model: call.nativeId,
    ...(Json.isArray(messages) ? { messages: messages.map((message) => cleaned(message, dialect)) } : {}),
    ...bounds(call, dialect),
    ...(stream ? streaming(options, dialect) : {})
  }
}

const toolOf = (tool: Tool, dialect: Dialect): Json.JsonObject => ({
  type: "function",
  function: {
    name: tool.name,
    ...(tool.description === null ? {} : { description: tool.description }),
    parameters: tool.parameters,
    ...(tool.strict === null ? {} : { strict: tool.strict })
  },
  ...(dialect.marks && tool.cacheControl !== undefined ? { cache_control: tool.cacheControl } : {})
})

const toolsOf = (conversation: Conversation, dialect: Dialect): Json.JsonObject => {
  const { parallelToolCalls, toolChoice, tools } = conversation
  if (tools.length === 0) return {}
  const choice =
    typeof toolChoice === "object" && toolChoice !== null ? { type: "function", function: { name: toolChoice.name } } : toolChoice
  return {
    tools: tools.map((tool) => toolOf(tool, dialect)),
    ...(choice === null ? {} : { tool_choice: choice }),
    ...(parallelToolCalls === null ? {} : { parallel_tool_calls: parallelToolCalls })
  }
}

const formatOf = (call: ProviderCall, conversation: Conversation): { readonly field: Json.JsonObject; readonly words: string | null } => {
  const { format } = conversation
  if (format._tag === "Text") return { field: {}, words: null }
  if (format._tag === "Json") return { field: { response_format: { type: "json_object" } }, words: null }
  if (call.model.supports.json_schema) {
    const { name, schema, strict } = format
    // What strict mode would refuse is checked here instead.
    const wanted = { name, schema, ...(strict === null ? {} : { strict: strict && isStrict(schema) }) }
    return { field: { response_format: { type: "json_schema", json_schema: wanted } }, words: null }
  }
  const words = `Answer with JSON only, valid against this JSON Schema:\n${JSON.stringify(format.schema)}`
  return { field: { response_format: { type: "json_object" } }, words }
}

const effortOf = ({ budgetTokens, effort }: Thinking): NonNullable<Thinking["effort"]> => {
  if (effort !== null) return effort
  if (budgetTokens === 0) return "none"
  return (budgetTokens ?? 0) <= 2_048 ? "low" : (budgetTokens ?? 0) <= 12_288 ? "medium" : "high"
}

/** The first of OpenAI's families know neither no effort at all nor the highest. */
const openAiEffort = (effort: string, id: string): string => {
  const isEarly = /(^|\/)(o\d|gpt-5($|-))/.test(id)
  if (isEarly && (effort === "none" || effort === "minimal")) return /(^|\/)o\d/.test(id) ? "low" : "minimal"
  return isEarly && effort === "xhigh" ? "high" : effort
}

const thinkingOf = (call: ProviderCall, wanted: Thinking | null, dialect: Dialect): Json.JsonObject => {
  if (wanted === null || !call.model.supports.reasoning) return {}
  const effort = effortOf(wanted)
  if (dialect.isReasoner) return { reasoning_effort: openAiEffort(effort, call.model.id) }
  if (dialect.thoughts === "details") {
    const { budgetTokens } = wanted
    return { reasoning: effort === "none" ? { enabled: false } : budgetTokens === null ? { effort } : { max_tokens: budgetTokens } }
  }
  if (effort === "none") return {}
  return { reasoning_effort: effort === "minimal" ? "low" : effort === "xhigh" ? "high" : effort }
}

const samplingOf = (call: ProviderCall, conversation: Conversation, dialect: Dialect): Json.JsonObject => {
  const { sampling } = conversation
  const fixed = dialect.isReasoner
  return Json.given({
    temperature: fixed ? null : sampling.temperature,
    top_p: fixed ? null : sampling.topP,
    top_k: dialect.topK ? sampling.topK : null,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    seed: sampling.seed,
    stop: fixed || sampling.stop.length === 0 ? null : sampling.stop,
    logprobs: sampling.logprobs ? true : null,
    top_logprobs: sampling.logprobs ? sampling.topLogprobs : null,
    logit_bias: sampling.logitBias,
    n: call.request.choices === 1 ? null : call.request.choices
  })
}

const fromConversation = (call: ProviderCall): Json.JsonObject => {
  const conversation = call.request.conversation()
  const dialect = dialectOf(call)
  const format = formatOf(call, conversation)
  const bound = call.request.maxTokens ?? call.maxTokens
  const systemRole = dialect.isReasoner ? "developer" : "system"
  return {
    model: call.nativeId,
    messages: messagesOf(conversation, format.words, { systemRole, thoughts: dialect.thoughts, marks: dialect.marks }),
    ...toolsOf(conversation, dialect),
    ...samplingOf(call, conversation, dialect),
    ...format.field,
    ...thinkingOf(call, conversation.thinking, dialect),
    ...(bound === null ? {} : { [dialect.bound]: bound }),
    ...(conversation.user === null ? {} : { user: conversation.user }),
    ...(call.request.stream ? streaming(undefined, dialect) : {})
  }
}

/** @category encoding @since 0.1.0 */
export const encodeRequest = (call: ProviderCall): string =>
  JSON.stringify(call.request.protocol === "openai-chat" ? passedOn(call) : fromConversation(call))

/** A file that is an address: only its bytes can be sent. */
const isRemoteFile = (part: Conversation["turns"][number]["parts"][number]): boolean => part._tag === "File" && part.media._tag === "Url"

/** The field that a provider of this protocol cannot do, by the caller's name for it. A body in this protocol goes on as it is. @category encoding @since 0.1.0 */
export const unsupported = (call: ProviderCall): string | null => {
  const { protocol } = call.request
  if (protocol === "openai-chat") return null
  const conversation = call.request.conversation()
  const { sampling } = conversation
  const dialect = dialectOf(call)
  const isOther = (value: number | null) => value !== null && value !== 1
  const word = (): string | null => {
    if (sampling.topK !== null && !dialect.topK) return "top_k"
    if (dialect.isReasoner && isOther(sampling.temperature)) return "temperature"
    if (dialect.isReasoner && isOther(sampling.topP)) return "top_p"
    if (dialect.isReasoner && sampling.stop.length > 0) return "stop"
    if (conversation.turns.some((turn) => turn.parts.some(isRemoteFile))) return "messages"
    return conversation.foreign[0]?.param ?? null
  }
  return callersWord(protocol, word())
}
