/**
 * Answers of Gemini's `generateContent` and `streamGenerateContent` as events. A stream is whole answers, each with what
 * has come anew.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent, Safety } from "../../../schemas/Inference.ts"
import * as Json from "../../../schemas/Json.ts"
import type { ProviderAnswer } from "../../../schemas/Provider.ts"
import { none, type Usage } from "../../../schemas/Usage.ts"
import { type Decoded, fault } from "./AnswerDecoding.ts"
import { EventDecoder, type EventReader } from "./EventDecoder.ts"
import { credible, figure } from "./Figures.ts"
import { SIGNATURE_PREFIX } from "./GeminiContent.ts"

/** `prompt` has the cached tokens in it, `candidates` has no thoughts in it. */
const decodeUsage = (value: Json.Json | undefined): Usage | null => {
  if (!Json.isObject(value)) return null
  const prompt = figure(value["promptTokenCount"])
  const cached = Math.min(prompt, Json.count(value["cachedContentTokenCount"]))
  return credible({
    ...none,
    input: prompt - cached + figure(value["toolUsePromptTokenCount"]),
    cachedRead: cached,
    output: figure(value["candidatesTokenCount"]),
    reasoning: figure(value["thoughtsTokenCount"]),
    source: "provider"
  })
}

/** Reasons by which a filter stopped an answer, in one form for all providers. */
const filters: Readonly<Record<string, ReadonlyArray<string>>> = {
  SAFETY: [],
  RECITATION: ["recitation"],
  LANGUAGE: ["language"],
  BLOCKLIST: ["blocklist"],
  PROHIBITED_CONTENT: ["prohibited_content"],
  SPII: ["personal_information"],
  MODEL_ARMOR: ["model_armor"],
  IMAGE_SAFETY: [],
  IMAGE_PROHIBITED_CONTENT: ["prohibited_content"],
  IMAGE_RECITATION: ["recitation"]
}

const categories: Readonly<Record<string, string>> = {
  HATE_SPEECH: "hate",
  DANGEROUS_CONTENT: "dangerous",
  HARASSMENT: "harassment",
  SEXUALLY_EXPLICIT: "sexual",
  CIVIC_INTEGRITY: "civic_integrity",
  JAILBREAK: "jailbreak"
}

const isTripped = (rating: Json.JsonObject): boolean =>
  rating["blocked"] === true || rating["probability"] === "HIGH" || rating["probability"] === "MEDIUM"

const safetyOf = (reason: string, ratings: Json.Json | undefined): Safety => {
  const tripped = (Json.isArray(ratings) ? ratings : []).flatMap((rating) => {
    if (!Json.isObject(rating) || !isTripped(rating)) return []
    const name = (Json.string(rating["category"]) ?? "").replace(/^HARM_CATEGORY_(IMAGE_)?/, "")
    return [categories[name] ?? name.toLowerCase()]
  })
  return { blocked: true, categories: [...new Set([...(filters[reason] ?? [reason.toLowerCase()]), ...tripped])] }
}

/** OpenAI's form of what Gemini says of its tokens. */
const decodeLogprobs = (result: Json.JsonObject): Json.Json => {
  const token = (candidate: Json.Json) => {
    const known = Json.isObject(candidate) ? candidate : {}
    return { token: Json.string(known["token"]) ?? "", logprob: known["logProbability"] ?? -9_999, bytes: null }
  }
  const chosen = Json.isArray(result["chosenCandidates"]) ? result["chosenCandidates"] : []
  const tops = Json.isArray(result["topCandidates"]) ? result["topCandidates"] : []
  const content = chosen.map((candidate, i) => {
    const top = tops[i]
    const list = Json.isObject(top) && Json.isArray(top["candidates"]) ? top["candidates"] : []
    return { ...token(candidate), top_logprobs: list.map(token) }
  })
  return { content, refusal: null }
}

const errorText = (error: Json.Json): string =>
  (Json.isObject(error) ? Json.string(error["message"]) : null) ?? "the provider reported an error"

/** One answer, fed with Gemini's responses. */
class ResponseReader implements EventReader {
  /** Nothing says that an event was the last. */
  readonly stopped = false
  readonly events: Array<InferenceEvent> = []
  private readonly tools = new Map<number, number>()
  private readonly opened = new Set<number>()
  private readonly finished = new Set<number>()
  private content = false
  private excused = false
  private responseId = ""

  take(body: Json.JsonObject): ProviderAnswer | null {
    const error = body["error"]
    if (error !== undefined && error !== null) return fault("reported", errorText(error))
    this.responseId = Json.string(body["responseId"]) ?? this.responseId
    const candidates = Json.isArray(body["candidates"]) ? body["candidates"] : []
    const before = this.events.length
    for (const [position, candidate] of candidates.entries()) {
      const broken = Json.isObject(candidate) ? this.candidate(candidate, position) : fault("malformed", "a candidate is not an object")
      if (broken !== null) return broken
    }
    this.takePromptFeedback(body)
    this.takeUsage(body, before)
    return null
  }

  /** How the answer is wanting, now that it has ended. */
  verdict(): ProviderAnswer | null {
    if (!this.content && !this.excused) return fault("empty", "the answer has no content")
    for (const choice of this.opened) {
      if (!this.finished.has(choice)) return fault("cut", "the answer ended without a finish reason")
    }
    return null
  }

  private takePromptFeedback(body: Json.JsonObject): void {
    const feedback = body["promptFeedback"]
    const reason = Json.isObject(feedback) ? Json.string(feedback["blockReason"]) : null
    if (!Json.isObject(feedback) || reason === null || this.opened.size > 0) return
    this.finish(0, "content_filter", safetyOf(reason, feedback["safetyRatings"]))
  }

  /** Figures come with every piece; only those with a finish reason count the output. They stand before the finish. */
  private takeUsage(body: Json.JsonObject, before: number): void {
    const usage = decodeUsage(body["usageMetadata"])
    if (usage === null) return
    const isLast = this.finished.size > 0
    const event: InferenceEvent = isLast
      ? { _tag: "Usage", usage }
      : { _tag: "Usage", usage: { ...usage, output: 0, reasoning: 0 }, partial: true }
    const at = this.events.findIndex((known, index) => index >= before && known._tag === "Finish")
    this.events.splice(at === -1 ? this.events.length : at, 0, event)
  }

  private candidate(candidate: Json.JsonObject, position: number): ProviderAnswer | null {
    const choice = typeof candidate["index"] === "number" ? candidate["index"] : position
    if (this.finished.has(choice)) return null
    this.opened.add(choice)
    const content = candidate["content"]
    const parts = Json.isObject(content) && Json.isArray(content["parts"]) ? content["parts"] : []
    for (const part of parts) if (Json.isObject(part)) this.part(choice, part)
    const logprobs = candidate["logprobsResult"]
    if (Json.isObject(logprobs)) this.events.push({ _tag: "Text", choice, text: "", logprobs: decodeLogprobs(logprobs) })
    const reason = Json.string(candidate["finishReason"])
    return reason === null || reason === "" ? null : this.reason(choice, reason, candidate)
  }

  private part(choice: number, part: Json.JsonObject): void {
    const text = Json.string(part["text"])
    const signature = Json.string(part["thoughtSignature"])
    const signed = signature === null || signature === "" ? {} : { signature: SIGNATURE_PREFIX + signature }
    const call = part["functionCall"]
    if (Json.isObject(call)) this.call(choice, call, signed)
    else if (part["thought"] === true) {
      if (text !== null && (text !== "" || "signature" in signed)) this.push({ _tag: "Reasoning", choice, text, ...signed })
    } else if (text !== null && text !== "") this.push({ _tag: "Text", choice, text })
  }

  private call(choice: number, call: Json.JsonObject, signed: { readonly signature?: string }): void {
    const index = this.tools.get(choice) ?? 0
    this.tools.set(choice, index + 1)
    // Gemini may give no id; one that names the answer keeps the calls of a conversation apart.
    const id = Json.string(call["id"]) ?? `call_${this.responseId}_${choice}_${index}`
    this.push({ _tag: "ToolCallStart", choice, index, id, name: Json.string(call["name"]) ?? "", ...signed })
    this.push({ _tag: "ToolCallArguments", choice, index, text: JSON.stringify(call["args"] ?? {}) })
  }

  private reason(choice: number, reason: string, candidate: Json.JsonObject): ProviderAnswer | null {
    if (reason === "STOP") this.finish(choice, this.tools.has(choice) ? "tool_calls" : "stop")
    else if (reason === "MAX_TOKENS") this.finish(choice, "length")
    else if (filters[reason] !== undefined) this.finish(choice, "content_filter", safetyOf(reason, candidate["safetyRatings"]))
    else if (/MALFORMED|UNEXPECTED_TOOL|TOO_MANY_TOOL|MISSING_THOUGHT/.test(reason))
      return fault("malformed", `the answer ended with ${reason}`)
    else return fault("cut", `the answer ended with ${reason}`)
    return null
  }

  private finish(choice: number, reason: FinishReason, safety?: Safety): void {
    this.finished.add(choice)
    if (reason === "length" || reason === "content_filter") this.excused = true
    this.events.push(safety === undefined ? { _tag: "Finish", choice, reason } : { _tag: "Finish", choice, reason, safety })
  }

  private push(event: InferenceEvent): void {
    this.content = true
    this.events.push(event)
  }
}

/** A whole answer. @category decoding @since 0.1.0 */
export const decodeAnswer = (text: string): Decoded => {
  const reader = new ResponseReader()
  const body = Json.parse(text)
  const broken = Json.isObject(body) ? reader.take(body) : fault("malformed", "the answer is not a JSON object")
  return { events: reader.events, fault: broken ?? reader.verdict() }
}

/** The state of one stream. @category decoding @since 0.1.0 */
export class GeminiStreamDecoder extends EventDecoder {
  constructor() {
    super(new ResponseReader())
  }
}
