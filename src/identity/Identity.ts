/**
 * Who is calling.
 *
 * @since 0.1.0
 */
import { Context, type Effect, type Redacted, Schema } from "effect"
import type { Caller } from "../../schemas/Account.ts"

/** Why a key is not let in. `unavailable` is our own trouble, never the caller's. @category errors @since 0.1.0 */
export class IdentityError extends Schema.TaggedError<IdentityError>()("IdentityError", {
  reason: Schema.Literals(["missing", "unknown", "revoked", "expired", "inactive", "ip_not_allowed", "domain_not_allowed", "unavailable"])
}) {}

/** What the request says about where it comes from. @category models @since 0.1.0 */
export interface Origin {
  /** The client's address, by `TRUST_PROXY`; null when unknown. */
  readonly ip: string | null
  /** Host of `Origin`, else of `Referer`; null when neither came. */
  readonly host: string | null
}

/** @category services @since 0.1.0 */
export class Identity extends Context.Service<
  Identity,
  {
    /** The account behind a plain key. Warm keys make no database call. */
    readonly authenticate: (key: Redacted.Redacted, origin: Origin) => Effect.Effect<Caller, IdentityError>
    /** Whether this is the operator's admin key, compared in constant time. */
    readonly isAdmin: (key: Redacted.Redacted) => Effect.Effect<boolean>
  }
>()("sluice/identity/Identity") {}
