/**
 * The turns of a conversation as Anthropic's content blocks: alternating, results of tools first, nothing empty.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import { Base64 } from "effect/encoding"
import type { Conversation, Media, Part, TextPart } from "../../../schemas/Conversation.ts"
import * as Json from "../../../schemas/Json.ts"

type Block = Record<string, Json.Json>

const cacheOf = (part: { readonly cacheControl?: Json.JsonObject }) =>
  part.cacheControl === undefined ? {} : { cache_control: part.cacheControl }

const textBlock = (part: TextPart): ReadonlyArray<Block> => (part.text === "" ? [] : [{ type: "text", text: part.text, ...cacheOf(part) }])

const sourceOf = (media: Media): Json.JsonObject =>
  media._tag === "Url" ? { type: "url", url: media.url } : { type: "base64", media_type: media.mediaType, data: media.base64 }

/** The text of a plain file; null where it is none. */
const plainText = (media: Media): string | null => {
  if (media._tag === "Url" || !/^text\/|^application\/(json|xml)/.test(media.mediaType)) return null
  return Result.getOrNull(Base64.decodeString(media.base64))
}

/** Whether a part can be said in this protocol: sounds and files of other kinds cannot. @category predicates @since 0.1.0 */
export const isSayable = (part: Part): boolean => {
  if (part._tag === "Audio") return false
  if (part._tag !== "File" || part.media._tag === "Url") return true
  return part.media.mediaType === "application/pdf" || plainText(part.media) !== null
}

const fileBlock = (part: Extract<Part, { _tag: "File" }>): ReadonlyArray<Block> => {
  const title = part.name === null ? {} : { title: part.name }
  const text = plainText(part.media)
  if (text !== null) {
    const source = { type: "text", media_type: "text/plain", data: text }
    return [{ type: "document", source, ...title, ...cacheOf(part) }]
  }
  return isSayable(part) ? [{ type: "document", source: sourceOf(part.media), ...title, ...cacheOf(part) }] : []
}

/** Anthropic's ids have only these characters; one id always becomes the same other one. */
const idOf = (id: string): string => id.replace(/[^A-Za-z0-9_-]/g, "_") || "call"

const inputOf = (text: string): Json.JsonObject => {
  const input = Json.parse(text)
  return Json.isObject(input) ? input : {}
}

/** Thoughts of another house's model would be taken for forged ones. */
const isOwnSignature = (signature: string): boolean => !signature.startsWith("gemini:")

const blocksOf = (part: Part): ReadonlyArray<Block> => {
  switch (part._tag) {
    case "Text":
      return textBlock(part)
    case "Image":
      return [{ type: "image", source: sourceOf(part.media), ...cacheOf(part) }]
    case "Audio":
      return []
    case "File":
      return fileBlock(part)
    case "Reasoning":
      if (part.redacted !== null) return [{ type: "redacted_thinking", data: part.redacted }]
      return part.signature === null || !isOwnSignature(part.signature)
        ? []
        : [{ type: "thinking", thinking: part.text, signature: part.signature }]
    case "ToolCall":
      return [{ type: "tool_use", id: idOf(part.id), name: part.name, input: inputOf(part.arguments), ...cacheOf(part) }]
    case "ToolResult":
      return [
        {
          type: "tool_result",
          tool_use_id: idOf(part.id),
          content: part.parts.flatMap(blocksOf),
          ...(part.isError ? { is_error: true } : {}),
          ...cacheOf(part)
        }
      ]
  }
}

interface Message {
  readonly role: "user" | "assistant"
  readonly content: Array<Block>
}

/** A conversation begins with the user. */
const OPENING: Block = { type: "text", text: "." }

/** The text that the answer is to go on from must not end in white space. */
const trimEnd = (message: Message | undefined): void => {
  const last = message?.role === "assistant" ? message.content.at(-1) : undefined
  if (last !== undefined && typeof last["text"] === "string") last["text"] = last["text"].trimEnd()
}

const isResult = (block: Block): boolean => block["type"] === "tool_result"

/** @category encoding @since 0.1.0 */
export const messagesOf = (conversation: Conversation): ReadonlyArray<Json.JsonObject> => {
  const messages: Array<Message> = []
  for (const turn of conversation.turns) {
    const blocks = turn.parts.flatMap(blocksOf)
    if (blocks.length === 0) continue
    const last = messages.at(-1)
    if (last?.role === turn.role) last.content.push(...blocks)
    else messages.push({ role: turn.role, content: blocks })
  }
  if (messages[0]?.role !== "user") messages.unshift({ role: "user", content: [{ ...OPENING }] })
  trimEnd(messages.at(-1))
  return messages.map(({ content, role }) => ({
    role,
    content: role === "user" ? [...content.filter(isResult), ...content.filter((block) => !isResult(block))] : content
  }))
}

/** The system prompt; null when there is none. @category encoding @since 0.1.0 */
export const systemOf = (conversation: Conversation, instruction: string | null): ReadonlyArray<Json.JsonObject> | null => {
  const blocks = [...conversation.system.flatMap(textBlock), ...(instruction === null ? [] : [{ type: "text", text: instruction }])]
  return blocks.length === 0 ? null : blocks
}

/** A block of an Anthropic caller's own, unless it came from another house's model: no thought of that, no signature on a call. */
const ownBlock = (block: Json.Json): ReadonlyArray<Json.Json> => {
  if (!Json.isObject(block)) return [block]
  if (block["type"] === "thinking") {
    const signature = Json.string(block["signature"])
    return signature !== null && (signature === "" || !isOwnSignature(signature)) ? [] : [block]
  }
  if (block["type"] !== "tool_use" || block["signature"] === undefined) return [block]
  const { signature: _, ...call } = block
  return [call]
}

/** A message of an Anthropic caller's as it goes on to Anthropic. @category encoding @since 0.1.0 */
export const ownBlocks = (message: Json.Json): Json.Json =>
  Json.isObject(message) && message["role"] === "assistant" && Json.isArray(message["content"])
    ? { ...message, content: message["content"].flatMap(ownBlock) }
    : message
