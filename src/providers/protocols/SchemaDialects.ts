/**
 * JSON Schema as providers' constrained decoders take it. What is taken out here is checked on the answer all the same.
 *
 * @since 0.1.0
 */
import * as Json from "../../../schemas/Json.ts"

const kept = ["type", "enum", "const", "title", "description", "default", "required", "$ref"]
const formats = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]
const alternatives = ["anyOf", "allOf", "oneOf"]
const collections = ["properties", "$defs", "definitions"]

type Change = (schema: Json.JsonObject, nested: (schema: Json.Json) => Json.Json) => Json.JsonObject

/** Applies a change to every schema inside a schema, whatever depth. */
const walk = (schema: Json.Json, change: Change): Json.Json =>
  Json.isObject(schema) ? change(schema, (inner) => walk(inner, change)) : schema

const mapValues = (value: Json.Json | undefined, f: (inner: Json.Json) => Json.Json): Json.JsonObject =>
  Json.isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, f(inner)])) : {}

const list = (value: Json.Json | undefined): ReadonlyArray<Json.Json> => (Json.isArray(value) ? value : [])

/** The parts that every dialect takes, with what they hold. */
const plain: Change = (schema, nested) => {
  const out: Record<string, Json.Json> = {}
  for (const key of kept) if (schema[key] !== undefined) out[key] = schema[key]
  for (const key of collections) if (Json.isObject(schema[key])) out[key] = mapValues(schema[key], nested)
  for (const key of alternatives) {
    // One of several is any of several to a decoder.
    if (Json.isArray(schema[key])) out[key === "oneOf" ? "anyOf" : key] = schema[key].map(nested)
  }
  const items = schema["items"]
  if (items !== undefined) out["items"] = Json.isArray(items) ? { anyOf: items.map(nested) } : nested(items)
  if (list(formats).includes(schema["format"] ?? "")) out["format"] = schema["format"] ?? ""
  return out
}

const isObjectSchema = (schema: Json.JsonObject): boolean =>
  schema["type"] === "object" || Json.isObject(schema["properties"]) || list(schema["type"]).includes("object")

/** A name that a schema refers to, of its own definitions. */
const refersTo = (schema: Json.JsonObject): string | null => {
  const ref = Json.string(schema["$ref"])
  return ref === null ? null : (/^#\/(?:\$defs|definitions)\/([^/]+)$/.exec(ref)?.[1] ?? "#")
}

const anywhere = (value: Json.Json, holds: (schema: Json.JsonObject) => boolean): boolean => {
  if (Json.isArray(value)) return value.some((inner) => anywhere(inner, holds))
  return Json.isObject(value) && (holds(value) || Object.values(value).some((inner) => anywhere(inner, holds)))
}

const isRecursive = (schema: Json.JsonObject): boolean => {
  const definitions: Json.JsonObject = {
    ...(Json.isObject(schema["definitions"]) ? schema["definitions"] : {}),
    ...(Json.isObject(schema["$defs"]) ? schema["$defs"] : {})
  }
  const seen = new Map<string, "open" | "closed">()
  const reaches = (value: Json.Json): boolean =>
    anywhere(value, (inner) => {
      const name = refersTo(inner)
      if (name === null || seen.get(name) === "closed") return false
      const definition = definitions[name]
      if (definition === undefined || seen.get(name) === "open") return true
      seen.set(name, "open")
      const recursive = reaches(definition)
      seen.set(name, "closed")
      return recursive
    })
  const { $defs: _, definitions: __, ...root } = schema
  return reaches(root)
}

const isOpen = (schema: Json.JsonObject): boolean =>
  schema["patternProperties"] !== undefined || schema["additionalProperties"] === true || Json.isObject(schema["additionalProperties"])

/**
 * For Anthropic's structured outputs: every object closed, no bounds. Null for what they cannot hold: maps, and schemas
 * that refer to themselves.
 *
 * @category conversions
 * @since 0.1.0
 */
export const forAnthropic = (schema: Json.JsonObject): Json.JsonObject | null => {
  if (anywhere(schema, isOpen) || isRecursive(schema)) return null
  const out = walk(schema, (inner, nested) => {
    const taken = plain(inner, nested)
    return isObjectSchema(inner) ? { ...taken, additionalProperties: false } : taken
  })
  return Json.isObject(out) ? out : null
}

const bounds = ["minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "pattern", "additionalProperties", "prefixItems"]

/** For Gemini's `…JsonSchema` fields, which take JSON Schema but for some of its words. @category conversions @since 0.1.0 */
export const forGemini = (schema: Json.JsonObject): Json.JsonObject => {
  const out = walk(schema, (inner, nested) => {
    const taken: Record<string, Json.Json> = { ...plain(inner, nested) }
    for (const key of bounds) {
      const value = inner[key]
      if (value !== undefined) taken[key] = Json.isArray(value) ? value.map(nested) : nested(value)
    }
    if (inner["const"] !== undefined) {
      taken["enum"] = [inner["const"]]
      delete taken["const"]
    }
    return taken
  })
  return Json.isObject(out) ? out : {}
}

const isStrictObject = (schema: Json.JsonObject): boolean => {
  const required = list(schema["required"])
  return (
    schema["additionalProperties"] === false &&
    Object.keys(mapValues(schema["properties"], (inner) => inner)).every((name) => required.includes(name))
  )
}

/** Whether OpenAI's strict mode takes a schema: every object closed, every property required. @category predicates @since 0.1.0 */
export const isStrict = (schema: Json.JsonObject): boolean => !anywhere(schema, (inner) => isObjectSchema(inner) && !isStrictObject(inner))
