/**
 * The provider that is always there: in-process, deterministic and priced, so that everything can be tried without a key.
 *
 * `sandbox/echo` answers with the last user message, `sandbox/lorem` with as many words as `max_tokens`. A word is a token.
 * `sandbox/embed`, `sandbox/image` and `sandbox/transcribe` do the other operations.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Effect, Stream } from "effect"
import type { Part } from "../../schemas/Conversation.ts"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import { ProviderError, ProviderStatus } from "../../schemas/Provider.ts"
import { estimateTokens, none } from "../../schemas/Usage.ts"
import * as Source from "../streams/Source.ts"
import type { ProviderAdapter, ProviderCall } from "./ProviderAdapter.ts"
import * as SandboxMedia from "./SandboxMedia.ts"

const lorem =
  "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna aliqua".split(" ")

/** Words of a `sandbox/lorem` answer where no bound is given. */
const DEFAULT_WORDS = 16

const textOf = (parts: ReadonlyArray<Part>): string => parts.map((part) => (part._tag === "Text" ? part.text : "")).join("")

/** What the user said last: what tools gave stands in turns of the user's too, and is none of it. */
const lastUserText = (request: InferenceRequest): string =>
  textOf(request.conversation().turns.findLast((turn) => turn.role === "user" && textOf(turn.parts) !== "")?.parts ?? [])

/** The words of an answer, each with the space before it, and what cut it. */
interface Composed {
  readonly words: ReadonlyArray<string>
  readonly cut: boolean
  readonly stopSequence?: string
}

const wordsOf = (text: string): ReadonlyArray<string> => text.match(/\s*\S+\s*$|\s*\S+/g) ?? [text]

/** What is left before the first of the sequences at which the caller wants it to stop. */
const stopped = (composed: Composed, stops: ReadonlyArray<string>): Composed => {
  const text = composed.words.join("")
  let found: { readonly at: number; readonly stop: string } | null = null
  for (const stop of stops) {
    const at = stop === "" ? -1 : text.indexOf(stop)
    if (at !== -1 && (found === null || at < found.at)) found = { at, stop }
  }
  return found === null ? composed : { words: wordsOf(text.slice(0, found.at)), cut: false, stopSequence: found.stop }
}

const compose = (call: ProviderCall): Composed => stopped(composeWhole(call), call.request.conversation().sampling.stop)

const composeWhole = (call: ProviderCall): Composed => {
  const bound = call.request.maxTokens ?? call.maxTokens
  if (call.nativeId.endsWith("lorem")) {
    const count = call.request.maxTokens ?? Math.min(DEFAULT_WORDS, call.maxTokens ?? DEFAULT_WORDS)
    return {
      words: Array.from({ length: count }, (_, i) => (i === 0 ? "" : " ") + lorem[i % lorem.length]),
      cut: call.request.maxTokens !== null
    }
  }
  const words = lastUserText(call.request).match(/\s*\S+\s*$|\s*\S+/g) ?? [" "]
  return bound !== null && words.length > bound ? { words: words.slice(0, bound), cut: true } : { words, cut: false }
}

const refuse = (message: string, param: string) =>
  new ProviderError({
    provider: "sandbox",
    reason: new ProviderStatus({ status: 400, message, code: null, param, retryAfterMs: null })
  })

/** Words of one answer, at most. */
const MAX_WORDS = 100_000

const answer = (call: ProviderCall): Effect.Effect<ReadonlyArray<Arr.NonEmptyReadonlyArray<InferenceEvent>>, ProviderError> => {
  if ((call.request.maxTokens ?? 0) > MAX_WORDS)
    return Effect.fail(refuse(`The sandbox answers with at most ${MAX_WORDS} tokens.`, "max_tokens"))
  const { cut, words, ...end } = compose(call)
  const { choices, promptCharacters } = call.request
  const batches: Array<Arr.NonEmptyReadonlyArray<InferenceEvent>> = []
  for (const text of words) {
    const [first, ...rest] = Array.from({ length: choices }, (_, choice): InferenceEvent => ({ _tag: "Text", choice, text }))
    if (first !== undefined) batches.push([first, ...rest])
  }
  const ends = Array.from(
    { length: choices },
    (_, choice): InferenceEvent => ({ _tag: "Finish", choice, reason: cut ? "length" : "stop", ...end })
  )
  const usage = { ...none, input: estimateTokens(promptCharacters), output: words.length * choices, source: "provider" as const }
  batches.push([{ _tag: "Usage", usage }, ...ends])
  return Effect.succeed(batches)
}

const answerMedia = (call: ProviderCall): Effect.Effect<ReadonlyArray<InferenceEvent>, ProviderError> =>
  Effect.suspend(() => {
    const refusal = SandboxMedia.refusal(call.request)
    return refusal === null ? Effect.succeed(SandboxMedia.answer(call.request)) : Effect.fail(refuse(refusal, "dimensions"))
  })

/** @category constructors @since 0.1.0 */
export const make = (): ProviderAdapter => ({
  send: (call) => (call.request.operation === "chat" ? Effect.map(answer(call), (batches) => batches.flat()) : answerMedia(call)),
  stream: (call) => Effect.flatMap(answer(call), (batches) => Source.fromStream(Stream.rechunk(Stream.fromArray(batches), 1))),
  unsupported: () => null,
  transformModelId: (_, canonicalId) => canonicalId,
  mapError: (provider, status, _, body) =>
    new ProviderError({
      provider,
      reason: new ProviderStatus({ status, message: body.slice(0, 1_000), code: null, param: null, retryAfterMs: null })
    })
})
