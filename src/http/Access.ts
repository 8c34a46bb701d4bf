/**
 * Who may use a route: a customer by key, the operator by the admin key.
 *
 * @since 0.1.0
 */
import { Context, Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { Caller } from "../../schemas/Account.ts"
import type { Identity, IdentityError } from "../identity/Identity.ts"
import * as ApiError from "./ApiError.ts"
import { IpGate } from "./IpGate.ts"
import { credential, origin, TrustedProxies } from "./RequestContext.ts"

const missing = ApiError.fromIdentity({ reason: "missing" })

/**
 * The account behind the request's key. Whoever shows no valid one is counted by address, before a key that nobody here has
 * seen yet is looked up.
 *
 * @category middleware
 * @since 0.1.0
 */
export const customer = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<Caller, ApiError.ApiError, IpGate> {
  const gate = yield* IpGate
  const key = credential(request)
  const from = origin(request, yield* TrustedProxies)
  const enter = Effect.mapError(gate.enter(from.ip), ApiError.fromSecurityLimit)
  if (key === null) return yield* Effect.andThen(enter, Effect.fail(missing))
  let looked: string | null = null
  let entered = false
  const beforeLookup = (hash: string) => {
    looked = hash
    if (gate.isVouched(hash)) return Effect.void
    return Effect.tap(enter, () =>
      Effect.sync(() => {
        entered = true
      })
    )
  }
  const refuse = (error: IdentityError | ApiError.ApiError): Effect.Effect<never, ApiError.ApiError> => {
    if (!("reason" in error)) return Effect.fail(error)
    const count = error.reason === "unavailable" ? (entered ? gate.forgive(from.ip) : Effect.void) : entered ? Effect.void : enter
    return Effect.andThen(count, Effect.fail(ApiError.fromIdentity(error)))
  }
  const caller = yield* Effect.catch(identity.authenticate(key, from, beforeLookup), refuse)
  if (looked !== null) {
    gate.vouch(looked)
    if (entered) yield* gate.forgive(from.ip)
  }
  return caller
})

/** Limits of inference without a key; null where it is not served. @category models @since 0.1.0 */
export interface AnonymousLimits {
  readonly perMinute: number
  readonly perDay: number
}

/** @category references @since 0.1.0 */
export const AnonymousInference = Context.Reference<AnonymousLimits | null>("sluice/http/AnonymousInference", { defaultValue: () => null })

/** Nobody known, told apart by the pseudonym of the address. */
const nobody = (pseudonym: string, { perDay, perMinute }: AnonymousLimits): Caller => ({
  accountId: `anonymous:${pseudonym}`,
  keyId: pseudonym,
  role: "free",
  plan: "trial",
  limits: {
    rpm: perMinute,
    requestsPerDay: perDay,
    tokensPerMinute: "none",
    tokensPerDay: "none",
    tokensPerMonth: "none",
    concurrency: "none",
    burst: "none",
    dailyUsd: "none"
  },
  trialEndsAt: null,
  isAnonymous: true
})

/** The account behind the request's key; without a key nobody known, where that is served. @category middleware @since 0.1.0 */
export const customerOrNobody = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<Caller, ApiError.ApiError, IpGate> {
  const anonymous = yield* AnonymousInference
  if (anonymous === null || credential(request) !== null) return yield* customer(identity, request)
  const gate = yield* IpGate
  const { ip } = origin(request, yield* TrustedProxies)
  yield* Effect.mapError(gate.enter(ip), ApiError.fromSecurityLimit)
  return nobody(gate.pseudonym(ip), anonymous)
})

/**
 * Counts a request of a route that takes no key, unless it shows a valid one.
 *
 * @category middleware
 * @since 0.1.0
 */
export const visitor = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<void, ApiError.ApiError, IpGate> {
  const key = credential(request)
  if (key !== null && (yield* identity.isAdmin(key))) return
  yield* Effect.catch(Effect.asVoid(customer(identity, request)), (error) => (error.status === 429 ? Effect.fail(error) : Effect.void))
})

/** Lets only the admin key pass; a customer's key is told apart from a wrong one. @category middleware @since 0.1.0 */
export const operator = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<void, ApiError.ApiError, IpGate> {
  const key = credential(request)
  if (key !== null && (yield* identity.isAdmin(key))) return
  const caller = yield* customer(identity, request)
  yield* Effect.logWarning("UNAUTHORIZED_ADMIN_ACCESS", { account: caller.accountId, key: caller.keyId })
  return yield* Effect.fail(ApiError.make(403, "INSUFFICIENT_PERMISSIONS", "This route takes the operator's admin key."))
})
