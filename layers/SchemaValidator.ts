/**
 * JSON Schemas checked by `@cfworker/json-schema`, with bounds: schemas are callers' own, and what they check is a model's.
 *
 * @since 0.1.0
 */
import { type OutputUnit, type Schema, Validator } from "@cfworker/json-schema"
import { Layer } from "effect"
import { isArray, isObject, type Json, type JsonObject } from "../schemas/Json.ts"
import { JsonSchemas, type SchemaMismatch } from "../src/streams/JsonSchemas.ts"

/** Schemas looked at in one check; alternatives inside alternatives would multiply without end. */
const MAX_STEPS = 100_000

/** A pattern that no text keeps busy: anchored, no group repeated, one open repetition at most. */
const isQuick = (pattern: string): boolean => {
  const open = pattern.match(/(?<!\\)[*+]|\{\d+,\}/g)?.length ?? 0
  return pattern.length <= 256 && !/\)[*+{?]|\\\d|\(\?[=!<]/.test(pattern) && (open === 0 || (open === 1 && pattern.startsWith("^")))
}

/** Words that cost too much to check are left out, and so unchecked. */
const isAffordable = (key: string, value: Json): boolean => {
  if (key === "uniqueItems") return typeof value !== "boolean"
  if (key === "pattern") return typeof value !== "string" || isQuick(value)
  return key !== "patternProperties" || !isObject(value) || Object.keys(value).every(isQuick)
}

/** A copy that counts how often it is looked at: the validator reads this word of every schema it enters. */
const counted = (value: Json, step: () => void): Json => {
  if (isArray(value)) return value.map((inner) => counted(inner, step))
  if (!isObject(value)) return value
  const copy: Record<string, Json> = {}
  for (const [key, inner] of Object.entries(value)) if (isAffordable(key, inner)) copy[key] = counted(inner, step)
  Object.defineProperty(copy, "$recursiveAnchor", { enumerable: false, get: step })
  return copy
}

const wrappers = ["properties", "items", "prefixItems", "additionalProperties", "$ref", "allOf", "anyOf", "oneOf", "if", "then", "else"]

/** The error that says most: deepest inside the value. */
const telling = (errors: ReadonlyArray<OutputUnit>): OutputUnit | undefined => {
  const leaves = errors.filter((error) => !wrappers.includes(error.keyword))
  const depth = (error: OutputUnit) => error.instanceLocation.split("/").length
  return [...(leaves.length > 0 ? leaves : errors)].sort((a, b) => depth(b) - depth(a))[0]
}

const mismatchOf = (error: OutputUnit): SchemaMismatch => {
  const at = error.instanceLocation.replace(/^#/, "")
  const missing = error.keyword === "required" ? /"([^"]+)"/.exec(error.error)?.[1] : undefined
  return { path: missing === undefined ? at || "/" : `${at}/${missing}`, message: error.error.slice(0, 300) }
}

const isSchema = (value: Json): value is JsonObject & Schema => isObject(value)

/** @category constructors @since 0.1.0 */
export const check = (schema: JsonObject, value: Json): SchemaMismatch | null => {
  let steps = 0
  const copy = counted(schema, () => {
    steps++
    if (steps > MAX_STEPS) throw new Error("it takes too long to check")
  })
  try {
    const { errors, valid } = new Validator(isSchema(copy) ? copy : {}, "2020-12").validate(value)
    const error = telling(errors)
    return valid || error === undefined ? null : mismatchOf(error)
  } catch (error) {
    const why = error instanceof Error ? (error.message.split("\n")[0] ?? "") : ""
    return { path: "/", message: `The schema itself cannot be used: ${why}`.slice(0, 300) }
  }
}

/** @category layers @since 0.1.0 */
export const layer: Layer.Layer<JsonSchemas> = Layer.succeed(JsonSchemas, { check })
