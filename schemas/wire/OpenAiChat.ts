/**
 * The OpenAI chat protocol on the wire, as far as its meaning is needed. Fields not named here reach the provider untouched.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

const Message = Schema.StructWithRest(Schema.Struct({ role: Schema.String, content: Schema.optional(Schema.Unknown) }), [
  Schema.Record(Schema.String, Schema.Unknown)
])

/** The body of `POST /v1/chat/completions`. @category schemas @since 0.1.0 */
export const ChatCompletionRequest = Schema.StructWithRest(
  Schema.Struct({
    model: Schema.String,
    messages: Schema.Array(Message),
    models: Schema.optional(Schema.Array(Schema.String)),
    provider: Schema.optional(Schema.Unknown),
    stream: Schema.optional(Schema.Boolean),
    stream_options: Schema.optional(Schema.Struct({ include_usage: Schema.optional(Schema.Boolean) })),
    max_tokens: Schema.optional(Schema.Int),
    max_completion_tokens: Schema.optional(Schema.Int),
    n: Schema.optional(Schema.Int),
    temperature: Schema.optional(Schema.Finite),
    top_p: Schema.optional(Schema.Finite),
    stop: Schema.optional(Schema.Unknown),
    tools: Schema.optional(Schema.Array(Schema.Unknown)),
    tool_choice: Schema.optional(Schema.Unknown),
    response_format: Schema.optional(Schema.Unknown),
    logprobs: Schema.optional(Schema.Boolean)
  }),
  [Schema.Record(Schema.String, Schema.Unknown)]
).annotate({ identifier: "ChatCompletionRequest" })

/** A whole answer. @category schemas @since 0.1.0 */
export const ChatCompletion = Schema.Struct({
  id: Schema.String,
  object: Schema.Literal("chat.completion"),
  created: Schema.Int,
  model: Schema.String,
  choices: Schema.Array(
    Schema.Struct({
      index: Schema.Int,
      message: Schema.Struct({
        role: Schema.Literal("assistant"),
        content: Schema.NullOr(Schema.String),
        refusal: Schema.NullOr(Schema.String),
        reasoning_content: Schema.optional(Schema.String),
        tool_calls: Schema.optional(Schema.Array(Schema.Unknown))
      }),
      logprobs: Schema.Unknown,
      finish_reason: Schema.Literals(["stop", "length", "tool_calls", "content_filter"])
    })
  ),
  usage: Schema.Struct({
    prompt_tokens: Schema.Int,
    completion_tokens: Schema.Int,
    total_tokens: Schema.Int,
    prompt_tokens_details: Schema.Struct({ cached_tokens: Schema.Int }),
    completion_tokens_details: Schema.Struct({ reasoning_tokens: Schema.Int })
  })
}).annotate({ identifier: "ChatCompletion" })
