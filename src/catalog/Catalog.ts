/**
 * The catalog: which models exist, who serves them, and what they cost.
 *
 * @since 0.1.0
 */
import { Context, type Effect, Schema } from "effect"
import type { ProviderPreference } from "../../schemas/Inference.ts"
import type { Candidate, Model } from "../../schemas/Model.ts"

/** No provider serves a model of that name. @category errors @since 0.1.0 */
export class ModelNotFound extends Schema.TaggedClass<ModelNotFound>()("ModelNotFound", { model: Schema.String }) {}

/** The model exists, but no provider of it has a key. @category errors @since 0.1.0 */
export class NoActiveProvider extends Schema.TaggedClass<NoActiveProvider>()("NoActiveProvider", {
  model: Schema.String,
  /** Providers that would serve it. */
  providers: Schema.Array(Schema.String)
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
  }
>()("sluice/catalog/Catalog") {}
