/**
 * The messages of `POST /v1/chat/completions`: their mistakes, and how much there is to read, in one pass.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import * as Json from "../../schemas/Json.ts"
import { type Flaw, mayBeString, needsString, noneOf, notA, notAnObject, refusal, within } from "./Flaw.ts"
import { callsFlaw, functionCallFlaw } from "./OpenAiChatTools.ts"
import { type Read, refuse } from "./RequestFields.ts"

const roles = ["developer", "system", "user", "assistant", "tool", "function"]

/** Whose messages may have no content: who called tools has said enough. */
const mayBeSilent = ["assistant", "function"]

/** What a model reads: text, tool calls, and how many images. @category models @since 0.1.0 */
export interface Measured {
  characters: number
  images: number
}

/** Types of parts that OpenAI knows. */
const parts = ["text", "refusal", "image_url", "input_audio", "file"]

/** Further ones that some provider of this protocol takes; they go on to it as they are. */
const furtherParts = new Set([
  "image",
  "input_image",
  "video_url",
  "video",
  "input_video",
  "audio_url",
  "document",
  "document_url",
  "reference",
  "thinking"
])

const files = ["file_data", "file_id", "file_url"]

/** An address is an object with a `url`; the plain string that some clients send is understood too. */
const addressFlaw = (part: Json.JsonObject, field: string): Flaw | null => {
  const address = part[field]
  if (typeof address === "string") return null
  return within(field, Json.isObject(address) ? needsString(address, "url") : notA("an object", address))
}

const fileFlaw = (file: Json.Json | undefined): Flaw | null => {
  if (!Json.isObject(file)) return notA("an object", file, "file")
  return files.some((field) => typeof file[field] === "string") ? null : notA("a string", file["file_data"], "file.file_data")
}

const audioFlaw = (audio: Json.Json | undefined): Flaw | null =>
  within("input_audio", Json.isObject(audio) ? needsString(audio, "data") : notA("an object", audio))

/** What is wrong with a part of a content; a part without is measured. */
const readPart = (part: Json.Json, into: Measured): Flaw | null => {
  if (!Json.isObject(part)) return notAnObject
  const { text, type } = part
  switch (type) {
    case "text":
      if (typeof text !== "string") return notA("a string", text, "text")
      into.characters += text.length
      return null
    case "image_url":
      into.images++
      return addressFlaw(part, "image_url")
    case "refusal":
      into.characters += Json.textAt(part, "refusal").length
      return needsString(part, "refusal")
    case "input_audio":
      return audioFlaw(part["input_audio"])
    case "file":
      return fileFlaw(part["file"])
    default:
      if (typeof type !== "string") return notA("a string", type, "type")
      if (!furtherParts.has(type)) return noneOf(parts, "type")
      if (type === "image" || type === "input_image") into.images++
      else into.characters += (Json.string(text) ?? "").length
      return null
  }
}

const readParts = (content: ReadonlyArray<Json.Json>, into: Measured): Flaw | null => {
  for (let index = 0; index < content.length; index++) {
    const flaw = readPart(content[index] ?? null, into)
    if (flaw !== null) return within(`content.${index}`, flaw)
  }
  return null
}

const readContent = (role: string, content: Json.Json | undefined, into: Measured): Flaw | null => {
  if (typeof content === "string") {
    into.characters += content.length
    return null
  }
  if (Json.isArray(content)) return readParts(content, into)
  if ((content === undefined || content === null) && mayBeSilent.includes(role)) return null
  return notA("a string or an array of parts", content, "content")
}

/** How much there is to read of a value that is read as JSON. @category measuring @since 0.1.0 */
export const characters = (value: Json.Json | undefined): number =>
  value === undefined || value === null ? 0 : JSON.stringify(value).length

/** What is wrong with a message besides its role; one without flaw is measured. */
const readMessage = (message: Json.JsonObject, role: string, into: Measured): Flaw | null => {
  const { function_call: legacy, reasoning_content: thought, tool_calls: calls } = message
  const flaw =
    readContent(role, message["content"], into) ??
    mayBeString(message, "name") ??
    (role === "tool" ? needsString(message, "tool_call_id") : null) ??
    (calls === undefined || calls === null ? null : within("tool_calls", callsFlaw(calls))) ??
    (legacy === undefined || legacy === null ? null : within("function_call", functionCallFlaw(legacy)))
  if (flaw !== null) return flaw
  into.characters += characters(calls)
  if (typeof thought === "string") into.characters += thought.length
  return null
}

/** @category decoding @since 0.1.0 */
export const readMessages = (body: Json.JsonObject): Read<Measured> => {
  const messages = body["messages"]
  if (messages === undefined) return refuse("`messages` is missing.", "messages", "MISSING_REQUIRED_FIELD")
  if (!Json.isArray(messages)) return refuse("`messages` must be an array.", "messages")
  if (messages.length === 0) return refuse("`messages` must hold at least one message.", "messages", "EMPTY_MESSAGES_ARRAY")
  const measured: Measured = { characters: 0, images: 0 }
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index] ?? null
    if (!Json.isObject(message)) return refusal(`messages.${index}`, notAnObject)
    const { role } = message
    if (typeof role !== "string" || !roles.includes(role)) {
      const at = `messages.${index}.role`
      return refuse(`\`${at}\` must be one of ${roles.join(", ")}.`, at, "INVALID_ROLE")
    }
    const flaw = readMessage(message, role, measured)
    if (flaw !== null) return refusal(`messages.${index}`, flaw)
  }
  return Result.succeed(measured)
}
