/**
 * Every failure as the caller sees it: status, type, code and `Retry-After`, in one table.
 *
 * @since 0.1.0
 */
import { HttpServerResponse } from "effect/http"
import type { LedgerError } from "../../schemas/LedgerEntry.ts"
import * as Money from "../../schemas/Money.ts"
import { isCallersMistake, type ProviderError } from "../../schemas/Provider.ts"
import type { CatalogError } from "../catalog/Catalog.ts"
import type { WebhooksError } from "../events/Webhooks.ts"
import type { GatewayError } from "../Gateway.ts"
import type { AccountsError } from "../identity/AccountsError.ts"
import type { IdentityError } from "../identity/Identity.ts"
import type { TooManyAttempts } from "../limits/AttemptLimits.ts"
import type { SecurityLimit } from "../limits/IpLimits.ts"
import type { LimitExceeded } from "../limits/KeyLimits.ts"
import type { AllProvidersFailed } from "../providers/Failover.ts"

/** One failure, ready to be written in any protocol's shape. @category models @since 0.1.0 */
export interface ApiError {
  readonly status: number
  readonly type: string
  readonly code: string
  readonly message: string
  readonly param: string | null
  /** Milliseconds, for `Retry-After`. */
  readonly retryAfterMs: number | null
}

const typeOfStatus = (status: number): string => {
  if (status === 401) return "authentication_error"
  if (status === 402) return "insufficient_quota"
  if (status === 403) return "permission_error"
  if (status === 429) return "rate_limit_error"
  return status >= 500 ? "api_error" : "invalid_request_error"
}

/** @category constructors @since 0.1.0 */
export const make = (
  status: number,
  code: string,
  message: string,
  more: { readonly param?: string | null; readonly retryAfterMs?: number | null } = {}
): ApiError => ({
  status,
  type: typeOfStatus(status),
  code,
  message,
  param: more.param ?? null,
  retryAfterMs: more.retryAfterMs ?? (status === 503 ? 1_000 : null)
})

/** Something of ours broke: says nothing of what. @category constructors @since 0.1.0 */
export const internal = make(500, "INTERNAL_ERROR", "Something went wrong on our side. The request was not charged; try it again.")

/** @category constructors @since 0.1.0 */
export const stopping = make(503, "SERVICE_UNAVAILABLE", "The server is shutting down. The request was not charged; try it again.")

/** @category constructors @since 0.1.0 */
export const invalid = (message: string, param: string | null = null, code = "INVALID_REQUEST"): ApiError =>
  make(400, code, message, { param })

/** @category constructors @since 0.1.0 */
export const notFound = (what: string): ApiError => make(404, "RESOURCE_NOT_FOUND", what)

const identityTable: Readonly<Record<IdentityError["reason"], ApiError>> = {
  missing: make(401, "API_KEY_MISSING", "No API key was given. Send it as `Authorization: Bearer gw_…` or `x-api-key: gw_…`."),
  unknown: make(401, "INVALID_API_KEY", "The API key is not valid."),
  revoked: make(401, "API_KEY_REVOKED", "The API key was revoked."),
  expired: make(401, "API_KEY_EXPIRED", "The API key has expired."),
  session_ended: make(401, "SESSION_ENDED", "The session is not valid or has ended. Log in again."),
  inactive: make(401, "INVALID_API_KEY", "The account of this API key is not active."),
  ip_not_allowed: make(403, "IP_RESTRICTED", "The API key may not be used from this address."),
  domain_not_allowed: make(403, "DOMAIN_RESTRICTED", "The API key may not be used from this site."),
  unavailable: make(503, "SERVICE_UNAVAILABLE", "The API key could not be checked just now. Try again shortly.")
}

/** @category conversions @since 0.1.0 */
export const fromIdentity = (error: Pick<IdentityError, "reason">): ApiError => identityTable[error.reason]

/** @category conversions @since 0.1.0 */
export const fromCatalog = (error: CatalogError): ApiError => {
  const reason = error.reason
  switch (reason._tag) {
    case "ModelNotFound":
      return make(404, "model_not_found", `The model \`${reason.model}\` does not exist. GET /v1/models lists what is served.`, {
        param: reason.param ?? "model"
      })
    case "NoActiveProvider":
      return make(
        503,
        "PROVIDER_UNAVAILABLE",
        reason.asked
          ? `No provider that was asked for is switched on here: ${reason.providers.join(", ")}. Give it a key, or ask for \`${reason.model}\` at another of its providers.`
          : `No provider of \`${reason.model}\` is switched on here. It is served by: ${reason.providers.join(", ")}; give one of them a key.`,
        { param: reason.asked ? "provider" : "model" }
      )
    case "PricingUnavailable":
      return make(503, "PRICING_UNAVAILABLE", `The model \`${reason.model}\` has no explicit price, so it is not served.`, {
        param: "model"
      })
    case "InvalidRoute":
      return invalid(reason.message, reason.param)
  }
}

/** @category conversions @since 0.1.0 */
export const fromLedger = (error: LedgerError): ApiError => {
  const reason = error.reason
  switch (reason._tag) {
    case "InsufficientCredits":
      return make(
        402,
        "INSUFFICIENT_CREDITS",
        `This request may cost up to ${Money.toUsd(reason.required)} USD, and ${Money.toUsd(reason.available)} USD is available. Add credits, or lower \`max_tokens\`.`
      )
    case "DailyCapReached":
      return make(
        429,
        "DAILY_QUOTA_EXCEEDED",
        `The account may spend ${Money.toUsd(reason.cap)} USD a day (UTC), and this request may cost up to ${Money.toUsd(reason.required)} USD more than is left of it.`,
        { retryAfterMs: 60_000 }
      )
    case "LedgerUnavailable":
      return make(503, "SERVICE_UNAVAILABLE", "Credits could not be checked just now. Try again shortly.")
    case "AccountNotFound":
      return make(404, "RESOURCE_NOT_FOUND", "There is no such account.")
  }
}

const limitCodes: Readonly<Record<LimitExceeded["limit"], string>> = {
  requests_per_minute: "RATE_LIMIT_EXCEEDED",
  burst: "RATE_LIMIT_EXCEEDED",
  concurrency: "CONCURRENT_REQUEST_LIMIT",
  tokens_per_minute: "TOKEN_RATE_LIMIT",
  requests_per_day: "DAILY_QUOTA_EXCEEDED",
  tokens_per_day: "DAILY_QUOTA_EXCEEDED",
  tokens_per_month: "MONTHLY_QUOTA_EXCEEDED"
}

/** @category conversions @since 0.1.0 */
export const fromAttempts = (error: TooManyAttempts): ApiError =>
  make(429, "TOO_MANY_ATTEMPTS", `Only ${error.limit} ${error.what} in ${error.windowMs / 60_000} minutes are taken. Try again later.`, {
    retryAfterMs: error.retryAfterMs
  })

/** @category conversions @since 0.1.0 */
export const fromLimit = (error: LimitExceeded, isAnonymous = false): ApiError =>
  make(429, isAnonymous && error.limit === "requests_per_day" ? "anonymous_daily_limit" : limitCodes[error.limit], error.message, {
    retryAfterMs: error.retryAfterMs
  })

/** @category conversions @since 0.1.0 */
export const fromSecurityLimit = (error: SecurityLimit): ApiError => ({
  ...make(429, "RATE_LIMIT_EXCEEDED", `An address may send ${error.limit} requests a minute without a valid API key.`, {
    retryAfterMs: error.retryAfterMs
  }),
  type: "security_limit"
})

/** @category conversions @since 0.1.0 */
export const fromAccounts = (error: AccountsError): ApiError => {
  switch (error.reason) {
    case "user_not_found":
    case "key_not_found":
      return notFound(error.detail)
    case "email_taken":
      return make(409, "EMAIL_TAKEN", error.detail, { param: "email" })
    case "name_taken":
      return make(409, "KEY_NAME_TAKEN", error.detail, { param: "name" })
    case "invalid_email":
      return invalid(error.detail, "email")
    case "invalid_password":
      return invalid(error.detail, "password")
    case "disposable_email":
      return invalid(error.detail, "email", "DISPOSABLE_EMAIL")
    case "invalid_input":
      return invalid(error.detail)
    case "wrong_credentials":
      return make(401, "WRONG_CREDENTIALS", error.detail)
    case "invalid_token":
      return make(401, "INVALID_IDENTITY_TOKEN", error.detail)
    case "not_linked":
    case "identity_taken":
      return make(409, "IDENTITY_NOT_LINKED", error.detail)
    case "not_allowed":
      return make(403, "INSUFFICIENT_PERMISSIONS", error.detail)
    case "busy":
      return make(503, "SERVICE_UNAVAILABLE", error.detail)
    case "unavailable":
      return make(503, "SERVICE_UNAVAILABLE", "The database did not answer. Try again shortly.")
  }
}

/** @category conversions @since 0.1.0 */
export const fromWebhooks = (error: WebhooksError): ApiError => {
  switch (error.reason) {
    case "not_found":
      return notFound(error.detail)
    case "invalid_url":
      return invalid(error.detail, "url")
    case "too_many":
      return invalid(error.detail, null, "LIMIT_REACHED")
    case "disabled":
      return make(409, "WEBHOOK_DISABLED", error.detail)
    case "unavailable":
      return make(503, "SERVICE_UNAVAILABLE", "The database did not answer. Try again shortly.")
  }
}

/** A provider's failure: the caller's own mistakes keep their words, the provider's troubles lose theirs. @category conversions @since 0.1.0 */
export const fromProvider = (error: ProviderError): ApiError => {
  const reason = error.reason
  switch (reason._tag) {
    case "ProviderStatus": {
      if (reason.status === 429) {
        return make(429, "PROVIDER_RATE_LIMITED", "The provider is limiting requests for this model. Try again later.", {
          retryAfterMs: reason.retryAfterMs ?? 1_000
        })
      }
      if (isCallersMistake(error)) {
        const status = reason.status === 413 || reason.status === 422 ? reason.status : 400
        return make(status, reason.code ?? "INVALID_REQUEST", reason.message, { param: reason.param })
      }
      if (reason.status === 503 || reason.status === 529)
        return make(503, "PROVIDER_UNAVAILABLE", "The provider is not available. The request was not charged.")
      if (reason.status === 504) return make(504, "PROVIDER_TIMEOUT", "The provider did not answer in time. The request was not charged.")
      return make(502, "PROVIDER_ERROR", "The provider failed. The request was not charged.")
    }
    case "ProviderTimeout":
      return make(504, "PROVIDER_TIMEOUT", "The provider did not answer in time. The request was not charged.")
    case "ProviderConnection":
      return make(503, "PROVIDER_UNAVAILABLE", "The provider could not be reached. The request was not charged.")
    case "ProviderAnswer":
      if (reason.fault === "mismatch") return make(502, "SCHEMA_MISMATCH", `${reason.message} The request was not charged.`)
      return make(502, "PROVIDER_ERROR", "The provider's answer broke off or was not valid. The request was not charged.")
  }
}

/** @category conversions @since 0.1.0 */
export const fromFailover = (error: AllProvidersFailed): ApiError => {
  if (error.last === null) {
    return make(503, "PROVIDER_UNAVAILABLE", "Every provider of this model is resting after failures. Try again later.", {
      retryAfterMs: error.retryAfterMs ?? 1_000
    })
  }
  const failure = fromProvider(error.last)
  return error.retryAfterMs === null ? failure : { ...failure, retryAfterMs: error.retryAfterMs }
}

/** Whatever kept a request from its answer. @category conversions @since 0.1.0 */
export const fromGateway = (error: GatewayError): ApiError => {
  switch (error._tag) {
    case "CatalogError":
      return fromCatalog(error)
    case "LedgerError":
      return fromLedger(error)
    case "AllProvidersFailed":
      return fromFailover(error)
    case "GuardrailBlocked":
      return make(403, `GUARDRAIL_${error.rule.toUpperCase()}`, `A guardrail of this API key refused the request: ${error.finding}.`)
    case "ModelNeedsKey":
      return make(
        403,
        "anonymous_model_restricted",
        `\`${error.model}\` takes an API key; without one only models marked free are served.`,
        {
          param: "model"
        }
      )
    case "TrialExpired":
      return make(402, "TRIAL_EXPIRED", `The trial is over. Add credits to use \`${error.model}\`; models marked free stay open.`)
    case "TrialUsedUp":
      return make(402, "TRIAL_LIMIT_REACHED", `The trial has no more ${error.what}. Add credits to go on; models marked free stay open.`)
    case "KeyUsedUp":
      return make(429, "KEY_REQUESTS_USED_UP", `This key may make ${error.maxRequests} requests in all, and has made them.`, {
        retryAfterMs: 86_400_000
      })
    case "KeyCapUnknown":
      return make(503, "SERVICE_UNAVAILABLE", "What this key may still do could not be checked just now. Try again shortly.")
    case "MaxTokensTooLarge":
      return invalid(
        `max_tokens is too large: ${error.maxTokens}. This model supports at most ${error.limit} completion tokens.`,
        "max_tokens",
        "MAX_TOKENS_EXCEEDED"
      )
  }
}

/** The body of an error in OpenAI's shape, also used by every route that belongs to no protocol. @category formatting @since 0.1.0 */
export const openAiBody = (error: ApiError): { readonly error: { message: string; type: string; code: string; param: string | null } } => ({
  error: { message: error.message, type: error.type, code: error.code, param: error.param }
})

/** `Retry-After`, where there is anything to wait for. @category formatting @since 0.1.0 */
export const retryAfterHeader = (error: ApiError): Record<string, string> =>
  error.retryAfterMs === null ? {} : { "retry-after": String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000))) }

/** @category conversions @since 0.1.0 */
export const toResponse = (error: ApiError): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(openAiBody(error), { status: error.status, headers: retryAfterHeader(error) })
