/**
 * The body of `POST /v1/chat/completions` as a conversation, for providers of another protocol. The body was checked before.
 *
 * @since 0.1.0
 */
import type {
  Conversation,
  Format,
  ImagePart,
  Media,
  Part,
  Sampling,
  TextPart,
  Thinking,
  Tool,
  ToolChoice,
  Turn
} from "../../schemas/Conversation.ts"
import * as Json from "../../schemas/Json.ts"

/** An address, or the bytes inside a `data:` one. @category decoding @since 0.1.0 */
export const mediaOf = (url: string): Media => {
  const inline = /^data:([^;,]*)(?:;[^;,]*)*;base64,/.exec(url)
  return inline === null
    ? { _tag: "Url", url }
    : { _tag: "Inline", mediaType: inline[1] || "application/octet-stream", base64: url.slice(inline[0].length) }
}

const cached = (part: Json.JsonObject) => (Json.isObject(part["cache_control"]) ? { cacheControl: part["cache_control"] } : {})

const partOf = (part: Json.Json): Part | null => {
  if (!Json.isObject(part)) return null
  switch (part["type"]) {
    case "text":
      return { _tag: "Text", text: Json.string(part["text"]) ?? "", ...cached(part) }
    case "refusal":
      return { _tag: "Text", text: Json.string(part["refusal"]) ?? "" }
    case "image_url": {
      const image = part["image_url"]
      const url = Json.isObject(image) ? Json.string(image["url"]) : Json.string(image)
      const detail = Json.isObject(image) ? Json.string(image["detail"]) : null
      return url === null ? null : { _tag: "Image", media: mediaOf(url), ...(detail === null ? {} : { detail }), ...cached(part) }
    }
    case "input_audio": {
      const audio = Json.isObject(part["input_audio"]) ? part["input_audio"] : {}
      return { _tag: "Audio", format: Json.string(audio["format"]) ?? "wav", base64: Json.string(audio["data"]) ?? "" }
    }
    case "file": {
      const file = Json.isObject(part["file"]) ? part["file"] : {}
      const data = Json.string(file["file_data"])
      return data === null ? null : { _tag: "File", media: mediaOf(data), name: Json.string(file["filename"]), ...cached(part) }
    }
    default:
      return null
  }
}

const partsOf = (content: Json.Json | undefined): ReadonlyArray<Part> => {
  if (!Json.isArray(content)) return typeof content === "string" && content !== "" ? [{ _tag: "Text", text: content }] : []
  return content.flatMap((part) => {
    const known = partOf(part)
    return known === null ? [] : [known]
  })
}

/** @category predicates @since 0.1.0 */
export const isText = (part: Part): part is TextPart => part._tag === "Text"

/** What may stand in the result of a tool. @category predicates @since 0.1.0 */
export const isReadable = (part: Part): part is TextPart | ImagePart => part._tag === "Text" || part._tag === "Image"

/** What a provider wants back with a tool call, in the form of Google's own OpenAI-compatible API. */
const signatureOf = (call: Json.JsonObject): { readonly signature?: string } => {
  const extra = Json.isObject(call["extra_content"]) ? call["extra_content"]["google"] : undefined
  const signature = Json.isObject(extra) ? Json.string(extra["thought_signature"]) : null
  return signature === null ? {} : { signature }
}

/** `legacyId` names the call of a `function_call`, which has no id of its own. */
const toolCallsOf = (message: Json.JsonObject, legacyId: string): ReadonlyArray<Part> => {
  const calls = message["tool_calls"]
  const legacy = message["function_call"]
  const all = Json.isArray(calls) ? calls : Json.isObject(legacy) ? [{ id: legacyId, function: legacy }] : []
  return all.flatMap((call, position): ReadonlyArray<Part> => {
    const fn = Json.isObject(call) ? call["function"] : undefined
    if (!Json.isObject(call) || !Json.isObject(fn)) return []
    const id = Json.string(call["id"]) ?? `${legacyId}_${position}`
    const name = Json.string(fn["name"]) ?? ""
    return [{ _tag: "ToolCall", id, name, arguments: Json.string(fn["arguments"]) ?? "{}", ...signatureOf(call) }]
  })
}

/** Thoughts with what their provider wants back, in OpenRouter's form; one of another form says nothing here. */
const detailOf = (detail: Json.Json): ReadonlyArray<Part> => {
  if (!Json.isObject(detail)) return []
  const data = detail["type"] === "reasoning.encrypted" ? Json.string(detail["data"]) : null
  if (data !== null) return [{ _tag: "Reasoning", text: "", signature: null, redacted: data }]
  const text = detail["type"] === "reasoning.text" ? Json.string(detail["text"]) : null
  return text === null ? [] : [{ _tag: "Reasoning", text, signature: Json.string(detail["signature"]), redacted: null }]
}

const thoughtsOf = (message: Json.JsonObject): ReadonlyArray<Part> => {
  const details = message["reasoning_details"]
  const known = Json.isArray(details) ? details.flatMap(detailOf) : []
  if (known.length > 0) return known
  const text = Json.string(message["reasoning_content"]) ?? Json.string(message["reasoning"])
  return text === null || text === ""
    ? []
    : [{ _tag: "Reasoning", text, signature: Json.string(message["reasoning_signature"]), redacted: null }]
}

/** `calls`: how many a `function_call` has made before. */
const turnOf = (message: Json.JsonObject, calls: number): Turn => {
  switch (message["role"]) {
    case "assistant":
      return {
        role: "assistant",
        parts: [...thoughtsOf(message), ...partsOf(message["content"] ?? message["refusal"]), ...toolCallsOf(message, `call_${calls}`)]
      }
    case "tool":
    case "function": {
      const id = Json.string(message["tool_call_id"]) ?? `call_${calls - 1}`
      return { role: "user", parts: [{ _tag: "ToolResult", id, parts: partsOf(message["content"]).filter(isReadable), isError: false }] }
    }
    default:
      return { role: "user", parts: partsOf(message["content"]) }
  }
}

const toolOf = (tool: Json.Json): ReadonlyArray<Tool> => {
  const fn = Json.isObject(tool)
    ? tool["type"] === "function"
      ? tool["function"]
      : tool["type"] === undefined
        ? tool
        : undefined
    : undefined
  if (!Json.isObject(tool) || !Json.isObject(fn)) return []
  return [
    {
      name: Json.string(fn["name"]) ?? "",
      description: Json.string(fn["description"]),
      parameters: Json.isObject(fn["parameters"]) ? fn["parameters"] : { type: "object", properties: {} },
      strict: typeof fn["strict"] === "boolean" ? fn["strict"] : null,
      ...cached(tool)
    }
  ]
}

const toolChoiceOf = (choice: Json.Json | undefined): ToolChoice | null => {
  if (choice === "auto" || choice === "none" || choice === "required") return choice
  if (!Json.isObject(choice)) return null
  const name = Json.string(Json.isObject(choice["function"]) ? choice["function"]["name"] : choice["name"])
  return name === null ? null : { name }
}

const formatOf = (format: Json.Json | undefined): Format => {
  if (!Json.isObject(format)) return { _tag: "Text" }
  if (format["type"] === "json_object") return { _tag: "Json" }
  const wanted = format["json_schema"]
  if (format["type"] !== "json_schema" || !Json.isObject(wanted)) return { _tag: "Text" }
  return {
    _tag: "JsonSchema",
    name: Json.string(wanted["name"]) ?? "answer",
    schema: Json.isObject(wanted["schema"]) ? wanted["schema"] : {},
    strict: typeof wanted["strict"] === "boolean" ? wanted["strict"] : null
  }
}

const efforts = ["none", "minimal", "low", "medium", "high", "xhigh"] as const

/** How much a model may think, in OpenAI's words. @category data @since 0.1.0 */
export const effortWords: ReadonlyArray<string> = [...efforts, "max"]

/** The most that other protocols have a word for stands for `max`; null for what is no word of OpenAI's. @category decoding @since 0.1.0 */
export const effortOf = (word: Json.Json | undefined): Thinking["effort"] =>
  word === "max" ? "xhigh" : (efforts.find((known) => known === word) ?? null)

/** `reasoning_effort`, or OpenRouter's `reasoning: {effort, max_tokens}`. */
const thinkingOf = (body: Json.JsonObject): Thinking | null => {
  const reasoning = Json.isObject(body["reasoning"]) ? body["reasoning"] : {}
  const word = body["reasoning_effort"] ?? reasoning["effort"]
  const effort = effortOf(word)
  const budgetTokens = numberOf(reasoning["max_tokens"])
  return effort === null && budgetTokens === null ? null : { effort, budgetTokens }
}

const numberOf = (value: Json.Json | undefined): number | null => (typeof value === "number" ? value : null)

/** One that shifts nothing is none. */
const biasOf = (bias: Json.Json | undefined): Json.JsonObject | null => (Json.isObject(bias) && Object.keys(bias).length > 0 ? bias : null)

const samplingOf = (body: Json.JsonObject): Sampling => {
  const stop = body["stop"]
  return {
    temperature: numberOf(body["temperature"]),
    topP: numberOf(body["top_p"]),
    topK: numberOf(body["top_k"]),
    frequencyPenalty: numberOf(body["frequency_penalty"]),
    presencePenalty: numberOf(body["presence_penalty"]),
    seed: numberOf(body["seed"]),
    stop: Json.isArray(stop) ? stop.filter((item) => typeof item === "string") : typeof stop === "string" ? [stop] : [],
    logprobs: body["logprobs"] === true,
    topLogprobs: numberOf(body["top_logprobs"]),
    logitBias: biasOf(body["logit_bias"])
  }
}

/** Fields that mean something only to a provider that speaks this protocol. */
const foreignFields = ["audio", "modalities", "prediction", "web_search_options", "verbosity"]

const foreignOf = (body: Json.JsonObject): Conversation["foreign"] => {
  const tools = Json.isArray(body["tools"]) ? body["tools"] : []
  const builtIn = tools.find((tool) => Json.isObject(tool) && tool["type"] !== undefined && tool["type"] !== "function")
  const choice = body["tool_choice"]
  const isPlain = !Json.isObject(choice) || choice["type"] === "function"
  return [
    ...foreignFields.flatMap((param) => {
      const value = body[param]
      const usual = param === "modalities" && Json.isArray(value) && value.every((item) => item === "text")
      return value === undefined || value === null || usual ? [] : [{ param, value }]
    }),
    ...(builtIn === undefined ? [] : [{ param: "tools", value: builtIn }]),
    ...(isPlain ? [] : [{ param: "tool_choice", value: choice }])
  ]
}

/** Parts and calls of a message that its turn cannot have. */
const foreignIn = (message: Json.JsonObject, at: string): Conversation["foreign"] => {
  const { content, role, tool_calls: calls } = message
  const canHave = (part: Part | null): boolean =>
    part !== null && (isSystem(message) ? isText(part) : role === "tool" || role === "function" ? isReadable(part) : true)
  const parts = Json.isArray(content) ? content : []
  return [
    ...parts.flatMap((value, index) => (canHave(partOf(value)) ? [] : [{ param: `${at}.content.${index}`, value }])),
    ...(Json.isArray(calls) ? calls : []).flatMap((value, index) =>
      Json.isObject(value) && Json.isObject(value["function"]) ? [] : [{ param: `${at}.tool_calls.${index}`, value }]
    )
  ]
}

const isSystem = (message: Json.JsonObject): boolean => message["role"] === "system" || message["role"] === "developer"

const readTurns = (messages: ReadonlyArray<Json.JsonObject>): ReadonlyArray<Turn> => {
  let calls = 0
  return messages.map((message) => {
    const turn = turnOf(message, calls)
    if (Json.isObject(message["function_call"])) calls++
    return turn
  })
}

/** @category decoding @since 0.1.0 */
export const toConversation = (body: Json.JsonObject): Conversation => {
  const messages = (Json.isArray(body["messages"]) ? body["messages"] : []).filter(Json.isObject)
  const tools = body["tools"] ?? body["functions"]
  return {
    system: messages.filter(isSystem).flatMap((message) => partsOf(message["content"]).filter(isText)),
    turns: readTurns(messages.filter((message) => !isSystem(message))),
    tools: Json.isArray(tools) ? tools.flatMap(toolOf) : [],
    toolChoice: toolChoiceOf(body["tool_choice"] ?? body["function_call"]),
    parallelToolCalls: typeof body["parallel_tool_calls"] === "boolean" ? body["parallel_tool_calls"] : null,
    format: formatOf(body["response_format"]),
    thinking: thinkingOf(body),
    sampling: samplingOf(body),
    user: Json.string(body["user"]) ?? Json.string(body["safety_identifier"]),
    metadata: Json.isObject(body["metadata"]) ? body["metadata"] : null,
    foreign: [...messages.flatMap((message, index) => foreignIn(message, `messages.${index}`)), ...foreignOf(body)]
  }
}
