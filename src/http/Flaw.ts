/**
 * What is wrong inside a part of a body, told from where one looked: the path before it is only put together when there is
 * something to tell.
 *
 * @since 0.1.0
 */
import * as Json from "../../schemas/Json.ts"
import { type Read, refuse } from "./RequestFields.ts"

/** @category models @since 0.1.0 */
export interface Flaw {
  /** The path from the part that was looked at; empty: the part itself. */
  readonly at: string
  readonly says: string
  readonly code: string
}

const isGiven = (value: Json.Json | undefined): boolean => value !== undefined && value !== null

/** A field that was left out, or is of another type. @category constructors @since 0.1.0 */
export const notA = (takes: string, value: Json.Json | undefined, at = ""): Flaw =>
  isGiven(value)
    ? { at, says: `must be ${takes}.`, code: "INVALID_PARAMETER_TYPE" }
    : { at, says: "is missing.", code: "MISSING_REQUIRED_FIELD" }

/** A value of the right type that is none of those known. @category constructors @since 0.1.0 */
export const noneOf = (known: Iterable<string>, at = ""): Flaw => ({
  at,
  says: `must be one of ${[...known].join(", ")}.`,
  code: "PARAMETER_OUT_OF_RANGE"
})

/** An element that is none of the objects a list is of, `null` among them. @category constructors @since 0.1.0 */
export const notAnObject: Flaw = { at: "", says: "must be an object.", code: "INVALID_PARAMETER_TYPE" }

/** The same flaw seen from further out. @category constructors @since 0.1.0 */
export const within = (at: string, flaw: Flaw | null): Flaw | null =>
  flaw === null ? null : { ...flaw, at: flaw.at === "" ? at : `${at}.${flaw.at}` }

/** @category constructors @since 0.1.0 */
export const refusal = (at: string, flaw: Flaw): Read<never> => {
  const whole = flaw.at === "" ? at : `${at}.${flaw.at}`
  return refuse(`\`${whole}\` ${flaw.says}`, whole, flaw.code)
}

/** A string that has to be there. @category checks @since 0.1.0 */
export const needsString = (object: Json.JsonObject, field: string): Flaw | null =>
  typeof object[field] === "string" ? null : notA("a string", object[field], field)

/** A string that may be there. @category checks @since 0.1.0 */
export const mayBeString = (object: Json.JsonObject, field: string): Flaw | null =>
  isGiven(object[field]) && typeof object[field] !== "string" ? notA("a string", object[field], field) : null

/** @category checks @since 0.1.0 */
export const mayBeBoolean = (object: Json.JsonObject, field: string): Flaw | null =>
  isGiven(object[field]) && typeof object[field] !== "boolean" ? notA("true or false", object[field], field) : null

/** @category checks @since 0.1.0 */
export const mayBeObject = (object: Json.JsonObject, field: string): Flaw | null =>
  isGiven(object[field]) && !Json.isObject(object[field]) ? notA("an object", object[field], field) : null

/** @category checks @since 0.1.0 */
export const needsName = (object: Json.JsonObject): Flaw | null =>
  typeof object["name"] === "string" && object["name"] !== "" ? null : notA("a string that is not empty", object["name"], "name")

/** An object with a name, under a field that has to be there. @category checks @since 0.1.0 */
export const needsNamed = (object: Json.JsonObject, field: string): Flaw | null => {
  const named = object[field]
  return within(field, Json.isObject(named) ? needsName(named) : notA("an object", named))
}
