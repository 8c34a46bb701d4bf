/**
 * Who may use a route: a customer by key, the operator by the admin key.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { Caller } from "../../schemas/Account.ts"
import type { Identity } from "../identity/Identity.ts"
import * as ApiError from "./ApiError.ts"
import { credential, origin, TrustedProxies } from "./RequestContext.ts"

const missing = ApiError.fromIdentity({ reason: "missing" })

/** The account behind the request's key. @category middleware @since 0.1.0 */
export const customer = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<Caller, ApiError.ApiError> {
  const key = credential(request)
  if (key === null) return yield* Effect.fail(missing)
  const proxies = yield* TrustedProxies
  return yield* Effect.mapError(identity.authenticate(key, origin(request, proxies)), ApiError.fromIdentity)
})

/** Lets only the admin key pass; a customer's key is told apart from a wrong one. @category middleware @since 0.1.0 */
export const operator = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<void, ApiError.ApiError> {
  const key = credential(request)
  if (key === null) return yield* Effect.fail(missing)
  if (yield* identity.isAdmin(key)) return
  const caller = yield* customer(identity, request)
  yield* Effect.logWarning("UNAUTHORIZED_ADMIN_ACCESS", { account: caller.accountId, key: caller.keyId })
  return yield* Effect.fail(ApiError.make(403, "INSUFFICIENT_PERMISSIONS", "This route takes the operator's admin key."))
})
