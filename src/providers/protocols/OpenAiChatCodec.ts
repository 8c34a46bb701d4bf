/**
 * The OpenAI chat protocol as providers speak it: synchronous steps from a request to bytes and from bytes to events.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent } from "../../../schemas/Inference.ts"
import * as Json from "../../../schemas/Json.ts"
import type { ProviderAnswer } from "../../../schemas/Provider.ts"
import { SseParser } from "../../streams/Sse.ts"
import { type AnswerDecoder, type Decoded, fault } from "./AnswerDecoding.ts"
import { decodeUsage, finishEvent, pushText, pushToolCalls } from "./OpenAiMessageReader.ts"
import { RepeatedChunk } from "./RepeatedChunk.ts"

/** Reasons that an answer may have for being empty. */
const isExcuse = (reason: FinishReason): boolean => reason === "content_filter" || reason === "length"

/** Why a choice ended; null where nothing is said. */
const reasonOf = (choice: Json.JsonObject): string | null => {
  const reason = Json.string(choice["finish_reason"])
  return reason === "" ? null : reason
}

/** What an error object, or an error that is only text, says. @category decoding @since 0.1.0 */
export const errorText = (value: Json.Json): string =>
  (Json.isObject(value) ? Json.string(value["message"]) : Json.string(value)) ?? "the provider reported an error"

/**
 * A whole answer. An answer without content is empty unless its finish reason says why there is none.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeAnswer = (text: string): Decoded => {
  const events: Array<InferenceEvent> = []
  const body = Json.parse(text)
  if (!Json.isObject(body)) return { events, fault: fault("malformed", "the answer is not a JSON object") }
  const error = body["error"]
  if (error !== undefined && error !== null) return { events, fault: fault("reported", errorText(error)) }
  const choices = body["choices"]
  if (!Json.isArray(choices) || choices.length === 0) return { events, fault: fault("empty", "the answer has no choices") }
  const begun = new Set<string>()
  for (const [position, choice] of choices.entries()) {
    if (!Json.isObject(choice)) return { events, fault: fault("malformed", "a choice is not an object") }
    const index = typeof choice["index"] === "number" ? choice["index"] : position
    const before = events.length
    if (Json.isObject(choice["message"])) {
      pushText(events, index, choice["message"], choice["logprobs"])
      pushToolCalls(events, index, choice["message"], begun)
    }
    const reason = reasonOf(choice)
    // The answer is whole; a few leave out why it ended, which is then no other than its end.
    if (reason === null && events.length === before)
      return { events, fault: fault("cut", "a choice has neither content nor a finish reason") }
    const finish = finishEvent(index, reason ?? "stop", choice, begun)
    if (finish === null) return { events, fault: fault("reported", `a choice ended with ${reason}`) }
    if (events.length === before && !isExcuse(finish.reason)) return { events, fault: fault("empty", "a choice has no content") }
    events.push(finish)
  }
  const usage = decodeUsage(body["usage"])
  if (usage !== null) events.push({ _tag: "Usage", usage })
  return { events, fault: null }
}

/**
 * The state of one stream: bytes in, events out, one batch for each read. Nothing after `[DONE]` counts.
 *
 * @category decoding
 * @since 0.1.0
 */
export class StreamDecoder implements AnswerDecoder {
  private readonly sse = new SseParser()
  private readonly begun = new Set<string>()
  private readonly finished = new Set<number>()
  private readonly opened = new Set<number>()
  private readonly repeated = new RepeatedChunk("content")
  /** The choice that the repeated chunks are of. */
  private repeatedOf = 0
  private content = false
  private excused = false
  private done = false

  push(bytes: Uint8Array): Decoded {
    const decoded = this.events(this.sse.push(bytes))
    return this.sse.overflowed && decoded.fault === null
      ? { events: decoded.events, fault: fault("malformed", "an event is too large") }
      : decoded
  }

  /** The provider has ended: whole only when every choice that began has its finish reason, or `[DONE]` said so of all. */
  end(): Decoded {
    const decoded = this.events(this.sse.end())
    if (decoded.fault !== null) return decoded
    if (!this.content && !this.excused) return { ...decoded, fault: fault("empty", "the stream ended without content") }
    const open = [...this.opened].filter((choice) => !this.finished.has(choice))
    if (open.length > 0 && !this.done) return { ...decoded, fault: fault("cut", "the stream ended without a finish reason") }
    return { ...decoded, events: [...decoded.events, ...open.flatMap((choice) => finishEvent(choice, "stop", {}, this.begun) ?? [])] }
  }

  /** `[DONE]` has come: what follows is not read. */
  get isDone(): boolean {
    return this.done
  }

  private events(incoming: ReadonlyArray<{ readonly data: string }>): Decoded {
    const events: Array<InferenceEvent> = []
    for (const { data } of incoming) {
      if (this.done) break
      if (data.trim() === "[DONE]") {
        this.done = true
        break
      }
      if (data === "") continue
      const text = this.repeated.textOf(data)
      if (text === null) {
        const before = events.length
        const broken = this.chunk(data, events)
        if (broken !== null) return { events, fault: broken }
        if (events.length === before + 1) this.learn(data, events[before])
      } else if (!this.finished.has(this.repeatedOf)) events.push({ _tag: "Text", choice: this.repeatedOf, text })
    }
    return { events, fault: null }
  }

  private learn(data: string, event: InferenceEvent | undefined): void {
    if (event?._tag !== "Text" || event.logprobs !== undefined) return
    this.repeatedOf = event.choice
    this.repeated.learn(data, event.text)
  }

  private chunk(data: string, events: Array<InferenceEvent>): ProviderAnswer | null {
    const body = Json.parse(data)
    if (!Json.isObject(body)) return fault("malformed", "an event is not a JSON object")
    const error = body["error"]
    if (error !== undefined && error !== null) return fault("reported", errorText(error))
    const choices = body["choices"]
    if (Json.isArray(choices)) {
      for (const choice of choices) {
        const broken = Json.isObject(choice) ? this.choice(choice, events) : null
        if (broken !== null) return broken
      }
    }
    const groq = body["x_groq"]
    const usage = decodeUsage(body["usage"] ?? (Json.isObject(groq) ? groq["usage"] : undefined))
    if (usage !== null) events.push({ _tag: "Usage", usage })
    return null
  }

  private choice(choice: Json.JsonObject, events: Array<InferenceEvent>): ProviderAnswer | null {
    const index = typeof choice["index"] === "number" ? choice["index"] : 0
    if (this.finished.has(index)) return null
    this.opened.add(index)
    const before = events.length
    if (Json.isObject(choice["delta"])) {
      pushText(events, index, choice["delta"], choice["logprobs"])
      pushToolCalls(events, index, choice["delta"], this.begun)
    }
    if (events.length > before) this.content = true
    const reason = reasonOf(choice)
    if (reason === null) return null
    const finish = finishEvent(index, reason, choice, this.begun)
    if (finish === null) return fault("reported", `a choice ended with ${reason}`)
    this.finished.add(index)
    if (isExcuse(finish.reason)) this.excused = true
    events.push(finish)
    return null
  }
}
