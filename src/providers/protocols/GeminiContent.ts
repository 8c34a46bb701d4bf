/**
 * The turns of a conversation as Gemini's contents.
 *
 * @since 0.1.0
 */
import type { Conversation, Media, Part, Turn } from "../../../schemas/Conversation.ts"
import * as Json from "../../../schemas/Json.ts"

/** What marks a signature as Gemini's, so that it reaches no other house's model and no other's reaches Gemini. @category data @since 0.1.0 */
export const SIGNATURE_PREFIX = "gemini:"

/** Google's word for a call that another model made, or that lost its signature. */
const UNSIGNED = "skip_thought_signature_validator"

type GeminiPart = Json.JsonObject

const mediaTypes: Readonly<Record<string, string>> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  heic: "image/heic",
  pdf: "application/pdf",
  txt: "text/plain",
  mp4: "video/mp4",
  mp3: "audio/mp3",
  wav: "audio/wav"
}

const typeOfUrl = (url: string, otherwise: string): string => {
  const extension = /\.([A-Za-z0-9]+)(?:[?#]|$)/.exec(url)?.[1]?.toLowerCase()
  return mediaTypes[extension ?? ""] ?? otherwise
}

const mediaPart = (media: Media, otherwise: string): GeminiPart =>
  media._tag === "Inline"
    ? { inlineData: { mimeType: media.mediaType, data: media.base64 } }
    : { fileData: { mimeType: typeOfUrl(media.url, otherwise), fileUri: media.url } }

const parsed = (text: string): Json.JsonObject => {
  const value = Json.parse(text)
  return Json.isObject(value) ? value : {}
}

/** Ids of other houses, and those made up where Gemini gave none, are not Gemini's to see again. */
const idOf = (id: string) => (/^(call|toolu|fc)_/.test(id) ? {} : { id })

interface Naming {
  /** The names of the tools called so far, by the ids of the calls: Gemini wants results named. */
  readonly names: Map<string, string>
  /** Calls must be signed. */
  readonly isSigned: boolean
}

const bare = (signature: string): string => (signature.startsWith(SIGNATURE_PREFIX) ? signature.slice(SIGNATURE_PREFIX.length) : signature)

const callPart = (part: Extract<Part, { _tag: "ToolCall" }>, signature: string | null): GeminiPart => ({
  functionCall: { ...idOf(part.id), name: part.name, args: parsed(part.arguments) },
  ...(signature === null ? {} : { thoughtSignature: signature })
})

const resultParts = (part: Extract<Part, { _tag: "ToolResult" }>, naming: Naming): ReadonlyArray<GeminiPart> => {
  const text = part.parts.map((inner) => (inner._tag === "Text" ? inner.text : "")).join("")
  const name = naming.names.get(part.id) ?? part.id
  return [
    { functionResponse: { ...idOf(part.id), name, response: part.isError ? { error: text } : { output: text } } },
    ...part.parts.flatMap((inner) => (inner._tag === "Image" ? [mediaPart(inner.media, "image/jpeg")] : []))
  ]
}

/** The parts of one turn; a signature that stood alone belongs to the call that follows it. */
const partsOf = (turn: Turn, naming: Naming): ReadonlyArray<GeminiPart> => {
  let pending: string | null = null
  let calls = 0
  return turn.parts.flatMap((part): ReadonlyArray<GeminiPart> => {
    switch (part._tag) {
      case "Text":
        return part.text === "" ? [] : [{ text: part.text }]
      case "Image":
        return [mediaPart(part.media, "image/jpeg")]
      case "Audio":
        return [{ inlineData: { mimeType: mediaTypes[part.format] ?? `audio/${part.format}`, data: part.base64 } }]
      case "File":
        return [mediaPart(part.media, "application/pdf")]
      case "Reasoning":
        if (part.signature?.startsWith(SIGNATURE_PREFIX) === true) pending = bare(part.signature)
        return []
      case "ToolCall": {
        naming.names.set(part.id, part.name)
        const own: string | null = part.signature === undefined ? pending : bare(part.signature)
        pending = null
        // Only the first of parallel calls is signed.
        return [callPart(part, own ?? (naming.isSigned && calls++ === 0 ? UNSIGNED : null))]
      }
      case "ToolResult":
        return resultParts(part, naming)
    }
  })
}

/** @category encoding @since 0.1.0 */
export const contentsOf = (conversation: Conversation, isSigned: boolean): ReadonlyArray<Json.JsonObject> => {
  const naming: Naming = { names: new Map(), isSigned }
  const contents: Array<{ readonly role: "user" | "model"; readonly parts: Array<GeminiPart> }> = []
  for (const turn of conversation.turns) {
    const role = turn.role === "user" ? "user" : "model"
    const parts = partsOf(turn, naming)
    if (parts.length === 0) continue
    const last = contents.at(-1)
    if (last?.role === role) last.parts.push(...parts)
    else contents.push({ role, parts: [...parts] })
  }
  // A conversation begins with the user.
  if (contents[0]?.role !== "user") contents.unshift({ role: "user", parts: [{ text: "." }] })
  return contents.map(({ parts, role }) => ({ role, parts }))
}
