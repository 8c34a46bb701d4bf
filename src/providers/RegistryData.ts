/**
 * The registry's rows, decoded from the data file beside this one. A provider that speaks OpenAI's protocol is one row.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import type { ProviderDefinition } from "../../schemas/Provider.ts"
import rows from "./registry.json" with { type: "json" }

const Row = Schema.Struct({
  slug: Schema.String,
  name: Schema.String,
  aliases: Schema.Array(Schema.String),
  protocol: Schema.Literals(["openai", "anthropic", "gemini", "sandbox", "other"]),
  baseUrl: Schema.String,
  chatPath: Schema.String,
  paths: Schema.Struct({
    embeddings: Schema.optionalKey(Schema.String),
    images: Schema.optionalKey(Schema.String),
    transcriptions: Schema.optionalKey(Schema.String),
    responses: Schema.optionalKey(Schema.String),
    stream: Schema.optionalKey(Schema.String)
  }),
  modelsPath: Schema.NullOr(Schema.String),
  balance: Schema.optionalKey(
    Schema.Struct({ path: Schema.String, form: Schema.Literals(["openrouter", "deepseek", "moonshot", "siliconflow"]) })
  ),
  variables: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Struct({ names: Schema.Array(Schema.String), fallback: Schema.NullOr(Schema.String) }))
  ),
  headerNames: Schema.optionalKey(Schema.Record(Schema.String, Schema.Array(Schema.String))),
  keyNames: Schema.Array(Schema.String),
  auth: Schema.Struct({
    header: Schema.String,
    format: Schema.String,
    also: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
  }),
  idRule: Schema.String,
  aggregator: Schema.Boolean,
  failoverPosition: Schema.NullOr(Schema.Int),
  capabilities: Schema.Struct({ chat: Schema.Boolean, images: Schema.Boolean, audio: Schema.Boolean, embeddings: Schema.Boolean })
})

/** Every provider the gateway knows. @category data @since 0.1.0 */
export const definitions: ReadonlyArray<ProviderDefinition> = Schema.decodeUnknownSync(Schema.Array(Row))(rows)
