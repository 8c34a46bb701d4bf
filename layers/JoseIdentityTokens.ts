/**
 * Identity tokens verified by `jose`, with the keys that their issuers publish.
 *
 * @since 0.1.0
 */
import { Clock, Data, Effect, Layer, Redacted, Schema } from "effect"
import { createRemoteJWKSet, errors, jwtVerify, type RemoteJWKSet } from "jose"
import { type AccountsError, fail } from "../src/identity/AccountsError.ts"
import { IdentityTokens, type TrustedIssuer } from "../src/identity/IdentityTokens.ts"

/** Signatures by a published key; never `none`, never one by a shared secret. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]

/** Clocks that differ, in seconds. */
const TOLERANCE = 30
const PATIENCE = 5_000
const DISCOVERY_LIFE = 3_600_000
/** After a discovery that failed the issuer is left alone for so long. */
const DISCOVERY_PAUSE = 5_000
const MAX_TOKEN = 16_384
const MAX_SUBJECT = 255

class IssuerAway extends Data.TaggedError("IssuerAway")<{ readonly message: string }> {}

const Discovery = Schema.Struct({ issuer: Schema.String, jwks_uri: Schema.String })

/** The document under the issuer; its keys may lie elsewhere, but not on a weaker connection. */
const discover = (issuer: string): Effect.Effect<RemoteJWKSet, IssuerAway> =>
  Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(`${issuer.replace(/\/+$/, "")}/.well-known/openid-configuration`, {
        redirect: "error",
        headers: { accept: "application/json" },
        signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)])
      })
      if (!response.ok) throw new Error(`its discovery document is a ${response.status}`)
      const found = Schema.decodeUnknownSync(Discovery)(await response.json())
      if (found.issuer !== issuer) throw new Error("its discovery document names another issuer")
      const keys = new URL(found.jwks_uri)
      if (keys.protocol !== "https:" && new URL(issuer).protocol !== "http:") throw new Error("its keys are not published over https")
      return createRemoteJWKSet(keys, { timeoutDuration: PATIENCE })
    },
    catch: (error) => new IssuerAway({ message: error instanceof Error ? error.message.slice(0, 200) : "" })
  })

interface Known {
  readonly keys: Effect.Effect<RemoteJWKSet, IssuerAway>
  until: number
}

/** One look at an issuer for all who wait; what it says is kept. */
const makeIssuer = Effect.fnUntraced(function* (trusted: TrustedIssuer) {
  let known: Known | null = null
  const keys = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    if (known !== null && now < known.until) return yield* known.keys
    const fresh: Known = { keys: yield* Effect.cached(discover(trusted.issuer)), until: now + DISCOVERY_LIFE }
    known = fresh
    return yield* Effect.tapError(fresh.keys, () =>
      Effect.map(Clock.currentTimeMillis, (failed) => {
        fresh.until = failed + DISCOVERY_PAUSE
      })
    )
  })
  return { trusted, keys }
})

const refused = (why: string) => fail("invalid_token", `\`id_token\` ${why}.`)

const words = (error: unknown): string => {
  if (error instanceof errors.JWTExpired) return "has expired"
  if (error instanceof errors.JWTClaimValidationFailed) return `has a \`${error.claim}\` that is not accepted here`
  if (error instanceof errors.JOSEAlgNotAllowed) return "is signed by an algorithm that is not accepted"
  return "is not signed by its issuer"
}

/** The issuer's own trouble, not the token's. */
const isTrouble = (error: unknown): boolean =>
  !(error instanceof errors.JOSEError) || error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid

/** What a token claims to come from, before anything is believed. */
const issuerOf = (token: string): string | null => {
  const [, body] = token.split(".")
  try {
    const claims: unknown = JSON.parse(Buffer.from(body ?? "", "base64url").toString("utf8"))
    return Schema.is(Schema.Struct({ iss: Schema.String }))(claims) ? claims.iss : null
  } catch {
    return null
  }
}

/** @category layers @since 0.1.0 */
export const layer = (issuers: ReadonlyArray<TrustedIssuer>) =>
  Layer.effect(
    IdentityTokens,
    Effect.gen(function* () {
      const known = new Map((yield* Effect.forEach(issuers, makeIssuer)).map((issuer) => [issuer.trusted.issuer, issuer]))

      const verify = Effect.fnUntraced(function* (given: Redacted.Redacted, nonce: string | null) {
        const token = Redacted.value(given)
        const name = token.length > MAX_TOKEN ? null : issuerOf(token)
        const issuer = name === null ? undefined : known.get(name)
        if (issuer === undefined) return yield* refused("comes from no issuer that is configured here")
        const { audiences } = issuer.trusted
        const away = (error: { readonly message: string }) =>
          Effect.andThen(
            Effect.logWarning(`The issuer ${issuer.trusted.issuer} cannot be asked: ${error.message}`),
            Effect.fail(fail("busy", "The issuer of the token cannot be asked just now. Try again shortly."))
          )
        const keys = yield* Effect.catch(issuer.keys, away)
        const now = yield* Clock.currentTimeMillis
        const { payload } = yield* Effect.tryPromise({
          try: () =>
            jwtVerify(token, keys, {
              algorithms: ALGORITHMS,
              issuer: issuer.trusted.issuer,
              audience: [...audiences],
              clockTolerance: TOLERANCE,
              currentDate: new Date(now),
              requiredClaims: ["sub", "exp", "iat"]
            }),
          catch: (error) => error
        }).pipe(
          Effect.catch(
            (error): Effect.Effect<never, AccountsError> =>
              isTrouble(error)
                ? away({ message: error instanceof Error ? error.message.slice(0, 200) : "" })
                : Effect.fail(refused(words(error)))
          )
        )
        const { azp, sub } = payload
        if (sub === undefined || sub === "" || sub.length > MAX_SUBJECT) return yield* refused("has no sane `sub`")
        // A token for several was asked for by one of them: that one has to be ours.
        if (azp !== undefined && !audiences.some((audience) => audience === azp))
          return yield* refused("was made for somebody else (`azp`)")
        if (Array.isArray(payload.aud) && payload.aud.length > 1 && azp === undefined)
          return yield* refused("is for several and names no `azp`")
        if (nonce !== null && payload["nonce"] !== nonce) return yield* refused("has another `nonce`")
        return { issuer: issuer.trusted.issuer, subject: sub, claims: payload }
      })
      return IdentityTokens.of({ verify })
    })
  )
