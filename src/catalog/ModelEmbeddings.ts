/**
 * Texts as vectors by a model of the catalog, asked for by the house itself: nobody is charged for it, and no more than two of
 * its providers are tried.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Metric, Result, Schema } from "effect"
import { Base64 } from "effect/encoding"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import type { Candidate } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { estimateTokens } from "../../schemas/Usage.ts"
import { Breakers } from "../providers/Breakers.ts"
import { breakerOutcome, errorCode } from "../providers/FailurePolicy.ts"
import { ProviderAdapters } from "../providers/ProviderAdapters.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { embeddingsRequest } from "../routing/HouseRequest.ts"
import { forOperation } from "../routing/Operations.ts"
import { Catalog } from "./Catalog.ts"

/** No vector came; why, in words for the operator. @category errors @since 0.1.0 */
export class NoEmbedding extends Schema.TaggedError<NoEmbedding>()("NoEmbedding", { message: Schema.String }) {}

/** @category services @since 0.1.0 */
export class ModelEmbeddings extends Context.Service<
  ModelEmbeddings,
  {
    readonly embed: (text: string) => Effect.Effect<ReadonlyArray<number>, NoEmbedding>
  }
>()("sluice/catalog/ModelEmbeddings") {
  /** `model`: by any of its names. */
  static readonly layer = (model: string) => Layer.effect(this, make(model))
}

/** Providers of the model that are tried. */
const PROVIDERS = 2

const tokensUsed = Metric.counter("sluice_house_tokens_total", {
  description: "Tokens of requests that the house made for itself",
  incremental: true
})
const costs = Metric.counter("sluice_house_cost_usd_total", {
  description: "USD that they cost at the catalog's prices",
  incremental: true
})

const floats = (text: string): ReadonlyArray<number> | null => {
  const bytes = Result.getOrNull(Base64.decode(text))
  if (bytes === null || bytes.length % 4 !== 0) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.length / 4 }, (_, place) => view.getFloat32(4 * place, true))
}

/** The vector of an answer; null where it has none. */
const vectorOf = (events: ReadonlyArray<InferenceEvent>): ReadonlyArray<number> | null => {
  const value = events.find((event) => event._tag === "Data")?.value
  const rows = Json.isObject(value) ? value["data"] : undefined
  const [row] = Json.isArray(rows) ? rows : []
  const found = Json.isObject(row) ? row["embedding"] : undefined
  if (typeof found === "string") return floats(found)
  const numbers = Json.isArray(found) ? found.flatMap((part) => (typeof part === "number" ? [part] : [])) : []
  return Json.isArray(found) && numbers.length === found.length ? numbers : null
}

const PICO = 1_000_000_000_000

const make = Effect.fnUntraced(function* (name: string) {
  const catalog = yield* Catalog
  const registry = yield* ProviderRegistry
  const breakers = yield* Breakers
  const adapters = yield* ProviderAdapters

  const account = (candidate: Candidate, text: string, events: ReadonlyArray<InferenceEvent>) => {
    const told = events.findLast((event) => event._tag === "Usage")?.usage.input
    const tokens = told ?? estimateTokens(text.length)
    const cost = candidate.pricing.prompt * BigInt(tokens) + (candidate.pricing.request ?? Money.zero)
    const labels = { purpose: "semantic_cache", model: candidate.model.id, provider: candidate.provider }
    return Effect.andThen(
      Metric.update(Metric.withAttributes(tokensUsed, labels), tokens),
      Metric.update(Metric.withAttributes(costs, labels), Number(cost) / PICO)
    )
  }

  const ask = Effect.fnUntraced(function* (candidate: Candidate, text: string) {
    const provider = registry.get(candidate.provider)
    const permit = provider === undefined ? null : yield* breakers.permit(candidate.provider)
    if (provider === undefined || permit === null)
      return yield* new NoEmbedding({ message: `the circuit of ${candidate.provider} is open` })
    const { model, nativeId } = candidate
    const call = { provider, nativeId, model, request: embeddingsRequest(model.id, text), maxTokens: null }
    const events = yield* adapters
      .for(provider)
      .send(call)
      .pipe(
        Effect.tap(() => permit.tell("success")),
        Effect.tapError((error) => permit.tell(breakerOutcome(error))),
        Effect.onInterrupt(() => permit.tell("ignored")),
        Effect.mapError((error) => new NoEmbedding({ message: `${candidate.provider}: ${errorCode(error)}` }))
      )
    yield* account(candidate, text, events)
    return vectorOf(events) ?? (yield* new NoEmbedding({ message: `${candidate.provider}: no vector in the answer` }))
  })

  const embed = Effect.fnUntraced(function* (text: string): Effect.fn.Return<ReadonlyArray<number>, NoEmbedding> {
    const found = yield* Effect.mapError(
      catalog.candidates(name, null),
      ({ reason }) => new NoEmbedding({ message: `${name}: ${reason._tag}` })
    )
    const able = forOperation(found, "embeddings", (slug) => registry.get(slug)?.definition)
    const [first, ...others] = typeof able === "string" ? [] : able.slice(0, PROVIDERS)
    if (first === undefined) return yield* new NoEmbedding({ message: typeof able === "string" ? able : `${name}: nobody serves it` })
    return yield* others.reduce((tried, candidate) => Effect.catch(tried, () => ask(candidate, text)), ask(first, text))
  })

  return ModelEmbeddings.of({ embed })
})
