/**
 * Tokens by which issuers say who somebody is.
 *
 * @since 0.1.0
 */
import { Context, type Effect, type Redacted } from "effect"
import type { AccountsError } from "./AccountsError.ts"

/** An issuer whose tokens are believed, and for whom they have to be made. @category models @since 0.1.0 */
export interface TrustedIssuer {
  /** As `iss` has it; its discovery document is under it. */
  readonly issuer: string
  /** Any of these in `aud`. */
  readonly audiences: ReadonlyArray<string>
}

/** What a verified token says. @category models @since 0.1.0 */
export interface VerifiedClaims {
  readonly issuer: string
  readonly subject: string
  readonly claims: Readonly<Record<string, unknown>>
}

/** @category services @since 0.1.0 */
export class IdentityTokens extends Context.Service<
  IdentityTokens,
  {
    /**
     * Verifies signature, issuer, audience and times; a nonce when one is given. Fails with `invalid_token` when the token is
     * not good, with `unavailable` when the issuer cannot be asked.
     */
    readonly verify: (token: Redacted.Redacted, nonce: string | null) => Effect.Effect<VerifiedClaims, AccountsError>
  }
>()("sluice/identity/IdentityTokens") {}
