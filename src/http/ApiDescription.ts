/**
 * Completes the description that is made of the routes: who may use each, what it does, examples, and answers in pieces.
 *
 * @since 0.1.0
 */
import * as Json from "../../schemas/Json.ts"
import { type Audience, groupWords, routeWords } from "./RouteWords.ts"

/** The version of the gateway. @category data @since 0.1.0 */
export const VERSION = "0.1.0"

const bearer = (description: string): Json.JsonObject => ({ type: "http", scheme: "bearer", description })

const schemes: Json.JsonObject = {
  key: bearer("A key, `gw_…`"),
  keyHeader: { type: "apiKey", in: "header", name: "x-api-key", description: "A key, `gw_…`, as Anthropic's clients send it" },
  session: bearer("A session's token, as `/auth/login` gives it"),
  admin: bearer("The operator's admin key, or a key or session of a user with the role `admin`"),
  metrics: bearer("METRICS_TOKEN, where one is set")
}

const security: Readonly<Record<Audience, ReadonlyArray<Json.JsonObject>>> = {
  anybody: [],
  key: [{ key: [] }, { keyHeader: [] }],
  account: [{ key: [] }, { keyHeader: [] }, { session: [] }],
  operator: [{ admin: [] }],
  metrics: [{}, { metrics: [] }]
}

const hello = [{ role: "user", content: "Hello" }]

/** Bodies to try, by operation. */
const examples: Readonly<Record<string, Json.Json>> = {
  "inference.chatCompletions": { model: "sandbox/echo", messages: hello },
  "inference.messages": { model: "sandbox/echo", max_tokens: 100, messages: hello },
  "inference.countTokens": { model: "sandbox/echo", messages: hello },
  "inference.responses": { model: "sandbox/echo", input: "Hello" },
  "inference.embeddings": { model: "sandbox/embed", input: "Hello" },
  "inference.images": { model: "sandbox/image", prompt: "A lighthouse", n: 1, size: "1024x1024" },
  "auth.register": { email: "ada@example.com", password: "correct horse battery" },
  "auth.login": { email: "ada@example.com", password: "correct horse battery" },
  "keys.createKey": { name: "production", ip_allowlist: ["203.0.113.0/24"], limits: { rpm: 60 } },
  "operator.createUser": { email: "ada@example.com", plan: "dev" },
  "operator.setPlan": { plan: "team" },
  "operator.setLimits": { rpm: 600, daily_usd: "25.00", concurrency: "none" },
  "operator.addCredits": { amount_usd: "10.00", reference: "invoice-1" },
  "webhooks.createWebhook": { url: "https://example.com/hook", events: ["credits.low"] }
}

/** Operations whose answer may come in pieces. */
const streamed = ["inference.chatCompletions", "inference.messages", "inference.responses"]

/** Answers that are not JSON, or not only. */
const otherAnswers: Readonly<Record<string, Json.JsonObject>> = {
  "operations.metrics": { "text/plain": { schema: { type: "string" } } },
  "usage.usage": { "text/csv": { schema: { type: "string" } } },
  "inference.transcriptions": { "text/plain": { schema: { type: "string" } } }
}

const objectOf = (value: Json.Json | undefined): Json.JsonObject => (Json.isObject(value) ? value : {})

const map = (value: Json.JsonObject, change: (item: Json.Json, key: string) => Json.Json): Json.JsonObject =>
  Object.fromEntries(Object.entries(value).map(([key, item]) => [key, change(item, key)]))

/** Every status has a copy of the same error: one is enough. And what is not named in a body is passed over, not refused. */
const simplify = (value: Json.Json): Json.Json => {
  if (Json.isArray(value)) return value.map(simplify)
  if (!Json.isObject(value)) return value
  const kept = Object.entries(value).filter(([key, item]) => !(key === "additionalProperties" && item === false))
  return Object.fromEntries(
    kept.map(([key, item]) => [key, key === "$ref" && typeof item === "string" ? item.replace(/Error_\d+$/, "Error") : simplify(item)])
  )
}

const withAnswers = (id: string, operation: Json.JsonObject): Json.JsonObject => {
  const more = { ...(streamed.includes(id) ? { "text/event-stream": { schema: { type: "string" } } } : {}), ...otherAnswers[id] }
  if (Object.keys(more).length === 0) return operation
  const responses = objectOf(operation["responses"])
  const success = objectOf(responses["200"])
  const content = id === "operations.metrics" ? more : { ...objectOf(success["content"]), ...more }
  return { ...operation, responses: { ...responses, "200": { ...success, content } } }
}

const withExample = (id: string, operation: Json.JsonObject): Json.JsonObject => {
  if (id === "operations.stripeWebhook") {
    return { ...operation, requestBody: { required: true, content: { "application/json": { schema: { type: "object" } } } } }
  }
  const example = examples[id]
  const body = objectOf(operation["requestBody"])
  if (example === undefined || Object.keys(body).length === 0) return operation
  return { ...operation, requestBody: { ...body, content: map(objectOf(body["content"]), (media) => ({ ...objectOf(media), example })) } }
}

/** `*` is a way of routing: a reader sees the rest of a path by its name. */
const restName = (path: string): string => (path.startsWith("/v1/status/uptime/") ? "model" : "rest")

const describe = (path: string, operation: Json.JsonObject): Json.JsonObject => {
  const id = Json.string(operation["operationId"]) ?? ""
  const [audience, summary] = routeWords[id] ?? ["anybody", ""]
  const parameters = (Json.isArray(operation["parameters"]) ? operation["parameters"] : []).map((parameter) =>
    Json.isObject(parameter) && parameter["name"] === "*" ? { ...parameter, name: restName(path), required: true } : parameter
  )
  return withExample(id, withAnswers(id, { ...operation, summary, security: security[audience], parameters }))
}

/** @category conversions @since 0.1.0 */
export const complete = (spec: Json.JsonObject): Json.JsonObject => {
  const simple = objectOf(simplify(spec))
  const paths = Object.entries(objectOf(simple["paths"])).map(([path, item]): readonly [string, Json.Json] => [
    path.replace(/\*$/, `{${restName(path)}}`),
    map(objectOf(item), (operation) => describe(path, objectOf(operation)))
  ])
  const components = objectOf(simple["components"])
  const schemas = Object.fromEntries(Object.entries(objectOf(components["schemas"])).filter(([name]) => !/Error_\d+$/.test(name)))
  const tags = (Json.isArray(simple["tags"]) ? simple["tags"] : []).map((tag): Json.Json => {
    const name = Json.string(objectOf(tag)["name"]) ?? ""
    return { name, description: groupWords[name] ?? "" }
  })
  return {
    ...simple,
    info: { ...objectOf(simple["info"]), version: VERSION, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    servers: [{ url: "/" }],
    paths: Object.fromEntries(paths),
    components: { ...components, schemas, securitySchemes: schemes },
    tags
  }
}
