/**
 * Providers as data, and what goes wrong with them.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

/** How the gateway shows its credentials to a provider. @category models @since 0.1.0 */
export interface ProviderAuth {
  readonly header: string
  /** `{key}` stands for the API key. */
  readonly format: string
  /** Headers that always go along, such as a version. */
  readonly also?: Readonly<Record<string, string>>
}

/** Where a provider takes what is not chat: paths under its base URL, `{model}` for the native id. An absent one: not by this protocol's form. @category models @since 0.1.0 */
export interface ProviderPaths {
  readonly embeddings?: string
  readonly images?: string
  readonly transcriptions?: string
  readonly responses?: string
  /** Of chat in pieces, where it is another one than `chatPath`. */
  readonly stream?: string
}

/** A part of a base URL that a deployment gives. @category models @since 0.1.0 */
export interface ProviderVariable {
  /** Environment variables that may carry it, the slug rule's name first. */
  readonly names: ReadonlyArray<string>
  /** Null: without it the provider is not reachable. */
  readonly fallback: string | null
}

/** How a provider words the credit that is left. @category models @since 0.1.0 */
export type BalanceForm = "openrouter" | "deepseek" | "moonshot" | "siliconflow"

/** One row of the registry. @category models @since 0.1.0 */
export interface ProviderDefinition {
  readonly slug: string
  readonly name: string
  readonly aliases: ReadonlyArray<string>
  readonly protocol: "openai" | "anthropic" | "gemini" | "sandbox" | "other"
  /** `{name}` stands for one of `variables`. */
  readonly baseUrl: string
  readonly chatPath: string
  readonly paths: ProviderPaths
  /** Where it lists its models: a path, or an address elsewhere; null where it lists none. */
  readonly modelsPath: string | null
  /** Where it tells what is left of the credit there: a path beside the others. */
  readonly balance?: { readonly path: string; readonly form: BalanceForm }
  readonly variables?: Readonly<Record<string, ProviderVariable>>
  /** Headers whose values a deployment may give, by the environment variables that carry them. */
  readonly headerNames?: Readonly<Record<string, ReadonlyArray<string>>>
  /** Environment variables that may carry the key, the slug rule's name first. */
  readonly keyNames: ReadonlyArray<string>
  readonly auth: ProviderAuth
  readonly idRule: string
  readonly aggregator: boolean
  /** Place in the default failover chain, 1 first; null when outside it. */
  readonly failoverPosition: number | null
  readonly capabilities: { readonly chat: boolean; readonly images: boolean; readonly audio: boolean; readonly embeddings: boolean }
}

/** The provider answered with a status that is not a success. `message` is the provider's own, safe to show for a caller's mistake. @category errors @since 0.1.0 */
export class ProviderStatus extends Schema.TaggedClass<ProviderStatus>()("ProviderStatus", {
  status: Schema.Number,
  message: Schema.String,
  code: Schema.NullOr(Schema.String),
  param: Schema.NullOr(Schema.String),
  retryAfterMs: Schema.NullOr(Schema.Number)
}) {}

/** No first byte in time, or silence in the middle of an answer. @category errors @since 0.1.0 */
export class ProviderTimeout extends Schema.TaggedClass<ProviderTimeout>()("ProviderTimeout", {
  phase: Schema.Literals(["first_byte", "idle"])
}) {}

/** The connection was refused, or broke. @category errors @since 0.1.0 */
export class ProviderConnection extends Schema.TaggedClass<ProviderConnection>()("ProviderConnection", {
  /** Whether any byte of an answer had arrived. */
  answered: Schema.Boolean,
  message: Schema.String
}) {}

/** The answer was not what the protocol promises. @category errors @since 0.1.0 */
export class ProviderAnswer extends Schema.TaggedClass<ProviderAnswer>()("ProviderAnswer", {
  /** `empty`: ended without content; `cut`: ended without a finish reason; `malformed`: not of the protocol; `reported`: an error event inside the stream; `mismatch`: not of the JSON Schema that was asked for. */
  fault: Schema.Literals(["empty", "cut", "malformed", "reported", "mismatch"]),
  message: Schema.String
}) {}

/** A call to a provider failed. @category errors @since 0.1.0 */
export class ProviderError extends Schema.TaggedError<ProviderError>()("ProviderError", {
  provider: Schema.String,
  reason: Schema.Union([ProviderStatus, ProviderTimeout, ProviderConnection, ProviderAnswer])
}) {
  override get message(): string {
    return `${this.provider}: ${this.reason._tag}`
  }
}

/** Statuses below 500 that are the provider's trouble or the gateway's, not the caller's: credentials, credits, access, model, patience, limits. */
const notTheCallers: ReadonlyArray<number> = [401, 402, 403, 404, 408, 429]

/** Whether a provider refused because of what the caller sent: no other provider would mend it. @category predicates @since 0.1.0 */
export const isCallersMistake = (error: ProviderError): boolean => {
  const reason = error.reason
  return reason._tag === "ProviderStatus" && reason.status >= 400 && reason.status < 500 && !notTheCallers.includes(reason.status)
}

const tooLong =
  /context[ _-]?(length|window)|maximum context|prompt is too long|input is too long|too many (input )?tokens|exceeds? the (maximum|limit).{0,40}tokens|reduce the length/i
const filtered = /content[ _-]?(filter|policy|management)|safety (system|policy|filter)|moderation|responsible[ _]?ai/i

/**
 * Whether a provider refused what this model cannot take, and another model may: a prompt too long for it, or one that its
 * filter stopped.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isOfTheModel = (error: ProviderError): boolean => {
  const reason = error.reason
  if (reason._tag !== "ProviderStatus" || !isCallersMistake(error)) return false
  const words = `${reason.code ?? ""} ${reason.message}`
  return reason.status === 413 || tooLong.test(words) || filtered.test(words)
}
