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

/** Whether the data itself was refused (a value, a constraint): sent again as it is, it is refused again. @category predicates @since 0.1.0 */
export const isDataError = (error: unknown): boolean => /^2[23]/.test(stateOf(error) ?? "")
