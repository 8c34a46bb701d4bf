/**
 * One request for inference and the events of its answer, in words that belong to no provider's protocol.
 *
 * @since 0.1.0
 */
import type { Conversation } from "./Conversation.ts"
import type { Json, JsonObject } from "./Json.ts"
import type { Usage } from "./Usage.ts"

/** The public protocol a request came in by, and that its answer leaves by. @category models @since 0.1.0 */
export type Protocol = "openai-chat" | "openai-responses" | "anthropic-messages" | "openai-embeddings" | "openai-images" | "openai-audio"

/** What is asked of a model. @category models @since 0.1.0 */
export type Operation = "chat" | "embeddings" | "images" | "transcription"

/** Which provider the caller asked for. @category models @since 0.1.0 */
export interface ProviderPreference {
  readonly order: ReadonlyArray<string>
  readonly only: ReadonlyArray<string>
  readonly allowFallbacks: boolean
  /** A slug that stood alone: that provider has to serve the model and is asked first, others after it. */
  readonly named?: string
  /** By what the providers are ordered, where `order` does not say. */
  readonly sort?: ProviderSort
}

/** The cheapest first, the quickest to answer, or the one that writes fastest. @category models @since 0.1.0 */
export type ProviderSort = "price" | "latency" | "throughput"

/** @category models @since 0.1.0 */
export interface InferenceRequest {
  readonly protocol: Protocol
  readonly operation: Operation
  /** The caller's own parsed body: what is not understood here still reaches a provider of the same protocol. */
  readonly body: JsonObject
  /** The same, for a provider of another protocol; worked out when it is first asked for. Only of `chat`. */
  readonly conversation: () => Conversation
  /** What a provider cannot do is left out instead of refused (`drop_params`). */
  readonly dropUnsupported: boolean
  /** As the caller wrote it. */
  readonly model: string
  /** Further models, tried in order when every provider of the one before failed. */
  readonly fallbackModels: ReadonlyArray<string>
  readonly preference: ProviderPreference | null
  readonly stream: boolean
  /** The caller wants the usage in the stream. */
  readonly includeUsage: boolean
  /** Null when the caller set no bound. */
  readonly maxTokens: number | null
  /** How many answers (`n`). */
  readonly choices: number
  /** Characters of everything that a model reads: messages, tools, schemas. */
  readonly promptCharacters: number
  /** Images in the prompt. */
  readonly promptImages: number
  /** Headers of the caller's that a provider of the same protocol understands, such as `anthropic-beta`; names in lower case. */
  readonly providerHeaders?: Readonly<Record<string, string>>
  /** Of `images`; how many is `choices`. */
  readonly image?: ImageOrder
  /** Of `transcription`. */
  readonly audio?: AudioUpload
}

/** What is known of images to be made. @category models @since 0.1.0 */
export interface ImageOrder {
  /** What the size makes of the price of one image: a multiple of a quarter. */
  readonly sizeFactor: number
  /** Output tokens that one image may take, at most, where the model is priced by tokens. */
  readonly maxTokens: number
}

/** A recording to be written down, with the form it came in. @category models @since 0.1.0 */
export interface AudioUpload {
  readonly file: Uint8Array
  readonly fileName: string
  readonly contentType: string
  /** The other fields of the form as they came, `model` and what speaks to the gateway not among them. */
  readonly fields: ReadonlyArray<readonly [name: string, value: string]>
  /** The form that the transcript is asked for in. */
  readonly format: TranscriptFormat
  /** How long it lasts, judged by its size: what is held, and charged where no provider says it. */
  readonly seconds: number
  /** Parts the form that a provider gets; nobody outside can know it beforehand. */
  readonly boundary: string
}

/** @category models @since 0.1.0 */
export type TranscriptFormat = "json" | "text" | "srt" | "verbose_json" | "vtt"

/** Why an answer ended. @category models @since 0.1.0 */
export type FinishReason = "stop" | "length" | "tool_calls" | "content_filter"

/** One step of an answer. `choice` is the index among `n`. @category models @since 0.1.0 */
export type InferenceEvent =
  | { readonly _tag: "Text"; readonly choice: number; readonly text: string; readonly logprobs?: Json }
  | { readonly _tag: "Refusal"; readonly choice: number; readonly text: string }
  /** `signature` closes a thought, on the event of its last text or alone with an empty one; `redacted` is a thought only its provider can read. */
  | { readonly _tag: "Reasoning"; readonly choice: number; readonly text: string; readonly signature?: string; readonly redacted?: string }
  | {
      readonly _tag: "ToolCallStart"
      readonly choice: number
      readonly index: number
      readonly id: string
      readonly name: string
      readonly signature?: string
    }
  | { readonly _tag: "ToolCallArguments"; readonly choice: number; readonly index: number; readonly text: string }
  /** `stopSequence`: the one that ended it, where the provider says so. `safety`: what tripped a provider's filter, in one form for all. */
  | {
      readonly _tag: "Finish"
      readonly choice: number
      readonly reason: FinishReason
      readonly stopSequence?: string
      readonly safety?: Safety
    }
  /** `partial`: known at the beginning, the output not yet counted. */
  | { readonly _tag: "Usage"; readonly usage: Usage; readonly partial?: true }
  /** The whole answer of an operation other than `chat`, in OpenAI's shape without its usage. */
  | { readonly _tag: "Data"; readonly value: JsonObject }

/** Why a provider's filter stopped an answer. @category models @since 0.1.0 */
export interface Safety {
  readonly blocked: boolean
  /** Lower-case names such as `hate`, `violence`, `recitation`; may be empty. */
  readonly categories: ReadonlyArray<string>
}

/** Whether an event carries something the caller sees as an answer: content, a refusal, reasoning or a tool call. @category predicates @since 0.1.0 */
export const isContent = (event: InferenceEvent): boolean =>
  event._tag === "Text" || event._tag === "Refusal" || event._tag === "Reasoning"
    ? event.text.length > 0
    : event._tag === "ToolCallStart" || event._tag === "ToolCallArguments" || event._tag === "Data"
