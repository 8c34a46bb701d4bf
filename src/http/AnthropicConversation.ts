/**
 * The body of `POST /v1/messages` as a conversation, for providers of another protocol. The body was checked before.
 *
 * @since 0.1.0
 */
import type {
  Cached,
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

type Foreign = Conversation["foreign"][number]

const cached = (block: Json.JsonObject): Cached => (Json.isObject(block["cache_control"]) ? { cacheControl: block["cache_control"] } : {})

/** `{type: "base64", media_type, data}` or `{type: "url", url}`; null for a file that only its provider has. */
const mediaOf = (source: Json.JsonObject): Media | null => {
  if (source["type"] === "url") return { _tag: "Url", url: Json.textAt(source, "url") }
  if (source["type"] !== "base64") return null
  return { _tag: "Inline", mediaType: Json.textAt(source, "media_type"), base64: Json.textAt(source, "data") }
}

/** A document: a file, or text and images when that is what it holds. */
const documentOf = (block: Json.JsonObject): ReadonlyArray<Part> | null => {
  const source = Json.objectAt(block, "source")
  const title = Json.string(block["title"])
  const heading: ReadonlyArray<Part> = title === null ? [] : [{ _tag: "Text", text: `# ${title}\n` }]
  if (source["type"] === "text") return [...heading, { _tag: "Text", text: Json.textAt(source, "data"), ...cached(block) }]
  if (source["type"] === "content") return [...heading, ...readable(source["content"])]
  const media = mediaOf(source)
  return media === null ? null : [{ _tag: "File", media, name: title, ...cached(block) }]
}

/** Text and images, wherever nothing else may stand. */
const readable = (content: Json.Json | undefined): ReadonlyArray<TextPart | ImagePart> => {
  if (typeof content === "string") return content === "" ? [] : [{ _tag: "Text", text: content }]
  if (!Json.isArray(content)) return []
  return content.filter(Json.isObject).flatMap((block): ReadonlyArray<TextPart | ImagePart> => {
    if (block["type"] === "text") return [{ _tag: "Text", text: Json.textAt(block, "text"), ...cached(block) }]
    if (block["type"] === "search_result") {
      return [{ _tag: "Text", text: `${Json.textAt(block, "title")} (${Json.textAt(block, "source")})\n` }, ...readable(block["content"])]
    }
    const media = block["type"] === "image" ? mediaOf(Json.objectAt(block, "source")) : null
    return media === null ? [] : [{ _tag: "Image", media, ...cached(block) }]
  })
}

/** The parts of one block; null where it has no meaning outside this protocol. */
const partsOf = (block: Json.JsonObject): ReadonlyArray<Part> | null => {
  switch (block["type"]) {
    case "text":
    case "search_result":
      return readable([block])
    case "image":
      return mediaOf(Json.objectAt(block, "source")) === null ? null : readable([block])
    case "document":
      return documentOf(block)
    case "thinking": {
      const signature = Json.textAt(block, "signature")
      return [{ _tag: "Reasoning", text: Json.textAt(block, "thinking"), signature: signature === "" ? null : signature, redacted: null }]
    }
    case "redacted_thinking":
      return [{ _tag: "Reasoning", text: "", signature: null, redacted: Json.textAt(block, "data") }]
    case "tool_use": {
      const signature = Json.string(block["signature"])
      return [
        {
          _tag: "ToolCall",
          id: Json.textAt(block, "id"),
          name: Json.textAt(block, "name"),
          arguments: JSON.stringify(block["input"] ?? {}),
          ...(signature === null ? {} : { signature }),
          ...cached(block)
        }
      ]
    }
    case "tool_result":
      return [
        {
          _tag: "ToolResult",
          id: Json.textAt(block, "tool_use_id"),
          parts: readable(block["content"]),
          isError: block["is_error"] === true,
          ...cached(block)
        }
      ]
    default:
      return null
  }
}

/** What a tool gave back that is neither text nor an image. */
const strangeResults = (block: Json.JsonObject): ReadonlyArray<Json.Json> => {
  const content = block["type"] === "tool_result" ? block["content"] : undefined
  if (!Json.isArray(content)) return []
  return content.filter(Json.isObject).filter((inner) => readable([inner]).length === 0 && inner["type"] !== "text")
}

const readTurn = (message: Json.JsonObject, at: string): { readonly turn: Turn; readonly foreign: ReadonlyArray<Foreign> } => {
  const role = message["role"] === "assistant" ? "assistant" : "user"
  const content = message["content"]
  if (!Json.isArray(content)) return { turn: { role, parts: readable(content) }, foreign: [] }
  const parts: Array<Part> = []
  const foreign: Array<Foreign> = []
  for (const [index, block] of content.entries()) {
    if (!Json.isObject(block)) continue
    const known = partsOf(block)
    const strange = strangeResults(block)[0]
    if (known === null || strange !== undefined) foreign.push({ param: `${at}.content.${index}`, value: strange ?? block })
    if (known !== null) parts.push(...known)
  }
  return { turn: { role, parts }, foreign }
}

const isCustom = (tool: Json.JsonObject): boolean =>
  tool["type"] === undefined || tool["type"] === null || tool["type"] === "custom" || tool["type"] === "function"

const toolOf = (tool: Json.JsonObject): Tool => ({
  name: Json.textAt(tool, "name"),
  description: Json.string(tool["description"]),
  parameters: Json.isObject(tool["input_schema"]) ? tool["input_schema"] : { type: "object", properties: {} },
  strict: typeof tool["strict"] === "boolean" ? tool["strict"] : null,
  ...cached(tool)
})

const toolChoiceOf = (choice: Json.JsonObject): ToolChoice | null => {
  switch (choice["type"]) {
    case "auto":
      return "auto"
    case "any":
      return "required"
    case "none":
      return "none"
    case "tool":
      return { name: Json.textAt(choice, "name") }
    default:
      return null
  }
}

const efforts = ["low", "medium", "high", "xhigh"] as const

/** `thinking` with its budget, and the effort of `output_config`. Adaptive thinking leaves the amount to the model. */
const thinkingOf = (body: Json.JsonObject): Thinking | null => {
  const thinking = Json.objectAt(body, "thinking")
  const word = Json.objectAt(body, "output_config")["effort"]
  const effort = word === "max" ? "xhigh" : (efforts.find((known) => known === word) ?? null)
  if (thinking["type"] === "disabled") return { effort: null, budgetTokens: 0 }
  const budget = thinking["type"] === "enabled" ? thinking["budget_tokens"] : null
  const budgetTokens = typeof budget === "number" ? budget : null
  return effort === null && budgetTokens === null ? null : { effort, budgetTokens }
}

const formatOf = (body: Json.JsonObject): Format => {
  const format = Json.objectAt(body, "output_config")["format"] ?? body["output_format"]
  if (!Json.isObject(format) || format["type"] !== "json_schema" || !Json.isObject(format["schema"])) return { _tag: "Text" }
  return { _tag: "JsonSchema", name: "answer", schema: format["schema"], strict: true }
}

const numberOf = (value: Json.Json | undefined): number | null => (typeof value === "number" ? value : null)

const samplingOf = (body: Json.JsonObject): Sampling => {
  const stop = body["stop_sequences"]
  return {
    temperature: numberOf(body["temperature"]),
    topP: numberOf(body["top_p"]),
    topK: numberOf(body["top_k"]),
    frequencyPenalty: null,
    presencePenalty: null,
    seed: null,
    stop: Json.isArray(stop) ? stop.filter((item) => typeof item === "string") : [],
    logprobs: false,
    topLogprobs: null,
    logitBias: null
  }
}

/** Fields that mean something only to a provider that speaks this protocol. */
const foreignFields = ["container", "context_management", "mcp_servers"]

/** @category decoding @since 0.1.0 */
export const toConversation = (body: Json.JsonObject): Conversation => {
  const messages = (Json.isArray(body["messages"]) ? body["messages"] : []).filter(Json.isObject)
  const isSystem = (message: Json.JsonObject) => message["role"] === "system"
  const texts = (content: Json.Json | undefined) => readable(content).filter((part) => part._tag === "Text")
  const read = messages.flatMap((message, index) => (isSystem(message) ? [] : [readTurn(message, `messages.${index}`)]))
  const tools = (Json.isArray(body["tools"]) ? body["tools"] : []).filter(Json.isObject)
  const builtIn = tools.find((tool) => !isCustom(tool))
  const choice = Json.objectAt(body, "tool_choice")
  const parallel = choice["disable_parallel_tool_use"]
  return {
    system: [...texts(body["system"]), ...messages.filter(isSystem).flatMap((message) => texts(message["content"]))],
    turns: read.map(({ turn }) => turn),
    tools: tools.filter(isCustom).map(toolOf),
    toolChoice: toolChoiceOf(choice),
    parallelToolCalls: typeof parallel === "boolean" ? !parallel : null,
    format: formatOf(body),
    thinking: thinkingOf(body),
    sampling: samplingOf(body),
    user: Json.string(Json.objectAt(body, "metadata")["user_id"]),
    metadata: null,
    foreign: [
      ...read.flatMap(({ foreign }) => foreign),
      ...(builtIn === undefined ? [] : [{ param: "tools", value: builtIn }]),
      ...foreignFields.flatMap((param) => {
        const value = body[param]
        return value === undefined || value === null || (Json.isArray(value) && value.length === 0) ? [] : [{ param, value }]
      })
    ]
  }
}
