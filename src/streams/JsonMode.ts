/**
 * JSON mode: an answer that was asked for as JSON, of some schema or of none, is that, or it is a failure.
 *
 * @since 0.1.0
 */
import { Array as Arr, Effect, Stream } from "effect"
import type { Format } from "../../schemas/Conversation.ts"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { ProviderAnswer, ProviderError } from "../../schemas/Provider.ts"
import type { JsonSchemas } from "./JsonSchemas.ts"

/** What an answer must be. @category models @since 0.1.0 */
export type JsonFormat = Exclude<Format, { readonly _tag: "Text" }>

/** Whether a body says anything about the form of its answer: the conversation is only worked out where it does. */
const saysForm = ({ body, protocol }: InferenceRequest): boolean =>
  protocol === "openai-chat"
    ? Json.isObject(body["response_format"])
    : Json.isObject(body["output_config"]) || Json.isObject(body["output_format"]) || Json.isObject(body["text"])

/** The form that a request asks for; null when any text will do. @category accessors @since 0.1.0 */
export const formatOf = (request: InferenceRequest): JsonFormat | null => {
  if (request.operation !== "chat" || !saysForm(request)) return null
  const { format } = request.conversation()
  return format._tag === "Text" ? null : format
}

/** The text inside a code fence, or the text. @category parsers @since 0.1.0 */
export const unfence = (text: string): string => /^\s*```[A-Za-z]*\s*\n?([\s\S]*?)\n?\s*```\s*$/.exec(text)?.[1] ?? text

/** How a text is not what was asked for, in words; null when it is. @category predicates @since 0.1.0 */
export const problemOf = (format: JsonFormat, schemas: JsonSchemas["Service"], text: string): string | null => {
  const value = Json.parse(text)
  if (value === undefined) return "The answer is not JSON."
  if (format._tag === "Json") return null
  const mismatch = schemas.check(format.schema, value)
  return mismatch === null ? null : `The answer does not match the JSON schema at \`${mismatch.path}\`: ${mismatch.message}`
}

/** One choice's text: passed on as it comes unless it begins with a fence, which can only be taken off at the end. */
interface ChoiceText {
  text: string
  held: boolean
  tools: boolean
}

/** Watches the text of each choice; a Finish is let through only after what was asked for. @category models @since 0.1.0 */
export class JsonGuard {
  private readonly choices = new Map<number, ChoiceText>()
  private readonly judge: (text: string) => string | null

  /** `judge` says what is wrong with a whole text. */
  constructor(judge: (text: string) => string | null) {
    this.judge = judge
  }

  /** The events that may pass, and how the answer broke its promise. */
  push(batch: ReadonlyArray<InferenceEvent>): { readonly events: ReadonlyArray<InferenceEvent>; readonly problem: string | null } {
    const events: Array<InferenceEvent> = []
    for (const event of batch) {
      if (event._tag === "Text") {
        if (this.passes(event.choice, event.text)) events.push(event)
      } else if (event._tag === "Finish") {
        const problem = this.close(event, events)
        if (problem !== null) return { events, problem }
      } else {
        if (event._tag === "ToolCallStart") this.of(event.choice).tools = true
        events.push(event)
      }
    }
    return { events, problem: null }
  }

  private close(finish: InferenceEvent & { readonly _tag: "Finish" }, events: Array<InferenceEvent>): string | null {
    const state = this.choices.get(finish.choice)
    if (state !== undefined && !state.tools) {
      const text = unfence(state.text)
      const problem = this.judge(text)
      if (problem !== null) return problem
      if (state.held) events.push({ _tag: "Text", choice: finish.choice, text })
    }
    events.push(finish)
    return null
  }

  private of(choice: number): ChoiceText {
    const known = this.choices.get(choice)
    if (known !== undefined) return known
    const fresh = { text: "", held: false, tools: false }
    this.choices.set(choice, fresh)
    return fresh
  }

  private passes(choice: number, text: string): boolean {
    const state = this.of(choice)
    state.text += text
    if (!state.held && state.text.trimStart().startsWith("`")) state.held = true
    return !state.held
  }
}

/** @category constructors @since 0.1.0 */
export const failure = (format: JsonFormat, provider: string, problem: string): ProviderError =>
  new ProviderError({
    provider,
    reason: new ProviderAnswer({ fault: format._tag === "Json" ? "malformed" : "mismatch", message: problem })
  })

/** A stream that keeps its promise: what has passed cannot be taken back, so a broken one fails before its finish reason. @category stages @since 0.1.0 */
export const checkStream =
  (format: JsonFormat, provider: string, schemas: JsonSchemas["Service"]) =>
  <E>(
    stream: Stream.Stream<Arr.NonEmptyReadonlyArray<InferenceEvent>, E>
  ): Stream.Stream<Arr.NonEmptyReadonlyArray<InferenceEvent>, E | ProviderError> =>
    Stream.suspend(() => {
      const guard = new JsonGuard((text) => problemOf(format, schemas, text))
      return stream.pipe(
        Stream.mapEffect((batch) => {
          const { events, problem } = guard.push(batch)
          return problem === null ? Effect.succeed(events) : Effect.fail(failure(format, provider, problem))
        }),
        Stream.filter(Arr.isReadonlyArrayNonEmpty)
      )
    })
