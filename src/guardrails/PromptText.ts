/**
 * The words of a request, wherever its protocol has them: read, and replaced.
 *
 * @since 0.1.0
 */
import type { Conversation, Part } from "../../schemas/Conversation.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"

/** Replaces a text; `isJson` where it is the JSON of a tool's arguments. @category models @since 0.1.0 */
export type Rewrite = (text: string, isJson: boolean) => string

/** Fields of a body that a model reads. */
const promptFields = ["messages", "input", "system", "instructions", "prompt"]

/** What stands among them and is no prose: names, references, bytes. */
const structural = new Set([
  "role",
  "type",
  "id",
  "name",
  "model",
  "tool_call_id",
  "tool_use_id",
  "call_id",
  "url",
  "image_url",
  "file_id",
  "file_url",
  "file_data",
  "data",
  "media_type",
  "mime_type",
  "format",
  "detail",
  "status",
  "signature",
  "encrypted_content",
  "cache_control"
])

/** The same value where nothing changed. */
const rewriteJson = (value: Json.Json, rewrite: Rewrite, isJson: boolean): Json.Json => {
  if (typeof value === "string") return rewrite(value, isJson)
  if (Json.isArray(value)) {
    const items = value.map((item) => rewriteJson(item, rewrite, isJson))
    return items.some((item, at) => item !== value[at]) ? items : value
  }
  if (!Json.isObject(value)) return value
  let changed = false
  const entries = Object.entries(value).map(([key, item]): readonly [string, Json.Json] => {
    if (structural.has(key)) return [key, item]
    const rewritten = rewriteJson(item, rewrite, isJson || key === "arguments")
    if (rewritten !== item) changed = true
    return [key, rewritten]
  })
  return changed ? Object.fromEntries(entries) : value
}

const rewriteBody = (body: Json.JsonObject, rewrite: Rewrite): Json.JsonObject => {
  const changes: Record<string, Json.Json> = {}
  for (const field of promptFields) {
    const value = body[field]
    if (value === undefined) continue
    const rewritten = rewriteJson(value, rewrite, false)
    if (rewritten !== value) changes[field] = rewritten
  }
  return Object.keys(changes).length === 0 ? body : { ...body, ...changes }
}

const rewritePart = (part: Part, rewrite: Rewrite): Part => {
  switch (part._tag) {
    case "Text":
    case "Reasoning":
      return { ...part, text: rewrite(part.text, false) }
    case "ToolCall":
      return { ...part, arguments: rewrite(part.arguments, true) }
    case "ToolResult":
      return { ...part, parts: part.parts.map((inner) => (inner._tag === "Text" ? { ...inner, text: rewrite(inner.text, false) } : inner)) }
    default:
      return part
  }
}

const rewriteConversation = (conversation: Conversation, rewrite: Rewrite): Conversation => ({
  ...conversation,
  system: conversation.system.map((part) => ({ ...part, text: rewrite(part.text, false) })),
  turns: conversation.turns.map((turn) => ({ ...turn, parts: turn.parts.map((part) => rewritePart(part, rewrite)) }))
})

/** A request with every text that a model reads rewritten, in its own words and in those of no protocol. @category conversions @since 0.1.0 */
export const rewriteRequest = (request: InferenceRequest, rewrite: Rewrite): InferenceRequest => {
  const body = rewriteBody(request.body, rewrite)
  return body === request.body ? request : { ...request, body, conversation: () => rewriteConversation(request.conversation(), rewrite) }
}

/** What the end user and the tools said, as far as it is text: not what the application's own instructions say. @category accessors @since 0.1.0 */
export const userText = (request: InferenceRequest): string => {
  const texts: Array<string> = []
  if (request.operation !== "chat") {
    rewriteBody(request.body, (text) => {
      texts.push(text)
      return text
    })
    return texts.join("\n")
  }
  for (const { parts, role } of request.conversation().turns) {
    if (role !== "user") continue
    for (const part of parts) {
      if (part._tag === "Text") texts.push(part.text)
      if (part._tag === "ToolResult") for (const inner of part.parts) if (inner._tag === "Text") texts.push(inner.text)
    }
  }
  return texts.join("\n")
}
