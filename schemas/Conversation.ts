/**
 * What a caller said and asks for, in words that belong to no protocol: the middle ground between a public protocol and a
 * provider's when these two differ.
 *
 * @since 0.1.0
 */
import type { Json, JsonObject } from "./Json.ts"

/** Bytes of an image, a sound or a file: inline as base64, or where to fetch them. @category models @since 0.1.0 */
export type Media =
  | { readonly _tag: "Inline"; readonly mediaType: string; readonly base64: string }
  | { readonly _tag: "Url"; readonly url: string }

/** Mark of a prefix that a provider may keep: Anthropic's `cache_control`, passed on where the provider has it. @category models @since 0.1.0 */
export interface Cached {
  readonly cacheControl?: JsonObject
}

/** @category models @since 0.1.0 */
export type TextPart = Cached & { readonly _tag: "Text"; readonly text: string }

/** @category models @since 0.1.0 */
export type ImagePart = Cached & {
  readonly _tag: "Image"
  readonly media: Media
  /** OpenAI's `low`, `high` or `auto`. */
  readonly detail?: string
}

/** @category models @since 0.1.0 */
export type Part =
  | TextPart
  | ImagePart
  /** `format`: `wav`, `mp3`, … */
  | (Cached & { readonly _tag: "Audio"; readonly format: string; readonly base64: string })
  | (Cached & { readonly _tag: "File"; readonly media: Media; readonly name: string | null })
  /** A model's own thoughts from a turn before; `redacted` ones are only data that its provider can read. */
  | { readonly _tag: "Reasoning"; readonly text: string; readonly signature: string | null; readonly redacted: string | null }
  /** `arguments`: JSON as the model wrote it. `signature`: what the provider wants back with it. */
  | (Cached & {
      readonly _tag: "ToolCall"
      readonly id: string
      readonly name: string
      readonly arguments: string
      readonly signature?: string
    })
  | (Cached & {
      readonly _tag: "ToolResult"
      readonly id: string
      readonly parts: ReadonlyArray<TextPart | ImagePart>
      readonly isError: boolean
    })

/** @category models @since 0.1.0 */
export interface Turn {
  readonly role: "user" | "assistant"
  readonly parts: ReadonlyArray<Part>
}

/** A function that the model may call; `parameters` is its JSON Schema. @category models @since 0.1.0 */
export interface Tool extends Cached {
  readonly name: string
  readonly description: string | null
  readonly parameters: JsonObject
  readonly strict: boolean | null
}

/** @category models @since 0.1.0 */
export type ToolChoice = "auto" | "none" | "required" | { readonly name: string }

/** What the text of the answer must be. @category models @since 0.1.0 */
export type Format =
  | { readonly _tag: "Text" }
  | { readonly _tag: "Json" }
  | { readonly _tag: "JsonSchema"; readonly name: string; readonly schema: JsonObject; readonly strict: boolean | null }

/** How much a model may think; either may be null. `budgetTokens` 0: not at all. @category models @since 0.1.0 */
export interface Thinking {
  readonly effort: "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | null
  readonly budgetTokens: number | null
}

/** Settings of the sampling. Null: the caller said nothing. @category models @since 0.1.0 */
export interface Sampling {
  readonly temperature: number | null
  readonly topP: number | null
  readonly topK: number | null
  readonly frequencyPenalty: number | null
  readonly presencePenalty: number | null
  readonly seed: number | null
  readonly stop: ReadonlyArray<string>
  readonly logprobs: boolean
  readonly topLogprobs: number | null
  readonly logitBias: JsonObject | null
}

/** @category models @since 0.1.0 */
export interface Conversation {
  readonly system: ReadonlyArray<TextPart>
  /** Neighbours may have the same role; an encoder whose protocol forbids that joins them. */
  readonly turns: ReadonlyArray<Turn>
  readonly tools: ReadonlyArray<Tool>
  readonly toolChoice: ToolChoice | null
  readonly parallelToolCalls: boolean | null
  readonly format: Format
  readonly thinking: Thinking | null
  readonly sampling: Sampling
  /** The caller's name for its end user. */
  readonly user: string | null
  readonly metadata: JsonObject | null
  /**
   * Fields of the body, by the caller's own names, that have no meaning in any other protocol (`audio`, `prediction`,
   * a built-in tool, …): a provider of another protocol cannot do them.
   */
  readonly foreign: ReadonlyArray<{ readonly param: string; readonly value: Json }>
}
