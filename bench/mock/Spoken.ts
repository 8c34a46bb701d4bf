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

/** The pieces of an answer, at most as many as `bound` tokens. */
export const piecesOf = (script: Script, bound: unknown): ReadonlyArray<string> => {
  if (script.text !== undefined) {
    const size = Math.max(1, Math.ceil(script.text.length / (script.chunks ?? DEFAULT_CHUNKS)))
    return script.text.match(new RegExp(`[\\s\\S]{1,${size}}`, "gu")) ?? []
  }
  const most = typeof bound === "number" ? bound : Number.POSITIVE_INFINITY
  return Array.from({ length: Math.min(script.chunks ?? DEFAULT_CHUNKS, most) }, (_, i) => `word${i} `)
}

/** Pieces of some characters each. */
export const cutInto = (text: string, size: number): ReadonlyArray<string> => text.match(new RegExp(`[\\s\\S]{1,${size}}`, "gu")) ?? []

/** What no public answer may show. */
export const internal = { x_host: "node-7", timings: { queue_ms: 3 }, system_fingerprint: "fp_mock" }
