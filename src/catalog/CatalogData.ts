/**
 * The models and aliases the gateway ships with, decoded from the data files beside this one.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import type { Model, ModelProvider, Pricing } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import aliasRows from "./aliases.json" with { type: "json" }
import modelRows from "./models.json" with { type: "json" }

/** A model as it is looked up: with the price that holds where a provider's row has none. @category models @since 0.1.0 */
export interface CatalogModel {
  readonly model: Model
  /** Null where no source gives a price. */
  readonly pricing: Pricing | null
}

/** @category models @since 0.1.0 */
export interface CatalogData {
  readonly models: ReadonlyArray<CatalogModel>
  /** Lower-case names to canonical ids. */
  readonly aliases: ReadonlyMap<string, string>
}

/** Decimal strings in USD. @category schemas @since 0.1.0 */
export const PricingRow = Schema.Struct({
  prompt: Schema.optionalKey(Schema.String),
  completion: Schema.optionalKey(Schema.String),
  cachedRead: Schema.optionalKey(Schema.String),
  cacheWrite: Schema.optionalKey(Schema.String),
  reasoning: Schema.optionalKey(Schema.String),
  image: Schema.optionalKey(Schema.String),
  audioSecond: Schema.optionalKey(Schema.String),
  request: Schema.optionalKey(Schema.String),
  tiers: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        aboveInput: Schema.Int,
        prompt: Schema.String,
        completion: Schema.String,
        cachedRead: Schema.optionalKey(Schema.String),
        cacheWrite: Schema.optionalKey(Schema.String)
      })
    )
  )
})

const Row = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  org: Schema.String,
  contextLength: Schema.Int,
  maxOutput: Schema.NullOr(Schema.Int),
  modality: Schema.String,
  supports: Schema.Struct({
    streaming: Schema.Boolean,
    tools: Schema.Boolean,
    vision: Schema.Boolean,
    json_schema: Schema.Boolean,
    logprobs: Schema.Boolean,
    reasoning: Schema.Boolean,
    prefill: Schema.Boolean
  }),
  free: Schema.Boolean,
  premium: Schema.Boolean,
  openWeights: Schema.Boolean,
  benchmarks: Schema.Record(Schema.String, Schema.NullOr(Schema.Finite)),
  tier: Schema.optionalKey(Schema.Int),
  deprecated: Schema.optionalKey(Schema.Boolean),
  pricing: Schema.NullOr(PricingRow),
  providers: Schema.Array(Schema.Struct({ slug: Schema.String, nativeId: Schema.String, pricing: Schema.optionalKey(PricingRow) }))
})

/** The price of a row; null when it prices neither tokens nor another unit. @category decoding @since 0.1.0 */
export const decodePricing = (row: typeof PricingRow.Type | null | undefined): Pricing | null => {
  if (row === null || row === undefined) return null
  const unit = row.image ?? row.audioSecond
  if (unit === undefined && (row.prompt === undefined || row.completion === undefined)) return null
  const optional = <K extends string>(name: K, value: string | undefined): Partial<Record<K, Money.Money>> => {
    const found: Partial<Record<K, Money.Money>> = {}
    if (value !== undefined) found[name] = Money.usd(value)
    return found
  }
  return {
    prompt: Money.usd(row.prompt ?? "0"),
    completion: Money.usd(row.completion ?? "0"),
    ...optional("cachedRead", row.cachedRead),
    ...optional("cacheWrite", row.cacheWrite),
    ...optional("reasoning", row.reasoning),
    ...optional("image", row.image),
    ...optional("audioSecond", row.audioSecond),
    ...optional("request", row.request),
    ...(row.tiers === undefined
      ? {}
      : {
          tiers: row.tiers
            .map((tier) => ({
              aboveInput: tier.aboveInput,
              prompt: Money.usd(tier.prompt),
              completion: Money.usd(tier.completion),
              ...optional("cachedRead", tier.cachedRead),
              ...optional("cacheWrite", tier.cacheWrite)
            }))
            .sort((a, b) => a.aboveInput - b.aboveInput)
        })
  }
}

/** When the catalog was drawn up, in Unix seconds: shown as `created`, which no source gives for every model. @category data @since 0.1.0 */
export const CREATED = 1_767_225_600

const toModel = (row: typeof Row.Type): CatalogModel => ({
  model: {
    ...row,
    created: CREATED,
    providers: row.providers.map(
      (provider): ModelProvider => ({ slug: provider.slug, nativeId: provider.nativeId, pricing: decodePricing(provider.pricing) })
    )
  },
  pricing: decodePricing(row.pricing)
})

/** Decodes rows of the data files' shape. @category decoding @since 0.1.0 */
export const decode = (models: unknown, aliases: unknown): CatalogData => ({
  models: Schema.decodeUnknownSync(Schema.Array(Row))(models).map(toModel),
  aliases: new Map(Object.entries(Schema.decodeUnknownSync(Schema.Record(Schema.String, Schema.String))(aliases)))
})

/** What ships with the gateway. @category data @since 0.1.0 */
export const shipped = (): CatalogData => decode(modelRows, aliasRows)
