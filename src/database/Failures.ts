/**
 * What a failure of the database says.
 *
 * @since 0.1.0
 */
import { Predicate } from "effect"

/** The words of an error and of what caused it, down to where the database spoke. @category accessors @since 0.1.0 */
export const messageOf = (error: unknown, depth = 0): string => {
  if (depth > 5 || !Predicate.isObject(error)) return ""
  const own = Predicate.hasProperty(error, "message") ? String(error.message) : ""
  const reason = Predicate.hasProperty(error, "reason") ? messageOf(error.reason, depth + 1) : ""
  const cause = Predicate.hasProperty(error, "cause") ? messageOf(error.cause, depth + 1) : ""
  // An error that only passes on the words of its cause says them once.
  const deeper = reason.includes(cause) ? reason : `${reason} ${cause}`.trim()
  return deeper.includes(own) ? deeper : `${own} ${deeper}`.trim()
}

/** The five characters by which the database names an error (SQLSTATE); null where it did not speak. @category accessors @since 0.1.0 */
export const stateOf = (error: unknown, depth = 0): string | null => {
  if (depth > 5 || !Predicate.isObject(error)) return null
  if (Predicate.hasProperty(error, "code") && typeof error.code === "string" && /^[0-9A-Z]{5}$/.test(error.code)) return error.code
  const reason = Predicate.hasProperty(error, "reason") ? stateOf(error.reason, depth + 1) : null
  return reason ?? (Predicate.hasProperty(error, "cause") ? stateOf(error.cause, depth + 1) : null)
}

/** The code that the network or the resolver gave an error; null where they gave none. */
const networkCodeOf = (error: unknown, depth = 0): string | null => {
  if (depth > 5 || !Predicate.isObject(error)) return null
  if (Predicate.hasProperty(error, "code") && typeof error.code === "string" && /^E[A-Z_]+$/.test(error.code)) return error.code
  const reason = Predicate.hasProperty(error, "reason") ? networkCodeOf(error.reason, depth + 1) : null
  return reason ?? (Predicate.hasProperty(error, "cause") ? networkCodeOf(error.cause, depth + 1) : null)
}

const byState: Readonly<Record<string, string>> = {
  "28P01": "The password is refused: correct it in DATABASE_URL.",
  "28000": "The user is refused: correct it in DATABASE_URL, or let it in.",
  "3D000": "There is no such database: create it, or correct its name in DATABASE_URL.",
  "42501": "The user may not do that: give it the rights to create and use tables.",
  "53300": "It has no connection left: raise its max_connections, or stop what holds them.",
  "57P03": "It is starting up: nothing is to be done."
}

const byNetworkCode: Readonly<Record<string, string>> = {
  ECONNREFUSED: "Nothing listens there: start the database, or correct host and port in DATABASE_URL.",
  ENOTFOUND: "Its host is not known: correct it in DATABASE_URL.",
  EAI_AGAIN: "Its host cannot be looked up just now: check the name in DATABASE_URL, and the network."
}

/** What an operator may do about a database that cannot be connected to. @category accessors @since 0.1.0 */
export const adviceOf = (error: unknown): string =>
  byState[stateOf(error) ?? ""] ??
  byNetworkCode[networkCodeOf(error) ?? ""] ??
  "Check that it runs, that DATABASE_URL is right, and that its network lets this machine in."

/** Whether the data itself was refused (a value, a constraint): sent again as it is, it is refused again. @category predicates @since 0.1.0 */
export const isDataError = (error: unknown): boolean => /^2[23]/.test(stateOf(error) ?? "")
