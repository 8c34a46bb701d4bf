/**
 * OpenAI's image generation on the wire. Fields not named here reach the provider untouched.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

/** The body of `POST /v1/images/generations`. @category schemas @since 0.1.0 */
export const ImageRequest = Schema.StructWithRest(
  Schema.Struct({
    model: Schema.String,
    prompt: Schema.String,
    n: Schema.optional(Schema.NullOr(Schema.Int)),
    size: Schema.optional(Schema.NullOr(Schema.String)),
    quality: Schema.optional(Schema.NullOr(Schema.String)),
    response_format: Schema.optional(Schema.NullOr(Schema.Literals(["url", "b64_json"]))),
    user: Schema.optional(Schema.String),
    provider: Schema.optional(Schema.Unknown)
  }),
  [Schema.Record(Schema.String, Schema.Unknown)]
).annotate({ identifier: "ImageRequest" })

/** The answer; `usage` where the model is priced by tokens and the provider counted them. @category schemas @since 0.1.0 */
export const ImageList = Schema.Struct({
  created: Schema.Int,
  data: Schema.Array(
    Schema.Struct({
      url: Schema.optional(Schema.String),
      b64_json: Schema.optional(Schema.String),
      revised_prompt: Schema.optional(Schema.String)
    })
  ),
  usage: Schema.optional(Schema.Struct({ input_tokens: Schema.Int, output_tokens: Schema.Int, total_tokens: Schema.Int }))
}).annotate({ identifier: "ImageList" })
