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
  return `${own} ${reason} ${cause}`
}
