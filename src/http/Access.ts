/**
 * Who may use a route: a customer by key, an account by key or session, the operator by the admin key or as an admin. Every
 * route says what it takes in one line, and it is checked here.
 *
 * @since 0.1.0
 */
import { Context, Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { Caller } from "../../schemas/Account.ts"
import { type Actor, AuditLog } from "../identity/AuditLog.ts"
import type { Authenticate, Identity, IdentityError } from "../identity/Identity.ts"
import { inScope, may, type Permission } from "../identity/Permissions.ts"
import * as ApiError from "./ApiError.ts"
import { IpGate } from "./IpGate.ts"
import { credential, origin, presentedKey, RequestIds, TrustedProxies } from "./RequestContext.ts"

const missing = ApiError.fromIdentity({ reason: "missing" })

/**
 * The account behind the request's key, or whatever else `authenticate` takes. Whoever shows no valid one is counted by
 * address, before one that nobody here has seen yet is looked up.
 */
const authenticated = Effect.fnUntraced(function* (
  authenticate: Authenticate,
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
  const caller = yield* Effect.catch(authenticate(key, from, beforeLookup), refuse)
  if (looked !== null) {
    gate.vouch(looked)
    if (entered) yield* gate.forgive(from.ip)
  }
  return caller
})

const forbidden = (message: string) => ApiError.make(403, "INSUFFICIENT_PERMISSIONS", message)

/** What a caller is not allowed; null when it is. */
const refusal = (caller: Caller, permission: Permission): ApiError.ApiError | null => {
  if (!may(caller.role, permission)) return forbidden(`The role \`${caller.role}\` does not have the permission \`${permission}\`.`)
  return inScope(caller.scopes, permission) ? null : forbidden(`The scopes of this key (${caller.scopes.join(", ")}) do not allow this.`)
}

/**
 * The account behind a key that may ask models and of which everything is known; null when `customer` has to look. Whoever
 * is let in so is counted by no address, as there.
 *
 * @category accessors
 * @since 0.1.0
 */
export const knownCustomer = (identity: Identity["Service"], request: HttpServerRequest.HttpServerRequest): Caller | null => {
  const key = presentedKey(request)
  const caller = key === null ? null : identity.recall(key)
  return caller === null || refusal(caller, "inference:create") !== null ? null : caller
}

/** The account behind the request's key, for routes that ask models. @category middleware @since 0.1.0 */
export const customer = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest
): Effect.fn.Return<Caller, ApiError.ApiError, IpGate> {
  const caller = yield* authenticated(identity.authenticate, request)
  const refused = refusal(caller, "inference:create")
  return refused === null ? caller : yield* Effect.fail(refused)
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
  scopes: ["inference"],
  maxRequests: null,
  cache: null,
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

/** The account behind the request's key or session, for routes of the account itself. @category middleware @since 0.1.0 */
export const account = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest,
  permission: Permission
): Effect.fn.Return<Caller, ApiError.ApiError, IpGate> {
  const caller = yield* authenticated(identity.identify, request)
  const refused = refusal(caller, permission)
  return refused === null ? caller : yield* Effect.fail(refused)
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
  yield* Effect.catch(Effect.asVoid(authenticated(identity.identify, request)), (error) =>
    error.status === 429 ? Effect.fail(error) : Effect.void
  )
})

/** Who does what this request does, for the audit log. @category accessors @since 0.1.0 */
export const actorOf = (request: HttpServerRequest.HttpServerRequest, actor: string): Effect.Effect<Actor> =>
  Effect.map(Effect.all([RequestIds, TrustedProxies]), ([ids, proxies]) => ({
    actor,
    ip: origin(request, proxies).ip,
    requestId: ids.id === "" ? null : ids.id
  }))

/**
 * Lets the admin key pass, and users with a role that has the permission, by key or session. Everybody else is refused and
 * written down, a customer told apart from a wrong key.
 *
 * @category middleware
 * @since 0.1.0
 */
export const operator = Effect.fnUntraced(function* (
  identity: Identity["Service"],
  request: HttpServerRequest.HttpServerRequest,
  permission: Permission = "monitoring:read"
): Effect.fn.Return<Actor, ApiError.ApiError, IpGate | AuditLog> {
  const key = credential(request)
  if (key !== null && (yield* identity.isAdmin(key))) return yield* actorOf(request, "operator")
  const audit = yield* AuditLog
  const details = { method: request.method, path: request.url.split("?")[0]?.slice(0, 200) ?? "" }
  const wrongKey = (error: ApiError.ApiError) =>
    key === null || error.status !== 401
      ? Effect.fail(error)
      : Effect.gen(function* () {
          yield* Effect.logWarning("INVALID_ADMIN_KEY_ATTEMPT", details)
          const by = yield* actorOf(request, "unknown")
          yield* audit.record({ ...by, action: "INVALID_ADMIN_KEY_ATTEMPT", account: null, details })
          return yield* Effect.fail(error)
        })
  const caller = yield* Effect.catch(authenticated(identity.identify, request), wrongKey)
  const by = yield* actorOf(request, caller.accountId)
  if (refusal(caller, permission) === null) return by
  yield* Effect.logWarning("UNAUTHORIZED_ADMIN_ACCESS", { account: caller.accountId, key: caller.keyId })
  const refused = { ...details, key: caller.keyId, role: caller.role }
  yield* audit.record({ ...by, action: "UNAUTHORIZED_ADMIN_ACCESS", account: caller.accountId, details: refused })
  return yield* Effect.fail(forbidden("This route takes the operator's admin key, or a user with the role `admin`."))
})
