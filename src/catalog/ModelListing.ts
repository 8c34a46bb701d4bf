/**
 * Models as `GET /v1/models` shows them.
 *
 * @since 0.1.0
 */
import type { HealthState } from "../../schemas/Health.ts"
import type { Model, Pricing, PricingTier } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { blendedPrice } from "../routing/Contender.ts"
import { taskPriors } from "../routing/TaskPriors.ts"
import { encodeMetrics, type HubSnapshot, type KnownRepository } from "./HubMetrics.ts"
import { compare, type ListingCursor, type Place, type Sort } from "./ListingCursor.ts"

/** How a model or a provider of it is just now; null where nothing is known. @category models @since 0.1.0 */
export type Health = HealthState | null

/** What a listing asks for. `view` `all` gives one row for each model and provider. @category models @since 0.1.0 */
export interface ListingQuery {
  readonly view: "unique" | "all"
  /** Only what can be used now: models with an active provider. */
  readonly active: boolean
  readonly provider: string | null
  /** `text->image` for just these, or one kind that goes in or comes out. */
  readonly modality: string | null
  /** Words to be found in the id or the name. */
  readonly q: string | null
  readonly sort: Sort
  /** Whether rows tell what the Hugging Face Hub says of them. */
  readonly hub: boolean
}

/** Everything that is served, by id. @category constructors @since 0.1.0 */
export const plainQuery: ListingQuery = {
  view: "unique",
  active: true,
  provider: null,
  modality: null,
  q: null,
  sort: "id",
  hub: false
}

/** A model with its providers in the order they are tried. @category models @since 0.1.0 */
export interface ListedModel {
  readonly model: Model
  /** Everybody who may serve it. */
  readonly all: ReadonlyArray<string>
  /** Those of them who can be asked now. */
  readonly usable: ReadonlyArray<string>
  /** What words are looked for in, in lower case. */
  readonly text: string
}

const encodeTier = (tier: PricingTier) => ({
  above_input_tokens: tier.aboveInput,
  prompt: Money.toUsd(tier.prompt),
  completion: Money.toUsd(tier.completion),
  ...(tier.cachedRead === undefined ? {} : { cached_read: Money.toUsd(tier.cachedRead) }),
  ...(tier.cacheWrite === undefined ? {} : { cache_write: Money.toUsd(tier.cacheWrite) })
})

/** Zero is a price only where the model is free: what is not paid by tokens, or not by those that come out, has none for them. */
const encodeTokenPrice = (price: Money.Money, free: boolean): string | null => (price === 0n && !free ? null : Money.toUsd(price))

const encodePricing = (pricing: Pricing | null, free: boolean) =>
  pricing === null
    ? null
    : {
        prompt: encodeTokenPrice(pricing.prompt, free),
        completion: encodeTokenPrice(pricing.completion, free),
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
    pricing: encodePricing(first?.pricing ?? null, model.free),
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
      pricing: encodePricing(provider.pricing, model.free),
      ...encodeTiers(provider.pricing),
      health: healthOf(provider.slug)
    }))
  }
}

/** The same with what the Hub says of it. @category encoding @since 0.1.0 */
export const encodeWithHub = (
  model: Model,
  slugs: ReadonlyArray<string>,
  healthOf: (slug: string) => Health,
  known: KnownRepository | null
) => ({ ...encodeModel(model, slugs, healthOf), huggingface_metrics: encodeMetrics(known) })

/** A row to be shown: a model, and the providers that the row speaks of. @category models @since 0.1.0 */
export interface Row extends Place {
  readonly model: Model
  readonly slugs: ReadonlyArray<string>
}

const wordsOf = (q: string | null): ReadonlyArray<string> =>
  (q ?? "")
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "")

/** Whether a model has a modality: just this one, or a kind among what goes in or comes out. */
const hasModality = (model: Model, wanted: string): boolean =>
  wanted.includes("->") ? model.modality === wanted : model.modality.split(/->|\+/).includes(wanted)

/** What a model is ordered by, the least first; null where it has no such figure. */
const figureOf = (sort: Sort, model: Model, first: string | undefined, hub: HubSnapshot): number | null => {
  if (sort === "id") return null
  if (sort === "context_length") return -model.contextLength
  if (sort === "price") {
    const pricing = model.providers.find(({ slug }) => slug === first)?.pricing ?? null
    const blended = pricing === null ? 0 : blendedPrice(pricing)
    return model.free || blended > 0 ? blended : null
  }
  const figure = hub.of(model)?.metrics[sort] ?? null
  return figure === null ? null : -figure
}

/** The rows that a query asks for, in its order; models come by id. @category filtering @since 0.1.0 */
export const selectRows = (models: ReadonlyArray<ListedModel>, query: ListingQuery, hub: HubSnapshot): ReadonlyArray<Row> => {
  const words = wordsOf(query.q)
  const modality = query.modality?.toLowerCase().replaceAll("→", "->").replaceAll(/\s/g, "") ?? null
  const rows: Array<Row> = []
  for (const { all, model, text, usable } of models) {
    if (modality !== null && !hasModality(model, modality)) continue
    if (!words.every((word) => text.includes(word))) continue
    const shown = query.active ? usable : all
    if (shown.length === 0 || (query.provider !== null && !shown.includes(query.provider))) continue
    const place = { model, id: model.id, value: figureOf(query.sort, model, query.provider ?? shown[0], hub) }
    if (query.view === "unique") rows.push({ ...place, slugs: shown })
    else for (const slug of shown) if (query.provider === null || slug === query.provider) rows.push({ ...place, slugs: [slug] })
  }
  return query.sort === "id" ? rows : rows.sort(compare)
}

/** The rows of a page, and where the next one goes on; null: there is none. @category paging @since 0.1.0 */
export const pageOf = (
  rows: ReadonlyArray<Row>,
  { sort, view }: Pick<ListingQuery, "sort" | "view">,
  after: ListingCursor | null,
  limit: number | null
): { readonly rows: ReadonlyArray<Row>; readonly next: ListingCursor | null } => {
  const isAfter = (row: Row): boolean => {
    if (after === null) return true
    const order = compare(row, after)
    return order > 0 || (order === 0 && view === "all" && !row.slugs.some((slug) => after.given.includes(slug)))
  }
  const rest = after === null ? rows : rows.filter(isAfter)
  const page = limit === null ? rest : rest.slice(0, limit)
  const last = page.at(-1)
  if (last === undefined || page.length === rest.length) return { rows: page, next: null }
  const before = after?.id === last.id ? after.given : []
  const given = view === "all" ? [...before, ...page.flatMap(({ id, slugs }) => (id === last.id ? slugs : []))] : []
  return { rows: page, next: { sort, value: last.value, id: last.id, given } }
}
