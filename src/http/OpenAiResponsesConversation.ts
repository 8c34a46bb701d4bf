/**
 * The body of `POST /v1/responses` as a conversation. The body was checked before.
 *
 * @since 0.1.0
 */
import type { Conversation, Format, Media, Part, Sampling, TextPart, Thinking, Tool, ToolChoice, Turn } from "../../schemas/Conversation.ts"
import * as Json from "../../schemas/Json.ts"
import { effortOf, isReadable, isText, mediaOf } from "./OpenAiChatConversation.ts"

type Foreign = Conversation["foreign"][number]

/** What marks a thought that only its provider can read, among the thoughts whose signature stands in the same field. @category models @since 0.1.0 */
export const REDACTED = "redacted_thinking."

const fileOf = (part: Json.JsonObject): Media | null => {
  const url = Json.string(part["file_url"])
  if (url !== null) return { _tag: "Url", url }
  const data = Json.string(part["file_data"])
  if (data === null) return null
  return data.startsWith("data:") ? mediaOf(data) : { _tag: "Inline", mediaType: "application/pdf", base64: data }
}

/** One part of a message; null where it has no meaning outside this protocol. */
const partOf = (part: Json.JsonObject): Part | null => {
  switch (part["type"]) {
    case "input_text":
    case "output_text":
    case "text":
      return { _tag: "Text", text: Json.textAt(part, "text") }
    case "refusal":
      return { _tag: "Text", text: Json.textAt(part, "refusal") }
    case "input_image": {
      const url = Json.string(part["image_url"])
      const detail = Json.string(part["detail"])
      return url === null ? null : { _tag: "Image", media: mediaOf(url), ...(detail === null ? {} : { detail }) }
    }
    case "input_file": {
      const media = fileOf(part)
      return media === null ? null : { _tag: "File", media, name: Json.string(part["filename"]) }
    }
    case "input_audio": {
      const audio = Json.objectAt(part, "input_audio")
      return { _tag: "Audio", format: Json.string(audio["format"]) ?? "wav", base64: Json.textAt(audio, "data") }
    }
    default:
      return null
  }
}

interface Content {
  readonly parts: ReadonlyArray<Part>
  readonly foreign: ReadonlyArray<Foreign>
}

const contentOf = (content: Json.Json | undefined, at: string): Content => {
  if (typeof content === "string") return { parts: content === "" ? [] : [{ _tag: "Text", text: content }], foreign: [] }
  const parts: Array<Part> = []
  const foreign: Array<Foreign> = []
  for (const [index, part] of (Json.isArray(content) ? content : []).entries()) {
    const known = Json.isObject(part) ? partOf(part) : null
    if (known === null) foreign.push({ param: `${at}.${index}`, value: part })
    else parts.push(known)
  }
  return { parts, foreign }
}

const thoughtOf = (item: Json.JsonObject): Part => {
  const lines = (key: string) => (Json.isArray(item[key]) ? item[key].filter(Json.isObject).map((part) => Json.textAt(part, "text")) : [])
  const text = [...lines("summary"), ...lines("content")].join("\n")
  const sealed = Json.string(item["encrypted_content"])
  return sealed?.startsWith(REDACTED) === true
    ? { _tag: "Reasoning", text, signature: null, redacted: sealed.slice(REDACTED.length) }
    : { _tag: "Reasoning", text, signature: sealed, redacted: null }
}

/** What one item of the input is. */
type Item =
  | { readonly _tag: "System"; readonly parts: ReadonlyArray<TextPart>; readonly foreign: ReadonlyArray<Foreign> }
  | { readonly _tag: "Turn"; readonly turn: Turn; readonly foreign: ReadonlyArray<Foreign> }
  | { readonly _tag: "Foreign"; readonly foreign: ReadonlyArray<Foreign> }

const assistant = (part: Part): Item => ({ _tag: "Turn", turn: { role: "assistant", parts: [part] }, foreign: [] })

const itemOf = (item: Json.JsonObject, at: string): Item => {
  switch (item["type"] ?? "message") {
    case "message": {
      const { foreign, parts } = contentOf(item["content"], `${at}.content`)
      if (item["role"] === "system" || item["role"] === "developer") return { _tag: "System", parts: parts.filter(isText), foreign }
      return { _tag: "Turn", turn: { role: item["role"] === "assistant" ? "assistant" : "user", parts }, foreign }
    }
    case "reasoning":
      return assistant(thoughtOf(item))
    case "function_call": {
      const signature = Json.string(item["signature"])
      return assistant({
        _tag: "ToolCall",
        id: Json.textAt(item, "call_id"),
        name: Json.textAt(item, "name"),
        arguments: Json.string(item["arguments"]) ?? "{}",
        ...(signature === null ? {} : { signature })
      })
    }
    case "function_call_output": {
      const { foreign, parts } = contentOf(item["output"], `${at}.output`)
      const strange = parts.some((part) => !isReadable(part)) ? [{ param: `${at}.output`, value: item["output"] ?? null }] : []
      const result: Part = { _tag: "ToolResult", id: Json.textAt(item, "call_id"), parts: parts.filter(isReadable), isError: false }
      return { _tag: "Turn", turn: { role: "user", parts: [result] }, foreign: [...foreign, ...strange] }
    }
    default:
      return { _tag: "Foreign", foreign: [{ param: at, value: item }] }
  }
}

const toolOf = (tool: Json.JsonObject): Tool => ({
  name: Json.textAt(tool, "name"),
  description: Json.string(tool["description"]),
  parameters: Json.isObject(tool["parameters"]) ? tool["parameters"] : { type: "object", properties: {} },
  strict: typeof tool["strict"] === "boolean" ? tool["strict"] : null
})

const toolChoiceOf = (choice: Json.Json | undefined): ToolChoice | null => {
  if (choice === "auto" || choice === "none" || choice === "required") return choice
  if (!Json.isObject(choice) || choice["type"] !== "function") return null
  return { name: Json.textAt(choice, "name") }
}

const formatOf = (body: Json.JsonObject): Format => {
  const format = Json.objectAt(Json.objectAt(body, "text"), "format")
  if (format["type"] === "json_object") return { _tag: "Json" }
  if (format["type"] !== "json_schema") return { _tag: "Text" }
  return {
    _tag: "JsonSchema",
    name: Json.string(format["name"]) ?? "answer",
    schema: Json.objectAt(format, "schema"),
    strict: typeof format["strict"] === "boolean" ? format["strict"] : null
  }
}

const thinkingOf = (body: Json.JsonObject): Thinking | null => {
  const effort = effortOf(Json.objectAt(body, "reasoning")["effort"])
  return effort === null ? null : { effort, budgetTokens: null }
}

const numberOf = (value: Json.Json | undefined): number | null => (typeof value === "number" ? value : null)

const samplingOf = (body: Json.JsonObject): Sampling => {
  const include = body["include"]
  return {
    temperature: numberOf(body["temperature"]),
    topP: numberOf(body["top_p"]),
    topK: numberOf(body["top_k"]),
    frequencyPenalty: null,
    presencePenalty: null,
    seed: null,
    stop: [],
    logprobs: Json.isArray(include) && include.includes("message.output_text.logprobs"),
    topLogprobs: numberOf(body["top_logprobs"]),
    logitBias: null
  }
}

const isFunction = (tool: Json.JsonObject): boolean => tool["type"] === "function"

const foreignOf = (body: Json.JsonObject, tools: ReadonlyArray<Json.JsonObject>): ReadonlyArray<Foreign> => {
  const builtIn = tools.find((tool) => !isFunction(tool))
  const choice = body["tool_choice"]
  const verbosity = Json.objectAt(body, "text")["verbosity"]
  return [
    ...(builtIn === undefined ? [] : [{ param: "tools", value: builtIn }]),
    ...(Json.isObject(choice) && choice["type"] !== "function" ? [{ param: "tool_choice", value: choice }] : []),
    ...(verbosity === undefined || verbosity === null || verbosity === "medium" ? [] : [{ param: "text.verbosity", value: verbosity }])
  ]
}

/** @category decoding @since 0.1.0 */
export const toConversation = (body: Json.JsonObject): Conversation => {
  const input = body["input"]
  const list: ReadonlyArray<Json.Json> = Json.isArray(input) ? input : [{ role: "user", content: input ?? "" }]
  const items = list.flatMap((item, index) => (Json.isObject(item) ? [itemOf(item, `input.${index}`)] : []))
  const instructions = Json.string(body["instructions"])
  const tools = (Json.isArray(body["tools"]) ? body["tools"] : []).filter(Json.isObject)
  return {
    system: [
      ...(instructions === null || instructions === "" ? [] : [{ _tag: "Text" as const, text: instructions }]),
      ...items.flatMap((item) => (item._tag === "System" ? item.parts : []))
    ],
    turns: items.flatMap((item) => (item._tag === "Turn" ? [item.turn] : [])),
    tools: tools.filter(isFunction).map(toolOf),
    toolChoice: toolChoiceOf(body["tool_choice"]),
    parallelToolCalls: typeof body["parallel_tool_calls"] === "boolean" ? body["parallel_tool_calls"] : null,
    format: formatOf(body),
    thinking: thinkingOf(body),
    sampling: samplingOf(body),
    user: Json.string(body["user"]) ?? Json.string(body["safety_identifier"]),
    metadata: Json.isObject(body["metadata"]) ? body["metadata"] : null,
    foreign: [...items.flatMap((item) => item.foreign), ...foreignOf(body, tools)]
  }
}
