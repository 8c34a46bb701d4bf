/**
 * How people come in: registration, login, identity tokens; and how they leave.
 *
 * @since 0.1.0
 */
import { Effect, Redacted } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Identity } from "../identity/Identity.ts"
import { type BegunSession, isSessionToken, Sessions } from "../identity/Sessions.ts"
import { SignIn } from "../identity/SignIn.ts"
import { AttemptLimits } from "../limits/AttemptLimits.ts"
import { account } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { IdentityBody, LoginBody, RegisterBody } from "./AuthApi.ts"
import { decodeBody, handled, json } from "./Handled.ts"
import { IpGate } from "./IpGate.ts"
import { credential, origin, TrustedProxies } from "./RequestContext.ts"

const sessionOf = ({ expiresAt, token }: BegunSession) => ({ token: Redacted.value(token), expires_at: expiresAt })

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "auth",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const signIn = yield* SignIn
    const sessions = yield* Sessions
    const limits = yield* AttemptLimits
    const readRegistration = decodeBody(RegisterBody)
    const readLogin = decodeBody(LoginBody)
    const readIdentity = decodeBody(IdentityBody)

    const attempt = Effect.fnUntraced(function* (kind: "login" | "register", request: HttpServerRequest.HttpServerRequest) {
      const gate = yield* IpGate
      const { ip } = origin(request, yield* TrustedProxies)
      yield* Effect.mapError(limits.attempt(kind, gate.pseudonym(ip)), ApiError.fromAttempts)
    })

    const register = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      const body = yield* readRegistration(request)
      const wanted = {
        email: body.email,
        password: Redacted.make(body.password),
        partnerCode: body.partner_code ?? null,
        referralCode: body.referral_code ?? null
      }
      // What could never be registered counts for nobody.
      const checked = yield* Effect.mapError(signIn.check(wanted), ApiError.fromAccounts)
      yield* attempt("register", request)
      const made = yield* Effect.mapError(signIn.register(checked), ApiError.fromAccounts)
      return json(
        { user: made.user, api_key: Redacted.value(made.apiKey), session: sessionOf(made.session), referral_code: made.referralCode },
        201
      )
    })

    const login = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      const body = yield* readLogin(request)
      yield* attempt("login", request)
      const { session, user } = yield* Effect.mapError(signIn.login(body.email, Redacted.make(body.password)), ApiError.fromAccounts)
      return json({ user, session: sessionOf(session) })
    })

    const identify = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      const body = yield* readIdentity(request)
      yield* attempt("login", request)
      // Only who is logged in links an identity: a key that leaked must not become a way in for good.
      const shown = credential(request)
      const isLoggedIn = shown !== null && isSessionToken(Redacted.value(shown))
      const current = isLoggedIn ? (yield* account(identity, request, "users:update")).accountId : null
      const token = Redacted.make(body.id_token)
      const found = yield* Effect.mapError(signIn.identify(token, body.nonce ?? null, current), ApiError.fromAccounts)
      const key = found.apiKey === null ? {} : { api_key: Redacted.value(found.apiKey) }
      return json({ user: found.user, ...key, session: sessionOf(found.session), method: found.method })
    })

    const logout = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      const token = credential(request)
      const caller = yield* account(identity, request, "users:update")
      if (token === null || !isSessionToken(Redacted.value(token))) {
        return yield* Effect.fail(
          ApiError.invalid("Send the session's token as a bearer token; a key is revoked with DELETE /v1/keys/{id}.")
        )
      }
      yield* Effect.mapError(sessions.end(caller.accountId, caller.keyId), ApiError.fromAccounts)
      return json({ ended: true })
    })

    return handlers
      .handleRaw("register", ({ request }) => handled(register(request)))
      .handleRaw("login", ({ request }) => handled(login(request)))
      .handleRaw("identity", ({ request }) => handled(identify(request)))
      .handleRaw("logout", ({ request }) => handled(logout(request)))
  })
)
