/**
 * The turns of a conversation as OpenAI's chat messages.
 *
 * @since 0.1.0
 */
import type { Conversation, Media, Part, TextPart, Turn } from "../../../schemas/Conversation.ts"
import type * as Json from "../../../schemas/Json.ts"

/** How a provider wants thoughts of turns before back: not at all, as text, or in OpenRouter's details. @category models @since 0.1.0 */
export type ThoughtForm = "none" | "text" | "details"

/** @category models @since 0.1.0 */
export interface MessageOptions {
  readonly systemRole: "system" | "developer"
  readonly thoughts: ThoughtForm
  /** Marks of what may be cached are understood. */
  readonly marks: boolean
}

const cacheOf = (part: { readonly cacheControl?: Json.JsonObject }, options: MessageOptions) =>
  options.marks && part.cacheControl !== undefined ? { cache_control: part.cacheControl } : {}

const address = (media: Media): string => (media._tag === "Url" ? media.url : `data:${media.mediaType};base64,${media.base64}`)

const contentPart = (part: Part, options: MessageOptions): ReadonlyArray<Json.JsonObject> => {
  switch (part._tag) {
    case "Text":
      return part.text === "" ? [] : [{ type: "text", text: part.text, ...cacheOf(part, options) }]
    case "Image": {
      const image = { url: address(part.media), ...(part.detail === undefined ? {} : { detail: part.detail }) }
      return [{ type: "image_url", image_url: image, ...cacheOf(part, options) }]
    }
    case "Audio":
      return [{ type: "input_audio", input_audio: { format: part.format, data: part.base64 } }]
    case "File":
      return [{ type: "file", file: { filename: part.name ?? "file", file_data: address(part.media) }, ...cacheOf(part, options) }]
    default:
      return []
  }
}

/** Parts of plain text are one string, as every provider takes it. */
const contentOf = (parts: ReadonlyArray<Part>, options: MessageOptions): Json.Json => {
  const content = parts.flatMap((part) => contentPart(part, options))
  const isPlain = parts.every((part) => part._tag === "Text" && !(options.marks && part.cacheControl !== undefined))
  return isPlain ? parts.map((part) => (part._tag === "Text" ? part.text : "")).join("") : content
}

const systemContent = (parts: ReadonlyArray<TextPart>, options: MessageOptions): Json.Json =>
  options.marks && parts.some((part) => part.cacheControl !== undefined)
    ? parts.flatMap((part) => contentPart(part, options))
    : parts.map((part) => part.text).join("\n\n")

const resultMessages = (part: Extract<Part, { _tag: "ToolResult" }>): Json.JsonObject => ({
  role: "tool",
  tool_call_id: part.id,
  content: part.parts.map((inner) => (inner._tag === "Text" ? inner.text : "")).join("")
})

/** Results are messages of their own, before what the user says along with them; images in results can only be shown by the user. */
const userMessages = (turn: Turn, options: MessageOptions): ReadonlyArray<Json.JsonObject> => {
  const results = turn.parts.filter((part) => part._tag === "ToolResult")
  const shown = results.flatMap((part) => part.parts.filter((inner) => inner._tag === "Image"))
  const said = [...shown, ...turn.parts.filter((part) => part._tag !== "ToolResult")]
  const content = contentOf(said, options)
  return [...results.map(resultMessages), ...(said.length === 0 || content === "" ? [] : [{ role: "user", content }])]
}

const thoughtsOf = (turn: Turn, form: ThoughtForm): Json.JsonObject => {
  const thoughts = turn.parts.filter((part) => part._tag === "Reasoning")
  if (form === "none" || thoughts.length === 0) return {}
  if (form === "text") {
    const text = thoughts.map((part) => part.text).join("")
    return text === "" ? {} : { reasoning_content: text }
  }
  const details = thoughts.map(
    (part, index): Json.JsonObject =>
      part.redacted === null
        ? { type: "reasoning.text", index, text: part.text, ...(part.signature === null ? {} : { signature: part.signature }) }
        : { type: "reasoning.encrypted", index, data: part.redacted }
  )
  return { reasoning_details: details }
}

const assistantMessage = (turn: Turn, options: MessageOptions): Json.JsonObject => {
  const calls = turn.parts.flatMap((part) =>
    part._tag === "ToolCall" ? [{ id: part.id, type: "function", function: { name: part.name, arguments: part.arguments || "{}" } }] : []
  )
  const content = contentOf(
    turn.parts.filter((part) => part._tag === "Text"),
    options
  )
  return {
    role: "assistant",
    content: content === "" && calls.length > 0 ? null : content,
    ...thoughtsOf(turn, options.thoughts),
    ...(calls.length === 0 ? {} : { tool_calls: calls })
  }
}

/** Neighbouring assistant turns are one message: a call and what was said before it belong together. */
const joined = (turns: ReadonlyArray<Turn>): ReadonlyArray<Turn> => {
  const out: Array<Turn> = []
  for (const turn of turns) {
    const last = out.at(-1)
    if (turn.role === "assistant" && last?.role === "assistant") {
      out.pop()
      out.push({ role: "assistant", parts: [...last.parts, ...turn.parts] })
    } else out.push(turn)
  }
  return out
}

/** `instruction`: what the gateway asks on top. @category encoding @since 0.1.0 */
export const messagesOf = (
  conversation: Conversation,
  instruction: string | null,
  options: MessageOptions
): ReadonlyArray<Json.JsonObject> => {
  const system: ReadonlyArray<TextPart> = [
    ...conversation.system,
    ...(instruction === null ? [] : [{ _tag: "Text" as const, text: instruction }])
  ]
  return [
    ...(system.length === 0 ? [] : [{ role: options.systemRole, content: systemContent(system, options) }]),
    ...joined(conversation.turns).flatMap((turn) =>
      turn.role === "assistant" ? [assistantMessage(turn, options)] : userMessages(turn, options)
    )
  ]
}
