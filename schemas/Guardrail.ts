/**
 * What a key asks to be watched in prompts and answers; nothing unless it says so.
 *
 * @since 0.1.0
 */
import { Schema, SchemaGetter, SchemaParser } from "effect"

/** Personal data that can be found in a text. @category schemas @since 0.1.0 */
export const PiiKind = Schema.Literals(["email", "phone", "ssn", "card"])
export type PiiKind = typeof PiiKind.Type

/** Flag: say it. Redact: take it out. Block: refuse the request, or end the answer. @category schemas @since 0.1.0 */
export const PiiRule = Schema.Struct({
  action: Schema.Literals(["flag", "redact", "block"]),
  /** All kinds, when absent. */
  kinds: Schema.optionalKey(Schema.Array(PiiKind))
})
export type PiiRule = typeof PiiRule.Type

const Phrases = Schema.Array(Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(100))).check(Schema.isMaxLength(200))

/**
 * The guardrails of one key. `topics`: words or phrases of which a prompt must have one (`allow`), or none (`deny`).
 * `moderation`: what to do when the classifier fails. `output`: the same for answers; what has to be taken out of the middle
 * of a stream is held back until it is known.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Guardrails = Schema.Struct({
  pii: Schema.optionalKey(PiiRule),
  injection: Schema.optionalKey(Schema.Struct({ action: Schema.Literals(["flag", "block"]) })),
  topics: Schema.optionalKey(Schema.Struct({ allow: Schema.optionalKey(Phrases), deny: Schema.optionalKey(Phrases) })),
  moderation: Schema.optionalKey(Schema.Struct({ on_failure: Schema.Literals(["open", "closed"]) })),
  output: Schema.optionalKey(Schema.Struct({ pii: Schema.optionalKey(PiiRule), deny: Schema.optionalKey(Phrases) }))
}).annotate({ identifier: "Guardrails" })
export type Guardrails = typeof Guardrails.Type

const decodeExactly = SchemaParser.decodeUnknownEffect(Guardrails, { onExcessProperty: "error" })

/** The same as somebody gives it: a field that means nothing is refused, so that nobody trusts a guardrail that is not there. @category schemas @since 0.1.0 */
export const GivenGuardrails = Schema.Unknown.pipe(
  Schema.decodeTo(Schema.toType(Guardrails), {
    decode: SchemaGetter.transformEffect((given) => decodeExactly(given)),
    encode: SchemaGetter.transform((guardrails) => guardrails)
  })
).annotate({ identifier: "GivenGuardrails", description: "`pii`, `injection`, `topics`, `moderation`, `output`" })

/** A guardrail refused a request. `finding` names what was found, never the text. @category errors @since 0.1.0 */
export class GuardrailBlocked extends Schema.TaggedError<GuardrailBlocked>()("GuardrailBlocked", {
  rule: Schema.Literals(["pii", "injection", "topic", "moderation"]),
  finding: Schema.String
}) {}
