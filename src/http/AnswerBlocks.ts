/**
 * A whole answer as what it is made of, in the order it was said.
 *
 * @since 0.1.0
 */
import type { FinishReason, InferenceEvent, Safety } from "../../schemas/Inference.ts"
import type { Json } from "../../schemas/Json.ts"

/** @category models @since 0.1.0 */
export type AnswerBlock =
  | { readonly _tag: "Text"; text: string; readonly logprobs: Array<Json> }
  | { readonly _tag: "Refusal"; text: string }
  | { readonly _tag: "Thought"; text: string; signature: string | null }
  | { readonly _tag: "Redacted"; readonly data: string }
  | { readonly _tag: "ToolCall"; readonly id: string; readonly name: string; arguments: string; readonly signature: string | null }

/** @category models @since 0.1.0 */
export interface Blocks {
  readonly blocks: ReadonlyArray<AnswerBlock>
  readonly reason: FinishReason
  readonly stopSequence: string | null
  readonly safety: Safety | null
}

/**
 * Why an answer was stopped or refused, in one form whatever the provider said of it; null where nothing was.
 *
 * @category accessors
 * @since 0.1.0
 */
export const safetyOf = (reason: FinishReason, told: Safety | null | undefined, refused: boolean): Safety | null => {
  if (told !== null && told !== undefined) return told
  if (refused) return { blocked: true, categories: ["refusal"] }
  return reason === "content_filter" ? { blocked: true, categories: [] } : null
}

/** The log probabilities of a piece of text, as OpenAI lists them. @category accessors @since 0.1.0 */
export const logprobsOf = (value: Json | undefined, of: "content" | "refusal" = "content"): ReadonlyArray<Json> => {
  if (typeof value !== "object" || value === null || !("content" in value || "refusal" in value)) return []
  const list = Array.isArray(value) ? undefined : value[of]
  return Array.isArray(list) ? list : []
}

/** Folds the events of one choice. @category folds @since 0.1.0 */
export const foldBlocks = (events: ReadonlyArray<InferenceEvent>, choice = 0): Blocks => {
  const blocks: Array<AnswerBlock> = []
  const calls = new Map<number, Extract<AnswerBlock, { _tag: "ToolCall" }>>()
  let end: Omit<Blocks, "blocks"> = { reason: "stop", stopSequence: null, safety: null }
  for (const event of events) {
    if (event._tag === "Usage" || event._tag === "Data" || event.choice !== choice) continue
    const last = blocks.at(-1)
    switch (event._tag) {
      case "Text":
        if (last?._tag === "Text") {
          last.text += event.text
          last.logprobs.push(...logprobsOf(event.logprobs))
        } else blocks.push({ _tag: "Text", text: event.text, logprobs: [...logprobsOf(event.logprobs)] })
        break
      case "Refusal":
        if (last?._tag === "Refusal") last.text += event.text
        else blocks.push({ _tag: "Refusal", text: event.text })
        break
      case "Reasoning":
        if (event.redacted !== undefined) blocks.push({ _tag: "Redacted", data: event.redacted })
        else if (last?._tag === "Thought" && last.signature === null) {
          last.text += event.text
          last.signature = event.signature ?? null
        } else blocks.push({ _tag: "Thought", text: event.text, signature: event.signature ?? null })
        break
      case "ToolCallStart": {
        const call = { _tag: "ToolCall" as const, id: event.id, name: event.name, arguments: "", signature: event.signature ?? null }
        calls.set(event.index, call)
        blocks.push(call)
        break
      }
      case "ToolCallArguments": {
        const call = calls.get(event.index)
        if (call !== undefined) call.arguments += event.text
        break
      }
      case "Finish":
        end = { reason: event.reason, stopSequence: event.stopSequence ?? null, safety: event.safety ?? null }
        break
    }
  }
  const refused = blocks.some((block) => block._tag === "Refusal")
  return { blocks, ...end, safety: safetyOf(end.reason, end.safety, refused) }
}
