/**
 * Models as `GET /v1/models` shows them.
 *
 * @since 0.1.0
 */
import type { HealthState } from "../../schemas/Health.ts"
import type { Model, Pricing, PricingTier } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { taskPriors } from "../routing/TaskPriors.ts"

/** How a model or a provider of it is just now; null where nothing is known. @category models @since 0.1.0 */
export type Health = HealthState | null

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

/** A model with its providers in the order they are tried. @category models @since 0.1.0 */
export interface ListedModel {
  readonly model: Model
  /** Everybody who may serve it. */
  readonly all: ReadonlyArray<string>
  /** Those of them who can be asked now. */
  readonly usable: ReadonlyArray<string>
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
        ...(pricing.request === undefined ? {} : { request: Money.toUsd(pricing.request) })
      }

/** What long prompts cost, beside the prices: whoever reads those finds decimal strings and nothing else. */
const encodeTiers = (pricing: Pricing | null) => (pricing?.tiers === undefined ? {} : { pricing_tiers: pricing.tiers.map(encodeTier) })

/** The best of its providers' states is the model's. */
const best = (states: ReadonlyArray<Health>): Health => {
  for (const state of ["healthy", "degraded", "down"] as const) if (states.includes(state)) return state
  return null
}

/** One row; `slugs` are the providers it speaks of, the first choice first. @category encoding @since 0.1.0 */
export const encodeModel = (model: Model, slugs: ReadonlyArray<string>, healthOf: (slug: string) => Health) => {
  const rows = new Map(model.providers.map((provider) => [provider.slug, provider]))
  const providers = slugs.flatMap((slug) => rows.get(slug) ?? [])
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
    ...encodeTiers(first?.pricing ?? null),
    supports: model.supports,
    health: best(providers.map((provider) => healthOf(provider.slug))),
    benchmarks: model.benchmarks,
    task_priors: taskPriors(model),
    free: model.free,
    ...(model.deprecated === true ? { deprecated: true } : {}),
    providers: providers.map((provider) => ({
      slug: provider.slug,
      native_id: provider.nativeId,
      pricing: encodePricing(provider.pricing),
      ...encodeTiers(provider.pricing),
      health: healthOf(provider.slug)
    }))
  }
}

/** A row to be shown: a model, and the providers that the row speaks of. @category models @since 0.1.0 */
export type Row = readonly [model: Model, slugs: ReadonlyArray<string>]

const wordsOf = (q: string | null): ReadonlyArray<string> =>
  (q ?? "")
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "")

/** The rows that a query asks for, in the catalog's order. @category filtering @since 0.1.0 */
export const selectRows = (models: ReadonlyArray<ListedModel>, query: ListingQuery): ReadonlyArray<Row> => {
  const words = wordsOf(query.q)
  return models.flatMap(({ all, model, usable }): ReadonlyArray<Row> => {
    if (query.modality !== null && model.modality !== query.modality) return []
    if (words.length > 0) {
      const text = `${model.id} ${model.name}`.toLowerCase()
      if (!words.every((word) => text.includes(word))) return []
    }
    const shown = query.active ? usable : all
    if (shown.length === 0 || (query.provider !== null && !shown.includes(query.provider))) return []
    if (query.view === "unique") return [[model, shown]]
    return shown.filter((slug) => query.provider === null || slug === query.provider).map((slug) => [model, [slug]] as const)
  })
}
