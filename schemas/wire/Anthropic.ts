/**
 * The Anthropic protocol on the wire, as far as its meaning is needed. Fields not named here reach a provider that speaks it
 * untouched.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

const Anything = Schema.Record(Schema.String, Schema.Unknown)

const Block = Schema.StructWithRest(Schema.Struct({ type: Schema.String }), [Anything])

const MessageParam = Schema.StructWithRest(
  Schema.Struct({ role: Schema.Literals(["user", "assistant", "system"]), content: Schema.Union([Schema.String, Schema.Array(Block)]) }),
  [Anything]
)

const counted = {
  model: Schema.String,
  messages: Schema.Array(MessageParam),
  system: Schema.optional(Schema.Union([Schema.String, Schema.Array(Block)])),
  tools: Schema.optional(Schema.Array(Schema.Unknown)),
  tool_choice: Schema.optional(Schema.Unknown),
  thinking: Schema.optional(Schema.Unknown)
}

/** The body of `POST /v1/messages`. @category schemas @since 0.1.0 */
export const MessagesRequest = Schema.StructWithRest(
  Schema.Struct({
    ...counted,
    max_tokens: Schema.Int,
    models: Schema.optional(Schema.Array(Schema.String)),
    provider: Schema.optional(Schema.Unknown),
    stream: Schema.optional(Schema.Boolean),
    temperature: Schema.optional(Schema.Finite),
    top_p: Schema.optional(Schema.Finite),
    top_k: Schema.optional(Schema.Int),
    stop_sequences: Schema.optional(Schema.Array(Schema.String)),
    metadata: Schema.optional(Schema.Struct({ user_id: Schema.optional(Schema.NullOr(Schema.String)) }))
  }),
  [Anything]
).annotate({ identifier: "MessagesRequest" })

/** A whole answer. @category schemas @since 0.1.0 */
export const Message = Schema.Struct({
  id: Schema.String,
  type: Schema.Literal("message"),
  role: Schema.Literal("assistant"),
  model: Schema.String,
  content: Schema.Array(Block),
  stop_reason: Schema.NullOr(Schema.Literals(["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"])),
  stop_sequence: Schema.NullOr(Schema.String),
  usage: Schema.Struct({
    input_tokens: Schema.Int,
    cache_creation_input_tokens: Schema.Int,
    cache_read_input_tokens: Schema.Int,
    output_tokens: Schema.Int,
    output_tokens_details: Schema.Struct({ thinking_tokens: Schema.Int })
  })
}).annotate({ identifier: "Message" })

/** The body of `POST /v1/messages/count_tokens`. @category schemas @since 0.1.0 */
export const CountTokensRequest = Schema.StructWithRest(Schema.Struct(counted), [Anything]).annotate({ identifier: "CountTokensRequest" })

/** @category schemas @since 0.1.0 */
export const TokenCount = Schema.Struct({ input_tokens: Schema.Int }).annotate({ identifier: "TokenCount" })

/** The body of every error under `/v1/messages`. @category schemas @since 0.1.0 */
export const MessagesError = Schema.Struct({
  type: Schema.Literal("error"),
  error: Schema.Struct({ type: Schema.String, message: Schema.String }),
  request_id: Schema.NullOr(Schema.String)
}).annotate({ identifier: "MessagesError" })
