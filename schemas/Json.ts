/**
 * JSON as it was parsed, and how to look into it without trusting it.
 *
 * @since 0.1.0
 */

/** @category models @since 0.1.0 */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | JsonObject

/** @category models @since 0.1.0 */
export interface JsonObject {
  readonly [key: string]: Json
}

/** @category predicates @since 0.1.0 */
export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** @category predicates @since 0.1.0 */
export const isArray = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

/** Undefined when the text is not JSON. @category parsers @since 0.1.0 */
export const parse = (text: string): Json | undefined => {
  try {
    const value: Json = JSON.parse(text)
    return value
  } catch {
    return undefined
  }
}

/** The string there, or nothing. @category accessors @since 0.1.0 */
export const string = (value: Json | undefined): string | null => (typeof value === "string" ? value : null)

/** A count there: a finite number, not below zero, without its fraction. @category accessors @since 0.1.0 */
export const count = (value: Json | undefined): number =>
  typeof value === "number" && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0

/** The object under a key; an empty one when there is none. @category accessors @since 0.1.0 */
export const objectAt = (value: JsonObject, key: string): JsonObject => {
  const found = value[key]
  return isObject(found) ? found : {}
}

/** The text under a key; empty when there is none. @category accessors @since 0.1.0 */
export const textAt = (value: JsonObject, key: string): string => string(value[key]) ?? ""

/** The fields that were given: those that are not null. @category constructors @since 0.1.0 */
export const given = (fields: Readonly<Record<string, Json>>): JsonObject =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))
