/**
 * What may be set of a key, and within which bounds.
 *
 * @since 0.1.0
 */
import type { CacheMode } from "../../schemas/Account.ts"
import type { Guardrails } from "../../schemas/Guardrail.ts"
import type { NegotiatedLimits } from "../../schemas/Plan.ts"
import { isDomain, isNetwork } from "./Allowlists.ts"
import { validate } from "./EffectiveLimits.ts"
import { isScope, scopes } from "./Permissions.ts"

/** Settings of a key; what is absent stays as it is. @category models @since 0.1.0 */
export interface KeyChange {
  readonly name?: string | undefined
  /** What the key is for. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Addresses and CIDR ranges. */
  readonly ip_allowlist?: ReadonlyArray<string> | undefined
  readonly domain_allowlist?: ReadonlyArray<string> | undefined
  readonly limits?: NegotiatedLimits | undefined
  /** Requests in all; null: no cap. */
  readonly max_requests?: number | null | undefined
  readonly cache?: CacheMode | null | undefined
  /** Null: nothing is watched. */
  readonly guardrails?: Guardrails | null | undefined
  /** ISO-8601; null: never. */
  readonly expires_at?: string | null | undefined
}

/** What a new key may carry. @category models @since 0.1.0 */
export interface NewKey extends KeyChange {
  readonly name: string
}

const MAX_ENTRIES = 100

const refuseList = (name: string, list: ReadonlyArray<string> | undefined, isEntry: (entry: string) => boolean, what: string) => {
  if (list === undefined) return null
  if (list.length > MAX_ENTRIES) return `\`${name}\` has at most ${MAX_ENTRIES} entries.`
  const wrong = list.find((entry) => !isEntry(entry))
  return wrong === undefined ? null : `\`${name}\`: ${wrong.slice(0, 60)} is not ${what}.`
}

const refuseTime = (time: string | null | undefined, now: number): string | null =>
  time === undefined || time === null || (/^\d{4}-\d\d-\d\dT/.test(time) && Date.parse(time) > now)
    ? null
    : "`expires_at` must be a time to come, in ISO-8601."

const refuseCap = (cap: number | null | undefined): string | null =>
  cap === undefined || cap === null || (Number.isSafeInteger(cap) && cap >= 0) ? null : "`max_requests` must be a whole number or null."

/** What is wrong with settings that somebody wants; null when nothing is. @category validation @since 0.1.0 */
export const refuseChange = (change: KeyChange, now: number): string | null => {
  const name = change.name?.trim()
  if (name !== undefined && (name === "" || name.length > 100)) return "`name` must have 1 to 100 characters."
  if (change.scopes?.length === 0) return "`scopes` must not be empty; leave it out for a key that may everything."
  return (
    refuseList("scopes", change.scopes, isScope, `a scope; those are ${scopes.join(", ")}`) ??
    refuseList("ip_allowlist", change.ip_allowlist, isNetwork, "an address or a CIDR range") ??
    refuseList("domain_allowlist", change.domain_allowlist, isDomain, "a domain name") ??
    refuseTime(change.expires_at, now) ??
    refuseCap(change.max_requests) ??
    validate(change.limits ?? {})
  )
}

/** Settings as they are kept. @category encoding @since 0.1.0 */
export const encodeChange = (change: KeyChange): KeyChange => ({
  ...change,
  ...(change.name === undefined ? {} : { name: change.name.trim() }),
  ...(change.scopes === undefined ? {} : { scopes: [...new Set(change.scopes)] }),
  ...(change.domain_allowlist === undefined ? {} : { domain_allowlist: change.domain_allowlist.map((domain) => domain.toLowerCase()) }),
  ...(change.expires_at === undefined || change.expires_at === null ? {} : { expires_at: new Date(change.expires_at).toISOString() })
})
