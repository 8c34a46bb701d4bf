/**
 * What a configuration file says that no single variable can: providers, models, routes.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

const Name = Schema.String.check(Schema.isMinLength(1))
const Url = Schema.String.check(Schema.isPattern(/^https?:\/\/\S+$/)).annotate({
  description: "An address that starts with http:// or https://"
})
const Path = Schema.String.check(Schema.isPattern(/^\//)).annotate({ description: "A path under base_url" })
const Price = Schema.Union([
  Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  Schema.String.check(Schema.isPattern(/^\d{1,12}(\.\d{1,18})?$/))
])

/** One provider: of the registry, or with `protocol` and `base_url` a new one. @category schemas @since 0.1.0 */
export const ProviderSection = Schema.Struct({
  api_key: Schema.optionalKey(Name.annotate({ description: "Better a reference to a variable than the key itself" })),
  base_url: Schema.optionalKey(Url),
  headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String).annotate({ description: "Sent along with every call" })),
  variables: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.String).annotate({ description: "Parts of the address, such as location" })
  ),
  name: Schema.optionalKey(Name),
  protocol: Schema.optionalKey(
    Schema.Literals(["openai", "anthropic", "gemini"]).annotate({
      description: "What a new provider speaks; those of the registry are known"
    })
  ),
  auth: Schema.optionalKey(
    Schema.Struct({
      header: Name,
      format: Schema.String.check(Schema.isPattern(/\{key\}/)).annotate({ description: "{key} stands for the key" })
    }).annotate({ description: "How a new provider takes its key, where that is not its protocol's way" })
  ),
  chat_path: Schema.optionalKey(Path),
  embeddings_path: Schema.optionalKey(Path),
  images_path: Schema.optionalKey(Path),
  transcriptions_path: Schema.optionalKey(Path),
  responses_path: Schema.optionalKey(Path),
  models_path: Schema.optionalKey(Path.annotate({ description: "Where it lists its models; without one its list is not read" }))
})
export type ProviderSection = typeof ProviderSection.Type

/** Prices in USD: of a million tokens, of an image, of a second of audio, of a request. @category schemas @since 0.1.0 */
export const PriceFields = {
  price_per_million: Schema.optionalKey(
    Schema.Struct({
      input: Price,
      output: Price,
      cached_read: Schema.optionalKey(Price),
      cache_write: Schema.optionalKey(Price),
      reasoning: Schema.optionalKey(Price)
    }).annotate({ description: "USD per million tokens" })
  ),
  price_per_image: Schema.optionalKey(Price),
  price_per_audio_second: Schema.optionalKey(Price),
  price_per_request: Schema.optionalKey(Price)
}

const abilities = ["tools", "vision", "json_schema", "logprobs", "reasoning", "prefill"] as const

/** A model: a new one, or what is different of one that the catalog has. @category schemas @since 0.1.0 */
export const ModelSection = Schema.Struct({
  id: Schema.String.check(Schema.isPattern(/^[a-z0-9._-]+\/[a-z0-9._:@-]+$/)).annotate({
    description: "maker/name, in lower case: what callers ask for"
  }),
  name: Schema.optionalKey(Name),
  aliases: Schema.optionalKey(Schema.Array(Name)),
  context_length: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0))),
  max_output: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0))),
  modality: Schema.optionalKey(Name.annotate({ description: "Such as text->text or text+image->text" })),
  supports: Schema.optionalKey(Schema.Array(Schema.Literals(abilities))),
  free: Schema.optionalKey(Schema.Boolean.annotate({ description: "Costs nothing; every other model needs a price" })),
  ...PriceFields,
  providers: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        provider: Name.annotate({ description: "The slug" }),
        native_id: Schema.optionalKey(Name.annotate({ description: "The provider's own id; the model's name unless given" })),
        ...PriceFields
      })
    )
  )
})
export type ModelSection = typeof ModelSection.Type

/** @category schemas @since 0.1.0 */
export const Sections = Schema.Struct({
  providers: Schema.optionalKey(
    Schema.Record(Schema.String, ProviderSection).annotate({ description: "Providers by slug: keys of known ones, and new ones" })
  ),
  models: Schema.optionalKey(Schema.Array(ModelSection).annotate({ description: "Models that the catalog lacks, or knows otherwise" })),
  aliases: Schema.optionalKey(Schema.Record(Schema.String, Name).annotate({ description: "Further names of models" })),
  routes: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Array(Name).check(Schema.isMinLength(1), Schema.isMaxLength(11))).annotate({
      description: "Names that stand for several models, tried in this order"
    })
  ),
  weights: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)))).annotate({
      description: "By model, then provider: how often it is asked first, in proportion to the others"
    })
  )
})
export type Sections = typeof Sections.Type
