/**
 * What makes two requests the same: everything that can change the answer, and whose it is.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { Digest } from "effect/crypto"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"

/** One request as caches see it. @category models @since 0.1.0 */
export interface CacheFacts {
  readonly accountId: string
  readonly request: InferenceRequest
  /** Ids of the models that the request's names mean, in order. */
  readonly models: ReadonlyArray<string>
}

/** JSON with the keys of every object in order: the same meaning is the same text. @category formatting @since 0.1.0 */
export const canonical = (value: Json.Json): string => {
  if (Json.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (!Json.isObject(value)) return JSON.stringify(value)
  const fields = Object.keys(value)
    .sort()
    .flatMap((key) => (value[key] === undefined ? [] : [`${JSON.stringify(key)}:${canonical(value[key])}`]))
  return `{${fields.join(",")}}`
}

/** How an answer is sent, and what is said better by what it means. */
const notOfTheAnswer = ["stream", "stream_options", "model", "models", "provider"]

const without = (body: Json.JsonObject, names: ReadonlyArray<string>): Json.JsonObject =>
  Object.fromEntries(Object.entries(body).filter(([name]) => !names.includes(name)))

const describe = ({ accountId, models, request }: CacheFacts, body: Json.JsonObject): string =>
  canonical({
    account: accountId,
    protocol: request.protocol,
    operation: request.operation,
    models,
    preference: request.preference === null ? null : { ...request.preference },
    body
  })

const encoder = new TextEncoder()

const hash = (text: string): Effect.Effect<string, never, Digest.Digest> =>
  Effect.flatMap(Digest.Digest, (digest) => digest.digestHex(Digest.sha256, encoder.encode(text)))

/** SHA-256 of a request's canonical form: 64 lower-case hex characters. @category hashing @since 0.1.0 */
export const exactKey = (facts: CacheFacts): Effect.Effect<string, never, Digest.Digest> =>
  hash(describe(facts, without(facts.request.body, notOfTheAnswer)))

/** A request apart from its last words. @category models @since 0.1.0 */
export interface ScopeAndText {
  /** SHA-256 of everything else. */
  readonly scope: string
  readonly text: string
}

/** The message that a user has just said, when it is nothing but text. */
const lastText = (message: Json.Json | undefined): string | null => {
  if (!Json.isObject(message) || message["role"] !== "user") return null
  const content = message["content"]
  if (typeof content === "string") return content
  const [part, ...rest] = Json.isArray(content) ? content : []
  return rest.length === 0 && Json.isObject(part) && part["type"] === "text" ? Json.string(part["text"]) : null
}

/** Null where the last message is not words of the user alone: then only the same request is the same. @category hashing @since 0.1.0 */
export const scopeAndText = (facts: CacheFacts): Effect.Effect<ScopeAndText | null, never, Digest.Digest> => {
  const { messages, ...rest } = without(facts.request.body, notOfTheAnswer)
  const text = Json.isArray(messages) ? lastText(messages.at(-1)) : null
  if (text === null || text.trim() === "" || !Json.isArray(messages)) return Effect.succeed(null)
  return Effect.map(hash(describe(facts, { ...rest, messages: messages.slice(0, -1) })), (scope) => ({ scope, text }))
}
