/**
 * What a protocol of the mock must be able to say.
 */
import type { Script } from "./Script.ts"

export type Body = Readonly<Record<string, unknown>>

/** One event of a stream; `event` is its name where the protocol has names. */
export interface StreamEvent {
  readonly event?: string
  readonly data: Readonly<Record<string, unknown>>
}

export interface Spoken {
  readonly unary: (script: Script, body: Body) => Body
  readonly events: (script: Script, body: Body) => ReadonlyArray<StreamEvent>
  /** Events before the first content of an answer. */
  readonly head: number
  /** The event that says an answer broke. */
  readonly error: StreamEvent
  /** Written after the last event. */
  readonly done: string
  readonly failure: (status: number) => Body
}

/** Words of an answer where nothing else is said. */
const DEFAULT_CHUNKS = 5

const isRecord = (value: unknown): value is Body => typeof value === "object" && value !== null

/** The beginning of the answer, where the request ends with one: an assistant's message, or a model's turn. */
export const beginningOf = (body: Body): string => {
  const turns = body["messages"] ?? body["contents"]
  const last: unknown = Array.isArray(turns) ? turns.at(-1) : undefined
  if (!isRecord(last) || (last["role"] !== "assistant" && last["role"] !== "model")) return ""
  const content = last["content"] ?? last["parts"]
  if (typeof content === "string") return content
  return Array.isArray(content) ? content.map((part) => (isRecord(part) ? String(part["text"] ?? "") : "")).join("") : ""
}

/** What of some pieces comes after the beginning; all of them when they begin otherwise. */
const after = (pieces: ReadonlyArray<string>, beginning: string): ReadonlyArray<string> => {
  if (beginning === "" || !pieces.join("").startsWith(beginning)) return pieces
  let left = beginning.length
  return pieces.flatMap((piece) => {
    const cut = Math.min(left, piece.length)
    left -= cut
    return cut === piece.length ? [] : [piece.slice(cut)]
  })
}

/** The pieces of an answer that goes on from `beginning`, at most as many as `bound` tokens. */
export const piecesOf = (script: Script, bound: unknown, beginning = ""): ReadonlyArray<string> => {
  const given = script.restarts === true ? "" : beginning
  if (script.text !== undefined) {
    const size = Math.max(1, Math.ceil(script.text.length / (script.chunks ?? DEFAULT_CHUNKS)))
    return after(script.text.match(new RegExp(`[\\s\\S]{1,${size}}`, "gu")) ?? [], given)
  }
  const words = Array.from({ length: script.chunks ?? DEFAULT_CHUNKS }, (_, i) => `word${i} `)
  return after(words, given).slice(0, typeof bound === "number" ? bound : undefined)
}

/** Pieces of some characters each. */
export const cutInto = (text: string, size: number): ReadonlyArray<string> => text.match(new RegExp(`[\\s\\S]{1,${size}}`, "gu")) ?? []

/** What no public answer may show. */
export const internal = { x_host: "node-7", timings: { queue_ms: 3 }, system_fingerprint: "fp_mock" }
