/**
 * JSON mode: an answer that was asked for as a JSON object is one, or it is a failure.
 *
 * @since 0.1.0
 */
import { Array as Arr, Effect, Stream } from "effect"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { ProviderAnswer, ProviderError } from "../../schemas/Provider.ts"

const isAsked = (request: InferenceRequest): boolean => {
  if (request.operation !== "chat" || request.protocol === "anthropic-messages") return false
  if (request.protocol === "openai-responses") return request.conversation().format._tag === "Json"
  const format = request.body["response_format"]
  return Json.isObject(format) && format["type"] === "json_object"
}

/** The text inside a code fence, or the text. @category parsers @since 0.1.0 */
export const unfence = (text: string): string => /^\s*```[A-Za-z]*\s*\n?([\s\S]*?)\n?\s*```\s*$/.exec(text)?.[1] ?? text

/** One choice's text: passed on as it comes unless it begins with a fence, which can only be taken off at the end. */
interface ChoiceText {
  text: string
  held: boolean
  tools: boolean
}

/** Watches the text of each choice; a Finish is let through only after whole JSON. @category models @since 0.1.0 */
export class JsonGuard {
  private readonly choices = new Map<number, ChoiceText>()

  /** The events that may pass, and whether the answer broke its promise. */
  push(batch: ReadonlyArray<InferenceEvent>): { readonly events: ReadonlyArray<InferenceEvent>; readonly broken: boolean } {
    const events: Array<InferenceEvent> = []
    for (const event of batch) {
      if (event._tag === "Text") {
        if (this.passes(event.choice, event.text)) events.push(event)
      } else if (event._tag === "Finish") {
        const state = this.choices.get(event.choice)
        if (state !== undefined && !state.tools) {
          const text = unfence(state.text)
          if (Json.parse(text) === undefined) return { events, broken: true }
          if (state.held) events.push({ _tag: "Text", choice: event.choice, text })
        }
        events.push(event)
      } else {
        if (event._tag === "ToolCallStart") this.of(event.choice).tools = true
        events.push(event)
      }
    }
    return { events, broken: false }
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

const broken = (provider: string) =>
  new ProviderError({
    provider,
    reason: new ProviderAnswer({ fault: "malformed", message: "the answer is not the JSON that was asked for" })
  })

/** A whole answer in JSON mode, code fences taken off; fails when it is not JSON. @category stages @since 0.1.0 */
export const checkAnswer = (
  request: InferenceRequest,
  provider: string,
  events: ReadonlyArray<InferenceEvent>
): Effect.Effect<ReadonlyArray<InferenceEvent>, ProviderError> => {
  if (!isAsked(request)) return Effect.succeed(events)
  const checked = new JsonGuard().push(events)
  return checked.broken ? Effect.fail(broken(provider)) : Effect.succeed(checked.events)
}

/** The same for a stream: what has passed cannot be taken back, so broken JSON fails before its finish reason. @category stages @since 0.1.0 */
export const checkStream =
  (request: InferenceRequest, provider: string) =>
  <E>(
    stream: Stream.Stream<Arr.NonEmptyReadonlyArray<InferenceEvent>, E>
  ): Stream.Stream<Arr.NonEmptyReadonlyArray<InferenceEvent>, E | ProviderError> => {
    if (!isAsked(request)) return stream
    return Stream.suspend(() => {
      const guard = new JsonGuard()
      return stream.pipe(
        Stream.mapEffect((batch) => {
          const checked = guard.push(batch)
          return checked.broken ? Effect.fail(broken(provider)) : Effect.succeed(checked.events)
        }),
        Stream.filter(Arr.isReadonlyArrayNonEmpty)
      )
    })
  }
