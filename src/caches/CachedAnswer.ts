/**
 * A whole answer as caches keep it, and how it is given again. Pure.
 *
 * @since 0.1.0
 */
import { Array as Arr } from "effect"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import { isObject, parse } from "../../schemas/Json.ts"
import type { Candidate } from "../../schemas/Model.ts"

/** @category models @since 0.1.0 */
export interface CachedAnswer {
  readonly model: string
  readonly provider: string
  readonly events: ReadonlyArray<InferenceEvent>
}

/** Whether two events are one said in two breaths. */
const joined = (a: InferenceEvent, b: InferenceEvent): InferenceEvent | null => {
  if (a._tag === "Text" && b._tag === "Text" && a.choice === b.choice && a.logprobs === undefined && b.logprobs === undefined) {
    return { ...a, text: a.text + b.text }
  }
  if (a._tag === "Reasoning" && b._tag === "Reasoning" && a.choice === b.choice && a.signature === undefined) {
    return a.redacted === undefined && b.redacted === undefined ? { ...b, text: a.text + b.text } : null
  }
  if (a._tag === "ToolCallArguments" && b._tag === "ToolCallArguments" && a.choice === b.choice && a.index === b.index) {
    return { ...a, text: a.text + b.text }
  }
  return null
}

/** The same events in as few as may be. @category conversions @since 0.1.0 */
export const compact = (events: ReadonlyArray<InferenceEvent>): ReadonlyArray<InferenceEvent> => {
  const out: Array<InferenceEvent> = []
  for (const event of events) {
    const last = out.at(-1)
    const both = last === undefined ? null : joined(last, event)
    if (both === null) out.push(event)
    else out[out.length - 1] = both
  }
  return out
}

/** Whether an answer is one to keep: every choice ended, and none because of a filter. @category predicates @since 0.1.0 */
export const isWhole = (events: ReadonlyArray<InferenceEvent>, choices: number): boolean => {
  const ends = events.flatMap((event) => (event._tag === "Finish" ? [event] : []))
  if (ends.some((end) => end.reason === "content_filter" || end.safety?.blocked === true)) return false
  return events.some((event) => event._tag === "Data") || new Set(ends.map((end) => end.choice)).size >= choices
}

/** The candidate of a route that gave an answer, or the one of the same model that stands for it. @category accessors @since 0.1.0 */
export const candidateOf = ({ model, provider }: CachedAnswer, candidates: Arr.NonEmptyReadonlyArray<Candidate>): Candidate => {
  const same = candidates.filter((candidate) => candidate.model.id === model)
  return same.find((other) => other.provider === provider) ?? { ...(same[0] ?? candidates[0]), provider }
}

/** Characters of a piece of text when an answer is given in pieces. */
const PIECE = 48

/** The events of an answer in batches, text in pieces, as a provider would have sent them. @category conversions @since 0.1.0 */
export const inPieces = (events: ReadonlyArray<InferenceEvent>): ReadonlyArray<Arr.NonEmptyReadonlyArray<InferenceEvent>> =>
  events.flatMap((event): ReadonlyArray<Arr.NonEmptyReadonlyArray<InferenceEvent>> => {
    if (event._tag !== "Text" || event.logprobs !== undefined || event.text.length <= PIECE) return [[event]]
    // By code points: a piece never ends in the middle of a character.
    return Arr.chunksOf([...event.text], PIECE).map((piece) => [{ ...event, text: piece.join("") }])
  })

const isAnswer = (value: unknown): value is CachedAnswer =>
  typeof value === "object" && value !== null && "model" in value && "provider" in value && "events" in value && Array.isArray(value.events)

/** An answer out of the text it was kept as; null where it is none. @category parsers @since 0.1.0 */
export const read = (text: string): CachedAnswer | null => {
  const value = parse(text)
  return isObject(value) && isAnswer(value) ? value : null
}
