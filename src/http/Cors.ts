/**
 * Callers in a browser, on whatever site: keys are sent as headers and never by the browser itself, so any site may ask, and
 * which sites a key works from is the key's own `domain_allowlist`. The operator's routes are for no site.
 *
 * @since 0.1.0
 */
import { type HttpServerRequest, HttpServerResponse } from "effect/http"

/** Headers of answers that a script may read. */
const exposed = [
  "x-request-id",
  "x-sluice-request-id",
  "request-id",
  "x-sluice-provider",
  "x-sluice-model",
  "x-sluice-cost-usd",
  "x-sluice-cache",
  "x-ratelimit-limit",
  "x-ratelimit-remaining",
  "x-ratelimit-reset",
  "x-ratelimit-limit-requests",
  "x-ratelimit-remaining-requests",
  "x-ratelimit-reset-requests",
  "x-ratelimit-limit-tokens",
  "x-ratelimit-remaining-tokens",
  "x-ratelimit-reset-tokens",
  "retry-after",
  "idempotent-replayed"
].join(", ")

const METHODS = "GET, POST, PUT, PATCH, DELETE"

/** Seconds for which a browser need not ask again. */
const MAX_AGE = "7200"

const open: Readonly<Record<string, string>> = { "access-control-allow-origin": "*", "access-control-expose-headers": exposed }

const isForOperators = (url: string): boolean => url.startsWith("/admin")

/** What a browser asks before it lets a script ask. @category predicates @since 0.1.0 */
export const isPreflight = (request: HttpServerRequest.HttpServerRequest): boolean =>
  request.method === "OPTIONS" &&
  request.headers["origin"] !== undefined &&
  request.headers["access-control-request-method"] !== undefined &&
  !isForOperators(request.url)

const listOfNames = /^[A-Za-z0-9-]+(\s*,\s*[A-Za-z0-9-]+)*$/

/** Any header may be sent. A star would leave out `authorization`, so that they are named as they were asked for. @category constructors @since 0.1.0 */
export const preflight = (request: HttpServerRequest.HttpServerRequest): HttpServerResponse.HttpServerResponse => {
  const asked = request.headers["access-control-request-headers"] ?? ""
  return HttpServerResponse.empty({
    status: 204,
    headers: {
      "access-control-allow-methods": METHODS,
      "access-control-max-age": MAX_AGE,
      vary: "access-control-request-headers",
      ...(asked.length <= 2_048 && listOfNames.test(asked) ? { "access-control-allow-headers": asked } : {})
    }
  })
}

/** What an answer to a script says; null where no browser asked. @category accessors @since 0.1.0 */
export const headersFor = (request: HttpServerRequest.HttpServerRequest): Readonly<Record<string, string>> | null =>
  request.headers["origin"] === undefined || isForOperators(request.url) ? null : open
