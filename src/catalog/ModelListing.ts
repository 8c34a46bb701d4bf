/**
 * Models as `GET /v1/models` shows them.
 *
 * @since 0.1.0
 */
import type { Model, Pricing, PricingTier } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { allowedProviders } from "../routing/CandidateOrder.ts"

/** What a listing asks for. `view` `all` gives one row for each model and provider. @category models @since 0.1.0 */
export interface ListingQuery {
  readonly view: "unique" | "all"
  /** Only what can be used now: models with an active provider. */
  readonly active: boolean
  readonly provider: string | null
  readonly modality: string | null
  /** Words to be found in the id or the name. */
  readonly q: string | null
}

const encodeTier = (tier: PricingTier) => ({
  above_input_tokens: tier.aboveInput,
  prompt: Money.toUsd(tier.prompt),
  completion: Money.toUsd(tier.completion),
  ...(tier.cachedRead === undefined ? {} : { cached_read: Money.toUsd(tier.cachedRead) }),
  ...(tier.cacheWrite === undefined ? {} : { cache_write: Money.toUsd(tier.cacheWrite) })
})

const encodePricing = (pricing: Pricing | null) =>
  pricing === null
    ? null
    : {
        prompt: Money.toUsd(pricing.prompt),
        completion: Money.toUsd(pricing.completion),
        ...(pricing.cachedRead === undefined ? {} : { cached_read: Money.toUsd(pricing.cachedRead) }),
        ...(pricing.cacheWrite === undefined ? {} : { cache_write: Money.toUsd(pricing.cacheWrite) }),
        ...(pricing.reasoning === undefined ? {} : { reasoning: Money.toUsd(pricing.reasoning) }),
        ...(pricing.image === undefined ? {} : { image: Money.toUsd(pricing.image) }),
        ...(pricing.audioSecond === undefined ? {} : { audio_second: Money.toUsd(pricing.audioSecond) }),
        ...(pricing.request === undefined ? {} : { request: Money.toUsd(pricing.request) }),
        ...(pricing.tiers === undefined ? {} : { tiers: pricing.tiers.map(encodeTier) })
      }

/** One row; `slugs` are the providers it speaks of, the first choice first. @category encoding @since 0.1.0 */
export const encodeModel = (model: Model, slugs: ReadonlyArray<string>) => {
  const providers = slugs.flatMap((slug) => model.providers.filter((provider) => provider.slug === slug))
  const first = providers[0] ?? model.providers[0]
  return {
    id: model.id,
    object: "model",
    created: model.created,
    owned_by: model.org,
    name: model.name,
    provider_slug: first?.slug ?? model.org,
    context_length: model.contextLength,
    max_output: model.maxOutput,
    modality: model.modality,
    pricing: encodePricing(first?.pricing ?? null),
    supports: model.supports,
    health: null,
    benchmarks: model.benchmarks,
    free: model.free,
    providers: providers.map((provider) => ({
      slug: provider.slug,
      native_id: provider.nativeId,
      pricing: encodePricing(provider.pricing),
      health: null
    }))
  }
}

/** The rows of a listing. `choices` orders the providers of a model; `isActive` says which are switched on. @category encoding @since 0.1.0 */
export const listModels = (
  models: ReadonlyArray<Model>,
  query: ListingQuery,
  isActive: (slug: string) => boolean,
  choices: (model: Model) => ReadonlyArray<string>
) => {
  const words =
    query.q
      ?.toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== "") ?? []
  return models.flatMap((model) => {
    if (query.modality !== null && model.modality !== query.modality) return []
    const text = `${model.id} ${model.name}`.toLowerCase()
    if (!words.every((word) => text.includes(word))) return []
    const ordered = choices(model).filter((slug) => allowedProviders(model).includes(slug))
    const shown = query.active ? ordered.filter(isActive) : ordered
    if (shown.length === 0 || (query.provider !== null && !shown.includes(query.provider))) return []
    if (query.view === "unique") return [encodeModel(model, shown)]
    return shown.filter((slug) => query.provider === null || slug === query.provider).map((slug) => encodeModel(model, [slug]))
  })
}
