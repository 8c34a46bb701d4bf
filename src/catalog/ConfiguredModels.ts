/**
 * The catalog with what a deployment adds to it or knows otherwise. Pure.
 *
 * @since 0.1.0
 */
import { Option, Result } from "effect"
import type { ModelSection } from "../../schemas/ConfigFile.ts"
import type { Model, ModelProvider, Pricing } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { type CatalogData, type CatalogModel, CREATED } from "./CatalogData.ts"
import { perToken } from "./ListingPrice.ts"

type Prices = Pick<ModelSection, "price_per_million" | "price_per_image" | "price_per_audio_second" | "price_per_request">
type Price = number | string

const each = (price: Price): Money.Money => perToken(price, "token") ?? Money.zero
const ofMillion = (price: Price): Money.Money => perToken(price, "million") ?? Money.zero

const optional = <K extends string>(
  name: K,
  price: Price | undefined,
  read: (price: Price) => Money.Money
): Partial<Record<K, Money.Money>> => {
  const found: Partial<Record<K, Money.Money>> = {}
  if (price !== undefined) found[name] = read(price)
  return found
}

/** Null where a section says nothing of prices. */
const pricingOf = (section: Prices): Pricing | null => {
  const { price_per_audio_second, price_per_image, price_per_million: tokens, price_per_request } = section
  if ([tokens, price_per_image, price_per_audio_second].every((price) => price === undefined)) return null
  return {
    prompt: ofMillion(tokens?.input ?? 0),
    completion: ofMillion(tokens?.output ?? 0),
    ...optional("cachedRead", tokens?.cached_read, ofMillion),
    ...optional("cacheWrite", tokens?.cache_write, ofMillion),
    ...optional("reasoning", tokens?.reasoning, ofMillion),
    ...optional("image", price_per_image, each),
    ...optional("audioSecond", price_per_audio_second, each),
    ...optional("request", price_per_request, each)
  }
}

const nothing: Pricing = { prompt: Money.zero, completion: Money.zero }

const rowsOf = (section: ModelSection, free: boolean): ReadonlyArray<ModelProvider> =>
  (section.providers ?? []).map((row) => ({
    slug: row.provider,
    nativeId: row.native_id ?? section.id.slice(section.id.indexOf("/") + 1),
    pricing: pricingOf(row) ?? pricingOf(section) ?? (free ? nothing : null),
    isFixed: true
  }))

/** What a section says of itself over what was known. */
const over = (known: Model, section: ModelSection): Model => {
  const free = section.free ?? known.free
  const rows = rowsOf(section, free)
  const own = pricingOf(section)
  const kept = known.providers
    .filter(({ slug }) => !rows.some((row) => row.slug === slug))
    .map((row) => (own === null ? row : { ...row, pricing: own, isFixed: true as const }))
  const supports = section.supports
  return {
    ...known,
    name: section.name ?? known.name,
    contextLength: section.context_length ?? known.contextLength,
    maxOutput: section.max_output ?? known.maxOutput,
    modality: section.modality ?? known.modality,
    free,
    supports:
      supports === undefined
        ? known.supports
        : {
            streaming: known.supports.streaming,
            tools: supports.includes("tools"),
            vision: supports.includes("vision"),
            json_schema: supports.includes("json_schema"),
            logprobs: supports.includes("logprobs"),
            reasoning: supports.includes("reasoning"),
            prefill: supports.includes("prefill")
          },
    providers: [...rows, ...kept],
    alsoServedBy: rows.map(({ slug }) => slug)
  }
}

/** Assumed of a model of which nothing is said. */
const UNKNOWN_CONTEXT = 8_192

const blank = (id: string): Model => ({
  id,
  name: id.slice(id.indexOf("/") + 1),
  org: id.slice(0, id.indexOf("/")),
  contextLength: UNKNOWN_CONTEXT,
  maxOutput: null,
  modality: "text->text",
  supports: { streaming: true, tools: false, vision: false, json_schema: false, logprobs: false, reasoning: false, prefill: false },
  free: false,
  premium: false,
  openWeights: false,
  benchmarks: {},
  created: CREATED,
  providers: []
})

/** What is configured beyond what ships. @category models @since 0.1.0 */
export interface Configured {
  readonly models: ReadonlyArray<ModelSection>
  readonly aliases: Readonly<Record<string, string>>
}

/**
 * Adds what is configured; fails with where and why a section cannot be used. `isProvider`: whether there is one of a slug.
 *
 * @category constructors
 * @since 0.1.0
 */
export const configure = (
  data: CatalogData,
  { aliases, models }: Configured,
  isProvider: (slug: string) => boolean
): Result.Result<CatalogData, string> => {
  const all = new Map<string, CatalogModel>(data.models.map((entry) => [entry.model.id, entry]))
  const named = new Map(data.aliases)
  for (const [at, section] of models.entries()) {
    const where = `models.${at} (${section.id})`
    const known = all.get(section.id)
    if (known === undefined && (section.providers ?? []).length === 0) return Result.fail(`${where} is new and needs \`providers\``)
    const stranger = (section.providers ?? []).findIndex((row) => !isProvider(row.provider))
    if (stranger >= 0) {
      return Result.fail(
        `${where}: providers.${stranger}.provider is ${JSON.stringify(section.providers?.[stranger]?.provider)}, which is no provider; add it under \`providers\``
      )
    }
    const model = over(known?.model ?? blank(section.id), section)
    const pricing = pricingOf(section) ?? known?.pricing ?? null
    const unpriced = model.providers.find((row) => row.isFixed === true && row.pricing === null)
    if (!model.free && pricing === null && unpriced !== undefined) {
      return Result.fail(`${where} has no price at ${unpriced.slug}: say \`price_per_million\`, or \`free: true\``)
    }
    all.set(section.id, { model, pricing })
    for (const alias of section.aliases ?? []) named.set(alias.toLowerCase(), section.id)
  }
  for (const [alias, target] of Object.entries(aliases)) {
    const id = all.has(target.toLowerCase()) ? target.toLowerCase() : named.get(target.toLowerCase())
    if (id === undefined) return Result.fail(`aliases.${alias} is ${JSON.stringify(target)}, which is no model of the catalog`)
    named.set(alias.toLowerCase(), id)
  }
  return Result.succeed({ models: [...all.values()], aliases: named })
}

/** The canonical id of a name in some data; none where there is no such model. @category accessors @since 0.1.0 */
export const idIn = (data: CatalogData, name: string): Option.Option<string> => {
  const lower = name.toLowerCase()
  if (data.models.some(({ model }) => model.id === lower)) return Option.some(lower)
  return Option.fromNullishOr(
    data.aliases.get(lower) ??
      data.models.find(({ model }) => model.providers.some(({ nativeId }) => nativeId.toLowerCase() === lower))?.model.id
  )
}
