/**
 * One catalog out of what ships and what providers list. What ships stays; lists add models, providers and fresher prices.
 * Pure.
 *
 * @since 0.1.0
 */
import type { Model, ModelProvider, Pricing, Supports } from "../../schemas/Model.ts"
import { allowedProviders } from "../routing/CandidateOrder.ts"
import { type CatalogData, type CatalogModel, CREATED, decodePricing } from "./CatalogData.ts"
import type { ListedRow } from "./ProviderListing.ts"

/** One provider's list, as it was last read whole. @category models @since 0.1.0 */
export interface ProviderList {
  readonly provider: string
  readonly rows: ReadonlyArray<ListedRow>
}

/** Whose models a provider lists without naming their maker. */
const houses: Readonly<Record<string, string>> = {
  openai: "openai",
  anthropic: "anthropic",
  "google-ai-studio": "google",
  "google-vertex": "google",
  mistral: "mistralai",
  xai: "x-ai",
  deepseek: "deepseek",
  moonshot: "moonshotai",
  zai: "z-ai",
  "alibaba-cloud": "qwen",
  meta: "meta-llama"
}

/** Makers whose models' weights are nobody else's. */
const closedHouses = ["openai", "anthropic", "google", "x-ai", "amazon", "cohere"]
const openFamilies = /gpt-oss|gemma|aya|command-r/

/** Assumed of a model whose list does not say: the least that today's models have. */
const UNKNOWN_CONTEXT = 8_192

/** The canonical id of a provider's own: `{org}/{name}` in lower case. @category resolution @since 0.1.0 */
export const canonicalId = (provider: string, nativeId: string): string => {
  const plain = nativeId.replace(/^@cf\//, "").replace(/^accounts\/([^/]+)\/models\//, "$1/")
  const parts = plain
    .toLowerCase()
    .split("/")
    .filter((part) => part !== "")
  const name = (parts.at(-1) ?? "").replace(/[^a-z0-9._:-]/g, "-")
  const org = (parts.at(-2) ?? houses[provider] ?? provider).replace(/[^a-z0-9.-]/g, "-")
  return `${org}/${name}`
}

const supportsOf = (row: ListedRow): Supports => {
  const can = (...names: ReadonlyArray<string>): boolean => row.parameters?.some((name) => names.includes(name)) === true
  const isChat = row.modality.endsWith("text") && !row.modality.startsWith("audio->")
  return {
    streaming: isChat,
    tools: can("tools", "tool_choice", "function_calling", "tool-use", "tool_use"),
    vision: /image.*->.*text/.test(row.modality) || can("vision"),
    json_schema: can("structured_outputs", "json_schema", "structured-outputs"),
    logprobs: can("logprobs", "top_logprobs"),
    reasoning: can("reasoning", "include_reasoning"),
    prefill: false
  }
}

const toModel = (id: string, provider: string, row: ListedRow): Model => {
  const org = id.slice(0, id.indexOf("/"))
  return {
    id,
    name: row.name ?? id.slice(org.length + 1),
    org,
    contextLength: row.contextLength ?? UNKNOWN_CONTEXT,
    maxOutput: row.maxOutput,
    modality: row.modality,
    supports: supportsOf(row),
    free: row.free,
    premium: false,
    openWeights: row.openWeights ?? (!closedHouses.includes(org) || openFamilies.test(id)),
    benchmarks: {},
    created: row.created ?? CREATED,
    ...(row.huggingFace === undefined ? {} : { huggingFace: row.huggingFace }),
    providers: [{ slug: provider, nativeId: row.nativeId, pricing: decodePricing(row.pricing) }]
  }
}

/** A listed price this many times above or below the one we know is rather a mistake. */
const TOO_DIFFERENT = 10n

const isNear = (listed: bigint, known: bigint): boolean => listed <= known * TOO_DIFFERENT && known <= listed * TOO_DIFFERENT

/** A provider's fresher price in place of the one that ships, unless it is too different to be believed. */
const refreshed = (known: Pricing | null, listed: Pricing | null): Pricing | null => {
  if (known === null || listed === null) return listed ?? known
  if (!isNear(listed.prompt, known.prompt) || !isNear(listed.completion, known.completion)) return known
  if (listed.prompt === known.prompt && listed.completion === known.completion) return { ...listed, ...known }
  const tiers = known.tiers?.filter((tier) => tier.prompt >= listed.prompt && tier.completion >= listed.completion) ?? []
  return tiers.length === 0 ? listed : { ...listed, tiers }
}

/** Names of models that ship. */
const indexOf = (shipped: CatalogData) => {
  const ids = new Set<string>()
  const natives = new Map<string, string>()
  for (const { model } of shipped.models) {
    ids.add(model.id)
    for (const { nativeId, slug } of model.providers) {
      natives.set(`${slug}|${nativeId.toLowerCase()}`, model.id)
      if (!natives.has(nativeId.toLowerCase())) natives.set(nativeId.toLowerCase(), model.id)
    }
  }
  return (provider: string, nativeId: string): string => {
    const lower = nativeId.toLowerCase()
    const id = canonicalId(provider, nativeId)
    return (
      natives.get(`${provider}|${lower}`) ??
      (ids.has(id) ? id : (shipped.aliases.get(id) ?? shipped.aliases.get(lower) ?? natives.get(lower) ?? id))
    )
  }
}

const withProvider = (model: Model, provider: string, row: ListedRow): Model => {
  const listed = decodePricing(row.pricing)
  const known = model.providers.find((candidate) => candidate.slug === provider)
  if (known !== undefined) {
    if (known.isFixed === true || known.nativeId.toLowerCase() !== row.nativeId.toLowerCase()) return model
    const pricing = refreshed(known.pricing, row.free === model.free ? listed : null)
    return { ...model, providers: model.providers.map((entry): ModelProvider => (entry === known ? { ...known, pricing } : entry)) }
  }
  // What a model costs at a provider that does not say so is not known.
  if (listed === null || row.free !== model.free) return model
  const grown: Model = { ...model, providers: [...model.providers, { slug: provider, nativeId: row.nativeId, pricing: listed }] }
  return allowedProviders(grown).includes(provider) ? grown : model
}

/** @category constructors @since 0.1.0 */
export const merge = (shipped: CatalogData, lists: ReadonlyArray<ProviderList>): CatalogData => {
  const identify = indexOf(shipped)
  const models = new Map<string, CatalogModel>(shipped.models.map((entry) => [entry.model.id, entry]))
  for (const { provider, rows } of lists) {
    for (const row of rows) {
      const id = identify(provider, row.nativeId)
      const known = models.get(id)
      if (known !== undefined) models.set(id, { ...known, model: withProvider(known.model, provider, row) })
      // A name that is an alias already keeps its meaning; a model without a price is not served.
      else if (row.pricing !== null && !shipped.aliases.has(id)) {
        const model = toModel(id, provider, row)
        if (allowedProviders(model).includes(provider)) models.set(id, { model, pricing: null })
      }
    }
  }
  return { aliases: shipped.aliases, models: [...models.values()] }
}
