/**
 * Failures in the shape of the Anthropic protocol.
 *
 * @since 0.1.0
 */
import { HttpServerResponse } from "effect/http"
import type { ApiError } from "./ApiError.ts"
import { retryAfterHeader } from "./ApiError.ts"

/** The protocol's name for what went wrong, which its clients tell failures apart by. */
const typeOf = (status: number): string => {
  switch (status) {
    case 401:
      return "authentication_error"
    case 402:
      return "billing_error"
    case 403:
      return "permission_error"
    case 404:
      return "not_found_error"
    case 413:
      return "request_too_large"
    case 429:
      return "rate_limit_error"
    case 503:
      return "overloaded_error"
    case 504:
      return "timeout_error"
    default:
      return status >= 500 ? "api_error" : "invalid_request_error"
  }
}

/** @category formatting @since 0.1.0 */
export const body = (error: ApiError, requestId: string) => ({
  type: "error" as const,
  error: { type: typeOf(error.status), message: error.message },
  request_id: requestId
})

/** @category conversions @since 0.1.0 */
export const toResponse = (error: ApiError, requestId: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(body(error, requestId), { status: error.status, headers: retryAfterHeader(error) })
