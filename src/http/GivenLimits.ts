/**
 * Limits as somebody gives them.
 *
 * @since 0.1.0
 */
import * as Json from "../../schemas/Json.ts"
import { NegotiatedLimits } from "../../schemas/Plan.ts"
import * as ApiError from "./ApiError.ts"

const names = Object.keys(NegotiatedLimits.fields)

/**
 * What is wrong with the names of limits, which stand under `path` of a body: one that means nothing is refused, so that nobody
 * trusts a limit that is not there.
 *
 * @category validation
 * @since 0.1.0
 */
export const refuseUnknown = (limits: Json.Json | undefined, path = ""): ApiError.ApiError | null => {
  const unknown = Json.isObject(limits) ? Object.keys(limits).find((name) => !names.includes(name)) : undefined
  if (unknown === undefined) return null
  const param = `${path}${unknown.slice(0, 60)}`
  return ApiError.invalid(`\`${param}\` is no limit. There are ${names.join(", ")}.`, param)
}
