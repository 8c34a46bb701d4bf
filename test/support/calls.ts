/**
 * Calls to a provider's adapter without a server: what is sent, and what is made of an answer.
 */
import { Redacted } from "effect"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import type { Model } from "../../schemas/Model.ts"
import { toConversation } from "../../src/http/OpenAiChatConversation.ts"
import type { ProviderCall } from "../../src/providers/ProviderAdapter.ts"
import type { RegisteredProvider } from "../../src/providers/ProviderRegistry.ts"
import type { AnswerDecoder } from "../../src/providers/protocols/AnswerDecoding.ts"
import { definitions } from "../../src/providers/RegistryData.ts"
import { model, request } from "./scripted.ts"

export const providerOf = (slug: string): RegisteredProvider => {
  const definition = definitions.find((row) => row.slug === slug)
  if (definition === undefined) throw new Error(`no provider ${slug}`)
  return { definition, active: true, baseUrl: definition.baseUrl, apiKey: Redacted.make("key"), variables: {}, headers: {} }
}

export interface CallOptions {
  readonly nativeId?: string
  readonly maxTokens?: number | null
  readonly model?: Partial<Model>
  readonly request?: Partial<InferenceRequest>
}

/** A call of a chat body in OpenAI's shape. */
export const callOf = (slug: string, body: JsonObject, options: CallOptions = {}): ProviderCall => ({
  provider: providerOf(slug),
  nativeId: options.nativeId ?? "native-model",
  model: { ...model("org/model", [slug]), ...options.model },
  maxTokens: options.maxTokens ?? null,
  request: request({
    body,
    conversation: () => toConversation(body),
    stream: body["stream"] === true,
    choices: typeof body["n"] === "number" ? body["n"] : 1,
    maxTokens: typeof body["max_tokens"] === "number" ? body["max_tokens"] : null,
    ...options.request
  })
})

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Cuts bytes into pieces of the given sizes, over and over. */
export const cut = (all: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  for (let at = 0, i = 0; at < all.length; i++) {
    const size = sizes[i % Math.max(1, sizes.length)] ?? 7
    pieces.push(all.slice(at, at + size))
    at += size
  }
  return pieces
}

export const decode = (decoder: AnswerDecoder, pieces: ReadonlyArray<Uint8Array>) => {
  const events: Array<InferenceEvent> = []
  for (const piece of pieces) {
    const decoded = decoder.push(piece)
    events.push(...decoded.events)
    if (decoded.fault !== null) return { events, fault: decoded.fault.fault }
    if (decoder.isDone) break
  }
  const end = decoder.end()
  return { events: [...events, ...end.events], fault: end.fault?.fault ?? null }
}

/** The text of some events. */
export const textOf = (events: ReadonlyArray<InferenceEvent>): string =>
  events.map((event) => (event._tag === "Text" ? event.text : "")).join("")
