/**
 * Tokens of Google's service accounts: a signed assertion exchanged for a token, kept until shortly before it lapses.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Layer, Redacted, Semaphore } from "effect"
import { isObject, type JsonObject, parse, string } from "../schemas/Json.ts"
import { ProviderError, ProviderStatus } from "../schemas/Provider.ts"
import type { RegisteredProvider } from "../src/providers/ProviderRegistry.ts"
import { ProviderTokens } from "../src/providers/ProviderTokens.ts"
import { Transport } from "../src/providers/Transport.ts"

const TOKEN_URL = "https://oauth2.googleapis.com/token"
const SCOPE = "https://www.googleapis.com/auth/cloud-platform"
const LIFETIME = 3_600

/** Milliseconds before its end at which a token is exchanged for another. */
const MARGIN = 300_000

const MAX_ANSWER = 65_536

const accountOf = (provider: RegisteredProvider): JsonObject | null => {
  const key = provider.apiKey === null ? "" : Redacted.value(provider.apiKey).trim()
  const account = key.startsWith("{") ? parse(key) : undefined
  return isObject(account) ? account : null
}

/** The gateway's own credentials are at fault, whatever went wrong. */
const refused = (provider: RegisteredProvider, message: string) =>
  new ProviderError({
    provider: provider.definition.slug,
    reason: new ProviderStatus({ status: 401, message, code: null, param: null, retryAfterMs: null })
  })

const sign = (account: JsonObject, audience: string, now: number) =>
  Effect.tryPromise(async () => {
    // Loaded only where it is needed.
    const { importPKCS8, SignJWT } = await import("jose")
    const key = await importPKCS8(string(account["private_key"]) ?? "", "RS256")
    const seconds = Math.floor(now / 1_000)
    return new SignJWT({ scope: SCOPE })
      .setProtectedHeader({ alg: "RS256", typ: "JWT", kid: string(account["private_key_id"]) ?? "" })
      .setIssuer(string(account["client_email"]) ?? "")
      .setAudience(audience)
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + LIFETIME)
      .sign(key)
  })

interface Kept {
  readonly token: string
  readonly until: number
}

/** @category layers @since 0.1.0 */
export const layer: Layer.Layer<ProviderTokens, never, Transport> = Layer.effect(
  ProviderTokens,
  Effect.gen(function* () {
    const transport = yield* Transport
    const oneAtATime = yield* Semaphore.make(1)
    const kept = new Map<string, Kept>()

    const exchange = Effect.fnUntraced(function* (provider: RegisteredProvider, account: JsonObject) {
      const now = yield* Clock.currentTimeMillis
      const url = string(account["token_uri"]) ?? TOKEN_URL
      const assertion = yield* sign(account, url, now)
      const signed = {
        method: "POST" as const,
        url,
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion }).toString()
      }
      const { text } = yield* transport.ask(signed, MAX_ANSWER)
      const answer = parse(text)
      const token = isObject(answer) ? string(answer["access_token"]) : null
      if (!isObject(answer) || token === null) return yield* refused(provider, "The service account was not given a token.")
      const lifetime = typeof answer["expires_in"] === "number" ? answer["expires_in"] : LIFETIME
      kept.set(provider.definition.slug, { token, until: now + lifetime * 1_000 - MARGIN })
      return token
    })

    const usable = Effect.fnUntraced(function* (provider: RegisteredProvider) {
      const known = kept.get(provider.definition.slug)
      return known !== undefined && (yield* Clock.currentTimeMillis) < known.until ? known.token : null
    })

    const fresh = (provider: RegisteredProvider, account: JsonObject) =>
      Effect.scoped(exchange(provider, account)).pipe(
        Effect.catch((error) =>
          error._tag === "ProviderError"
            ? Effect.fail(error)
            : error._tag === "TransportError"
              ? Effect.fail(new ProviderError({ provider: provider.definition.slug, reason: error.reason }))
              : Effect.fail(refused(provider, "The service account's key cannot be used."))
        )
      )

    return ProviderTokens.of({
      bearer: Effect.fnUntraced(function* (provider: RegisteredProvider) {
        const account = accountOf(provider)
        if (account === null) return null
        const known = yield* usable(provider)
        if (known !== null) return known
        // Whoever waited finds what the first one got.
        const wait = Effect.flatMap(usable(provider), (token) => (token === null ? fresh(provider, account) : Effect.succeed(token)))
        return yield* oneAtATime.withPermits(1)(wait)
      })
    })
  })
)
