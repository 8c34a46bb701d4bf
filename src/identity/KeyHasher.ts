/**
 * Keyed hashes of keys: what keys are looked up by, and how secrets are compared.
 *
 * @since 0.1.0
 */
import { Context, type Redacted } from "effect"

/** @category services @since 0.1.0 */
export class KeyHasher extends Context.Service<
  KeyHasher,
  {
    /** HMAC-SHA256 under the deployment's secret: 64 lower-case hex characters. Synchronous, as it is on every request's path. */
    readonly hash: (key: Redacted.Redacted) => string
    /** Whether two secrets are the same, in constant time. */
    readonly equals: (a: Redacted.Redacted, b: Redacted.Redacted) => boolean
  }
>()("sluice/identity/KeyHasher") {}
