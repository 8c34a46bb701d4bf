/**
 * The catalog: which models exist, who serves them, and what they cost.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Metric, Schema } from "effect"
import type { ProviderPreference } from "../../schemas/Inference.ts"
import type { Candidate, Model, Pricing } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { allowedProviders, order } from "../routing/CandidateOrder.ts"
import { operationOf } from "../routing/Operations.ts"
import { type CatalogData, type CatalogModel, shipped } from "./CatalogData.ts"
import { detectProvider, orgProviders } from "./ProviderDetection.ts"

/** No provider serves a model of that name. @category errors @since 0.1.0 */
export class ModelNotFound extends Schema.TaggedClass<ModelNotFound>()("ModelNotFound", {
  model: Schema.String,
  /** The field that named it, where that is not `model`. */
  param: Schema.optionalKey(Schema.String)
}) {}

/** The model exists, but no provider of it has a key. @category errors @since 0.1.0 */
export class NoActiveProvider extends Schema.TaggedClass<NoActiveProvider>()("NoActiveProvider", {
  model: Schema.String,
  /** Providers that would serve it, as far as the caller takes them. */
  providers: Schema.Array(Schema.String),
  /** The caller takes only these, whoever else serves it. */
  asked: Schema.Boolean
}) {}

/** A high-value model without a price of its own is never served at a default. @category errors @since 0.1.0 */
export class PricingUnavailable extends Schema.TaggedClass<PricingUnavailable>()("PricingUnavailable", { model: Schema.String }) {}

/** The `provider` field names something that is not registered, or a router mode does not exist. @category errors @since 0.1.0 */
export class InvalidRoute extends Schema.TaggedClass<InvalidRoute>()("InvalidRoute", { message: Schema.String, param: Schema.String }) {}

/** @category errors @since 0.1.0 */
export class CatalogError extends Schema.TaggedError<CatalogError>()("CatalogError", {
  reason: Schema.Union([ModelNotFound, NoActiveProvider, PricingUnavailable, InvalidRoute])
}) {}

/** @category services @since 0.1.0 */
export class Catalog extends Context.Service<
  Catalog,
  {
    /** The canonical id behind a name: an alias (any letter case), a provider's own id, or the name itself when unknown. */
    readonly canonical: (name: string) => string
    /** Providers to try for a model name, in order, priced; at least one. Breakers are not looked at here. */
    readonly candidates: (name: string, preference: ProviderPreference | null) => Effect.Effect<ReadonlyArray<Candidate>, CatalogError>
    /** Every model of the catalog, also those whose providers have no key. */
    readonly models: Effect.Effect<ReadonlyArray<Model>>
    /** The model behind a name; undefined when there is none. */
    readonly find: (name: string) => Model | undefined
    /** A number that changes whenever the catalog does. */
    readonly version: () => number
    /** Serves this data from now on. */
    readonly replace: (data: CatalogData) => Effect.Effect<void>
  }
>()("sluice/catalog/Catalog") {
  /** The catalog over some data. */
  static readonly layerFrom = (data: () => CatalogData): Layer.Layer<Catalog, never, ProviderRegistry> =>
    Layer.effect(
      this,
      Effect.map(ProviderRegistry, (registry) => make(data(), registry))
    )

  /** The catalog that ships with the gateway. */
  static readonly layer: Layer.Layer<Catalog, never, ProviderRegistry> = Catalog.layerFrom(shipped)
}

/** What a token of a model costs that no source prices, when the model is not of a high-value family. */
const DEFAULT_PRICING: Pricing = { prompt: Money.usd("0.00002"), completion: Money.usd("0.00002") }
/** The same of an image, and of a second of audio. */
const DEFAULT_IMAGE: Pricing = { prompt: Money.zero, completion: Money.zero, image: Money.usd("0.05") }
const DEFAULT_AUDIO: Pricing = { prompt: Money.zero, completion: Money.zero, audioSecond: Money.usd("0.000166666667") }

const defaultPricing = (model: Model): Pricing => {
  const operation = operationOf(model)
  return operation === "images" ? DEFAULT_IMAGE : operation === "transcription" ? DEFAULT_AUDIO : DEFAULT_PRICING
}

const defaulted = Metric.counter("sluice_default_pricing_usage_total", {
  description: "Requests served at the default price",
  incremental: true
})

const premiumName = /(^|\/)(gpt-[4-9]|chatgpt-|claude|gemini|o[134](?![a-z0-9]))/

/** Whether a model belongs to a family that is never served at a default price. @category predicates @since 0.1.0 */
export const isPremium = (model: Pick<Model, "id" | "premium">): boolean =>
  model.premium || (premiumName.test(model.id) && !model.id.includes("gpt-oss"))

/** Whether a price is one: zero counts only where the model is free. @category predicates @since 0.1.0 */
export const isPriced = (pricing: Pricing | null, free: boolean): pricing is Pricing =>
  pricing !== null &&
  (free || pricing.prompt > 0n || pricing.completion > 0n || (pricing.image ?? 0n) > 0n || (pricing.audioSecond ?? 0n) > 0n)

/** Routes that were worked out already, at most. */
const MEMO_SIZE = 4_096

const make = (initial: CatalogData, registry: ProviderRegistry["Service"]): Catalog["Service"] => {
  let version = 0
  let index = new Index(initial, registry)
  return Catalog.of({
    canonical: (name) => index.canonical(name),
    candidates: (name, preference) => Effect.suspend(() => toEffect(name, index.route(name, preference))),
    models: Effect.sync(() => index.models),
    find: (name) => index.find(name),
    version: () => version,
    replace: (data) =>
      Effect.sync(() => {
        index = new Index(data, registry)
        version++
      })
  })
}

const toEffect = (name: string, found: Route | CatalogError): Effect.Effect<ReadonlyArray<Candidate>, CatalogError> => {
  if (found instanceof CatalogError) return Effect.fail(found)
  if (!found.isDefault) return Effect.succeed(found.candidates)
  const model = found.candidates[0]?.model.id ?? name
  return Effect.as(Metric.update(Metric.withAttributes(defaulted, { model }), 1), found.candidates)
}

/** Names to models and models to routes, looked up without a scan. */
class Index {
  private readonly aliases: ReadonlyMap<string, string>
  private readonly registry: ProviderRegistry["Service"]
  private readonly byId: ReadonlyMap<string, CatalogModel>
  private readonly byNative = new Map<string, string>()
  private readonly byNativeLower = new Map<string, string>()
  private readonly memo = new Map<string, Route | CatalogError>()
  private readonly shown: ReadonlyMap<string, Model>
  readonly models: ReadonlyArray<Model>

  constructor(data: CatalogData, registry: ProviderRegistry["Service"]) {
    this.aliases = data.aliases
    this.registry = registry
    this.byId = new Map(data.models.map((entry) => [entry.model.id, entry]))
    this.models = data.models.map(withPrices)
    this.shown = new Map(this.models.map((model) => [model.id, model]))
    for (const { model } of data.models) {
      for (const { nativeId } of model.providers) {
        if (!this.byNative.has(nativeId)) this.byNative.set(nativeId, model.id)
        const lower = nativeId.toLowerCase()
        if (!this.byNativeLower.has(lower)) this.byNativeLower.set(lower, model.id)
      }
    }
  }

  find(name: string): Model | undefined {
    return this.shown.get(this.canonical(name))
  }

  canonical(name: string): string {
    const lower = name.toLowerCase()
    if (this.byId.has(lower)) return lower
    const known = this.aliases.get(lower) ?? this.byNative.get(name) ?? this.byNativeLower.get(lower)
    if (known !== undefined) return known
    // `groq/llama-…`: a provider's slug before an id that it knows.
    const slash = lower.indexOf("/")
    if (slash <= 0 || this.registry.get(lower.slice(0, slash)) === undefined) return name
    const rest = lower.slice(slash + 1)
    return this.byId.has(rest) ? rest : (this.aliases.get(rest) ?? this.byNativeLower.get(rest) ?? name)
  }

  route(name: string, preference: ProviderPreference | null): Route | CatalogError {
    if (preference !== null) return this.workOut(name, preference)
    const known = this.memo.get(name)
    if (known !== undefined) return known
    const worked = this.workOut(name, preference)
    if (this.memo.size >= MEMO_SIZE) this.memo.clear()
    this.memo.set(name, worked)
    return worked
  }

  private workOut(name: string, preference: ProviderPreference | null): Route | CatalogError {
    if (/^router(:|$)/i.test(name)) return invalidRoute(`\`${name}\`: routers are not available yet. Name a model.`, "model")
    const entry = this.byId.get(this.canonical(name))
    if (entry === undefined) return new CatalogError({ reason: new ModelNotFound({ model: name }) })
    const { model } = entry
    const refused = preference === null ? null : this.checkPreference(model, preference)
    if (refused !== null) return refused
    const slugs = order(model, {
      chain: this.registry.chain,
      detected: this.detect(name, model),
      org: orgProviders[model.org] ?? [],
      preference: preference === null ? null : { ...preference, order: this.slugs(preference.order), only: this.slugs(preference.only) }
    })
    const [named] = this.slugs(preference?.named === undefined ? [] : [preference.named])
    const active = slugs.filter((slug) => this.registry.get(slug)?.active === true)
    if (active.length === 0 || (named !== undefined && !active.includes(named))) {
      const asked = preference !== null && wantedOf(preference).length > 0
      const providers = named === undefined ? slugs : [named]
      return new CatalogError({ reason: new NoActiveProvider({ model: model.id, providers, asked }) })
    }
    let isDefault = false
    const candidates = active.flatMap((slug): ReadonlyArray<Candidate> => {
      const priced = priceAt(entry, slug)
      const row = model.providers.find((provider) => provider.slug === slug)
      if (priced === null || row === undefined) return []
      isDefault ||= priced.isDefault
      return [{ model, provider: slug, nativeId: row.nativeId, pricing: priced.pricing }]
    })
    const isServed = named === undefined ? candidates.length > 0 : candidates[0]?.provider === named
    if (!isServed) return new CatalogError({ reason: new PricingUnavailable({ model: model.id }) })
    return { candidates, isDefault }
  }

  /** The provider that a name points to, among those that may serve the model. */
  private detect(name: string, model: Model): string | null {
    const serving = allowedProviders(model)
    const formed = detectProvider(name)
    if (formed !== null && serving.includes(formed)) return formed
    // A canonical id may begin like a provider's slug and means no provider by it.
    if (this.byId.has(name.toLowerCase())) return null
    const bySlug = this.registry.get(name.slice(0, Math.max(0, name.indexOf("/"))).toLowerCase())?.definition.slug
    if (bySlug !== undefined && serving.includes(bySlug)) return bySlug
    // A provider's own spelling points to that provider.
    return model.providers.find((provider) => provider.nativeId === name && serving.includes(provider.slug))?.slug ?? null
  }

  private checkPreference(model: Model, preference: ProviderPreference): CatalogError | null {
    const unknown = [...preference.order, ...preference.only].find((slug) => this.registry.get(slug) === undefined)
    if (unknown !== undefined) return invalidRoute(`There is no provider \`${unknown}\`. GET /v1/providers lists them.`, "provider")
    const serving = allowedProviders(model)
    const wanted = wantedOf(preference)
    if (wanted.length === 0 || this.slugs(wanted).some((slug) => serving.includes(slug))) return null
    return invalidRoute(`\`${model.id}\` is not served by ${wanted.join(", ")}. It is served by ${serving.join(", ")}.`, "provider")
  }

  /** Providers' other names as their slugs. */
  private slugs(names: ReadonlyArray<string>): ReadonlyArray<string> {
    return names.map((name) => this.registry.get(name)?.definition.slug ?? name)
  }
}

/** The providers of which one has to serve the model; none where the caller leaves it to us. */
const wantedOf = ({ allowFallbacks, named, only, order }: ProviderPreference): ReadonlyArray<string> => {
  if (only.length > 0) return only
  if (named !== undefined) return [named]
  return allowFallbacks ? [] : order
}

/** A provider's own price, else the model's, else the default where that may be. */
const priceAt = (entry: CatalogModel, slug: string): { readonly pricing: Pricing; readonly isDefault: boolean } | null => {
  const own = entry.model.providers.find((provider) => provider.slug === slug)?.pricing ?? null
  if (isPriced(own, entry.model.free)) return { pricing: own, isDefault: false }
  if (isPriced(entry.pricing, entry.model.free)) return { pricing: entry.pricing, isDefault: false }
  return isPremium(entry.model) ? null : { pricing: defaultPricing(entry.model), isDefault: true }
}

interface Route {
  readonly candidates: ReadonlyArray<Candidate>
  readonly isDefault: boolean
}

/** Each provider row with the price that holds there. */
const withPrices = ({ model, pricing }: CatalogModel): Model => ({
  ...model,
  providers: model.providers.map((provider) => ({ ...provider, pricing: provider.pricing ?? pricing }))
})

const invalidRoute = (message: string, param: string) => new CatalogError({ reason: new InvalidRoute({ message, param }) })
