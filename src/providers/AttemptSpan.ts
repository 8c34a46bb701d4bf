/**
 * The span of one attempt at a provider, in the words of OpenTelemetry's conventions for generative AI. None is made unless
 * somebody traces.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Exit, Option, Tracer } from "effect"
import type { InferenceEvent, InferenceRequest, Operation } from "../../schemas/Inference.ts"
import { type ProviderError, ProviderStatus } from "../../schemas/Provider.ts"
import { errorCode } from "./FailurePolicy.ts"
import type { ProviderCall } from "./ProviderAdapter.ts"

/** What prompts and answers go through before they are written on spans; null, by default, keeps them off. @category references @since 0.1.0 */
export const CapturedContent = Context.Reference<((text: string) => string) | null>("sluice/providers/CapturedContent", {
  defaultValue: () => null
})

/** An attempt that is being written down. @category models @since 0.1.0 */
export interface AttemptSpan {
  /** The call, with what tells the provider of the trace. */
  readonly call: ProviderCall
  /** Takes figures and reasons out of events that pass. */
  readonly read: (events: ReadonlyArray<InferenceEvent>) => void
  readonly fail: (error: ProviderError) => void
  /** Ends the span, once. */
  readonly end: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

const operations: Readonly<Record<Operation, string>> = {
  chat: "chat",
  embeddings: "embeddings",
  images: "image_generation",
  transcription: "transcription"
}

/** Providers that the conventions have a name of their own for. */
const conventional: Readonly<Record<string, string>> = {
  "aws-bedrock": "aws.bedrock",
  "azure-openai": "azure.ai.openai",
  "google-ai-studio": "gcp.gemini",
  "google-vertex": "gcp.vertex_ai",
  mistral: "mistral_ai",
  xai: "x_ai"
}

/** Characters of a prompt, and of an answer, that a span takes. */
const MOST = 32_768

const attributesOf = ({ model, nativeId, provider, request }: ProviderCall): Record<string, unknown> => {
  const name = conventional[provider.definition.slug] ?? provider.definition.slug
  return {
    "gen_ai.operation.name": operations[request.operation],
    "gen_ai.provider.name": name,
    "gen_ai.system": name,
    "gen_ai.request.model": nativeId,
    "sluice.provider": provider.definition.slug,
    "sluice.model": model.id,
    ...(URL.canParse(provider.baseUrl) ? { "server.address": new URL(provider.baseUrl).hostname } : {}),
    ...(request.maxTokens === null ? {} : { "gen_ai.request.max_tokens": request.maxTokens })
  }
}

const promptOf = ({ body }: InferenceRequest): string => JSON.stringify(body["messages"] ?? body["input"] ?? body["prompt"] ?? null)

/** Whatever of an answer is text. */
const textOf = (event: InferenceEvent): string => (event._tag === "Text" || event._tag === "Refusal" ? event.text : "")

const written = (call: ProviderCall, span: Tracer.Span, content: ((text: string) => string) | null): AttemptSpan => {
  const reasons = new Set<string>()
  let text = ""
  let failure: ProviderError | null = null
  if (content !== null) span.attribute("gen_ai.input.messages", content(promptOf(call.request).slice(0, MOST)))
  const read = (events: ReadonlyArray<InferenceEvent>): void => {
    for (const event of events) {
      if (event._tag === "Finish") reasons.add(event.reason)
      else if (event._tag === "Usage") {
        span.attribute("gen_ai.usage.input_tokens", event.usage.input + event.usage.cachedRead + event.usage.cacheWrite)
        span.attribute("gen_ai.usage.output_tokens", event.usage.output + event.usage.reasoning)
      } else if (content !== null && text.length < MOST) text += textOf(event)
    }
  }
  const fail = (error: ProviderError): void => {
    failure ??= error
    span.attribute("error.type", errorCode(error))
    if (error.reason instanceof ProviderStatus) span.attribute("http.response.status_code", error.reason.status)
  }
  const end = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.map(Clock.currentTimeNanos, (now) => {
      if (reasons.size > 0) span.attribute("gen_ai.response.finish_reasons", [...reasons])
      if (content !== null) span.attribute("gen_ai.output.messages", content(text.slice(0, MOST)))
      span.end(now, failure === null ? exit : Exit.fail(failure))
    })
  const traceparent = `00-${span.traceId.padStart(32, "0")}-${span.spanId}-01`
  return { call: { ...call, traceparent }, read, fail, end }
}

/** Begins the span of an attempt; null where the request is not traced. @category models @since 0.1.0 */
export type Begin = (call: ProviderCall) => Effect.Effect<AttemptSpan | null>

/** Null where nobody traces. @category constructors @since 0.1.0 */
export const make: Effect.Effect<Begin | null> = Effect.gen(function* () {
  if ((yield* Effect.tracer) === Tracer.nativeTracer) return null
  const content = yield* CapturedContent
  return Effect.fnUntraced(function* (call: ProviderCall) {
    const parent = yield* Effect.option(Effect.currentParentSpan)
    if (Option.isNone(parent) || !parent.value.sampled) return null
    const name = `${operations[call.request.operation]} ${call.nativeId}`
    const span = yield* Effect.makeSpan(name, { kind: "client", attributes: attributesOf(call) })
    return written(call, span, content)
  })
})
