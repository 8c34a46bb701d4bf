/**
 * OpenAI's responses protocol on the wire, as far as its meaning is needed.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

const Anything = Schema.Record(Schema.String, Schema.Unknown)

/** The body of `POST /v1/responses`. Responses are not kept: `store` is taken and means nothing. @category schemas @since 0.1.0 */
export const ResponsesRequest = Schema.StructWithRest(
  Schema.Struct({
    model: Schema.String,
    input: Schema.Union([Schema.String, Schema.Array(Anything)]),
    models: Schema.optional(Schema.Array(Schema.String)),
    provider: Schema.optional(Schema.Unknown),
    instructions: Schema.optional(Schema.NullOr(Schema.String)),
    stream: Schema.optional(Schema.Boolean),
    store: Schema.optional(Schema.Boolean),
    max_output_tokens: Schema.optional(Schema.NullOr(Schema.Int)),
    temperature: Schema.optional(Schema.NullOr(Schema.Finite)),
    top_p: Schema.optional(Schema.NullOr(Schema.Finite)),
    tools: Schema.optional(Schema.Array(Schema.Unknown)),
    tool_choice: Schema.optional(Schema.Unknown),
    parallel_tool_calls: Schema.optional(Schema.NullOr(Schema.Boolean)),
    text: Schema.optional(Schema.Unknown),
    reasoning: Schema.optional(Schema.NullOr(Schema.Unknown)),
    metadata: Schema.optional(Schema.NullOr(Anything))
  }),
  [Anything]
).annotate({ identifier: "ResponsesRequest" })

/** A whole answer. @category schemas @since 0.1.0 */
export const ResponseObject = Schema.StructWithRest(
  Schema.Struct({
    id: Schema.String,
    object: Schema.Literal("response"),
    created_at: Schema.Int,
    status: Schema.Literals(["in_progress", "completed", "incomplete"]),
    model: Schema.String,
    output: Schema.Array(Schema.StructWithRest(Schema.Struct({ id: Schema.String, type: Schema.String }), [Anything])),
    incomplete_details: Schema.NullOr(Schema.Struct({ reason: Schema.String })),
    usage: Schema.NullOr(
      Schema.Struct({
        input_tokens: Schema.Int,
        input_tokens_details: Schema.Struct({ cached_tokens: Schema.Int, cache_write_tokens: Schema.Int }),
        output_tokens: Schema.Int,
        output_tokens_details: Schema.Struct({ reasoning_tokens: Schema.Int }),
        total_tokens: Schema.Int
      })
    )
  }),
  [Anything]
).annotate({ identifier: "Response" })
