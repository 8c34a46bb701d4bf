/**
 * Providers for tests of what stands above them: each call takes the next step of its provider's script.
 */
import { Effect, Layer, Stream } from "effect"
import type { FinishReason, InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate, Model } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { ProviderAnswer, ProviderConnection, ProviderError, ProviderStatus, ProviderTimeout } from "../../schemas/Provider.ts"
import { toConversation } from "../../src/http/OpenAiChatConversation.ts"
import type { ProviderAdapter, ProviderCall } from "../../src/providers/ProviderAdapter.ts"
import { ProviderAdapters } from "../../src/providers/ProviderAdapters.ts"
import type { Batch } from "../../src/providers/StreamAttempt.ts"
import * as Source from "../../src/streams/Source.ts"

export type Step =
  | { readonly _tag: "Answer"; readonly text: string }
  | { readonly _tag: "Fail"; readonly error: ProviderError }
  /** Some text, then this. */
  | { readonly _tag: "Break"; readonly text: string; readonly error: ProviderError }
  /** A stream of these batches, broken off by the error if there is one. */
  | { readonly _tag: "Events"; readonly batches: ReadonlyArray<Batch>; readonly error?: ProviderError }
  | { readonly _tag: "Hang" }

export const status = (provider: string, code: number, retryAfterMs: number | null = null): ProviderError =>
  new ProviderError({
    provider,
    reason: new ProviderStatus({ status: code, message: `status ${code}`, code: null, param: null, retryAfterMs })
  })
export const timeout = (provider: string): ProviderError =>
  new ProviderError({ provider, reason: new ProviderTimeout({ phase: "first_byte" }) })
export const reset = (provider: string): ProviderError =>
  new ProviderError({ provider, reason: new ProviderConnection({ answered: false, message: "ECONNRESET" }) })
export const cut = (provider: string): ProviderError =>
  new ProviderError({ provider, reason: new ProviderAnswer({ fault: "cut", message: "cut" }) })

export const answer = (text = "hello"): Step => ({ _tag: "Answer", text })
export const fail = (error: ProviderError): Step => ({ _tag: "Fail", error })

export const text = (value: string): InferenceEvent => ({ _tag: "Text", choice: 0, text: value })
export const finish = (reason: FinishReason = "stop"): InferenceEvent => ({ _tag: "Finish", choice: 0, reason })

/** Adapters that follow scripts, and what they were asked. A provider without steps left answers. */
export const scripted = (scripts: Readonly<Record<string, ReadonlyArray<Step>>>, unsupported: Readonly<Record<string, string>> = {}) => {
  const calls: Array<string> = []
  const requests: Array<ProviderCall> = []
  const left = new Map(Object.entries(scripts).map(([slug, steps]) => [slug, [...steps]]))
  const next = (call: ProviderCall): Step => {
    const { slug } = call.provider.definition
    calls.push(slug)
    requests.push(call)
    return left.get(slug)?.shift() ?? answer()
  }
  const streamOf = (call: ProviderCall): Effect.Effect<Stream.Stream<Batch, ProviderError>, ProviderError> =>
    Effect.suspend(() => {
      const step = next(call)
      if (step._tag === "Hang") return Effect.never
      if (step._tag === "Fail") return Effect.fail(step.error)
      if (step._tag === "Events") {
        const batches = Stream.rechunk(Stream.fromArray(step.batches), 1)
        return Effect.succeed(step.error === undefined ? batches : Stream.concat(batches, Stream.fail(step.error)))
      }
      const first: Batch = [text(step.text)]
      const last: Batch = [finish("stop")]
      return Effect.succeed(Stream.concat(Stream.succeed(first), step._tag === "Break" ? Stream.fail(step.error) : Stream.succeed(last)))
    })
  const adapter: ProviderAdapter = {
    send: (call) =>
      Effect.suspend(() => {
        const step = next(call)
        if (step._tag === "Hang") return Effect.never
        if (step._tag === "Events") return step.error === undefined ? Effect.succeed(step.batches.flat()) : Effect.fail(step.error)
        return step._tag === "Answer" ? Effect.succeed([text(step.text), finish("stop")]) : Effect.fail(step.error)
      }),
    stream: (call) => Effect.flatMap(streamOf(call), Source.fromStream),
    unsupported: (call) => unsupported[call.provider.definition.slug] ?? null,
    transformModelId: () => null,
    mapError: (provider, code) => status(provider, code)
  }
  return { calls, requests, layer: Layer.succeed(ProviderAdapters, { for: () => adapter }) }
}

export const pricing = { prompt: Money.usd("0.000001"), completion: Money.usd("0.000002") }

export const model = (id: string, providers: ReadonlyArray<string>, more: Partial<Model> = {}): Model => ({
  id,
  name: id,
  org: id.split("/")[0] ?? "",
  contextLength: 8_192,
  maxOutput: 4_096,
  modality: "text->text",
  supports: { streaming: true, tools: true, vision: false, json_schema: false, logprobs: false, reasoning: false, prefill: false },
  free: false,
  premium: false,
  openWeights: true,
  benchmarks: {},
  created: 0,
  providers: providers.map((slug) => ({ slug, nativeId: id, pricing })),
  ...more
})

export const candidate = (provider: string, of = model("org/model", [provider])): Candidate => ({
  model: of,
  provider,
  nativeId: of.id,
  pricing
})

export const request = (more: Partial<InferenceRequest> = {}): InferenceRequest => ({
  protocol: "openai-chat",
  operation: "chat",
  body: {},
  conversation: () => toConversation(more.body ?? {}),
  dropUnsupported: false,
  model: "org/model",
  fallbackModels: [],
  preference: null,
  stream: false,
  includeUsage: false,
  maxTokens: null,
  choices: 1,
  promptCharacters: 400,
  promptImages: 0,
  ...more
})
