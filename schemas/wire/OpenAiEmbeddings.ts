/**
 * OpenAI's embeddings on the wire. Fields not named here reach the provider untouched.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as Json from "../Json.ts"

const Tokens = Schema.Array(Schema.Int)

/** The body of `POST /v1/embeddings`: texts, or texts as the tokens of the model. @category schemas @since 0.1.0 */
export const EmbeddingRequest = Schema.StructWithRest(
  Schema.Struct({
    model: Schema.String,
    input: Schema.Union([Schema.String, Schema.Array(Schema.String), Tokens, Schema.Array(Tokens)]),
    dimensions: Schema.optional(Schema.Int),
    encoding_format: Schema.optional(Schema.Literals(["float", "base64"])),
    user: Schema.optional(Schema.String),
    provider: Schema.optional(Schema.Unknown)
  }),
  [Schema.Record(Schema.String, Schema.Unknown)]
).annotate({ identifier: "EmbeddingRequest" })

/** The answer: vectors as numbers, or as the base64 of little-endian 32-bit floats. @category schemas @since 0.1.0 */
export const EmbeddingList = Schema.Struct({
  object: Schema.Literal("list"),
  data: Schema.Array(
    Schema.Struct({
      object: Schema.Literal("embedding"),
      index: Schema.Int,
      embedding: Schema.Union([Schema.Array(Schema.Finite), Schema.String])
    })
  ),
  model: Schema.String,
  usage: Schema.Struct({ prompt_tokens: Schema.Int, total_tokens: Schema.Int })
}).annotate({ identifier: "EmbeddingList" })

/** One thing to be embedded: a text, or its tokens. @category models @since 0.1.0 */
export type EmbeddingInput = string | ReadonlyArray<number>

const isTokens = (value: Json.Json): value is ReadonlyArray<number> =>
  Json.isArray(value) && value.length > 0 && value.every((token) => typeof token === "number" && Number.isInteger(token) && token >= 0)

const isText = (value: Json.Json): value is string => typeof value === "string" && value !== ""

/** The inputs, one for each vector of the answer; null when the value is none of the four shapes, or something in it is empty. @category decoding @since 0.1.0 */
export const inputsOf = (value: Json.Json | undefined): ReadonlyArray<EmbeddingInput> | null => {
  if (typeof value === "string") return value === "" ? null : [value]
  if (!Json.isArray(value) || value.length === 0) return null
  if (isTokens(value)) return [value]
  if (value.every(isText) || value.every(isTokens)) return value
  return null
}
