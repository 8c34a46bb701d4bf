/**
 * E-mail addresses: one spelling of each, and which are not for accounts.
 *
 * @since 0.1.0
 */
import { Context, type Effect } from "effect"

/** Addresses that anybody may read the mail of. @category services @since 0.1.0 */
export class DisposableMail extends Context.Service<
  DisposableMail,
  {
    /** Whether a domain, or a parent of it, hands out addresses to be thrown away. */
    readonly isDisposable: (domain: string) => Effect.Effect<boolean>
  }
>()("sluice/identity/DisposableMail") {}

const MAX_LENGTH = 254
/** Printable, without what separates or quotes addresses. */
const localPattern = /^(?!\.)(?!.*\.\.)[^\s@"<>()[\]\\,:;\p{Cc}\p{Cf}]{1,64}(?<!\.)$/u
const domainPattern = /^(?=.{3,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/

/** A name that never has mail: what stands for an account without an address uses it. */
const reserved = /(^|\.)invalid$/

/** The host as the network spells it; null when it is none. */
const hostOf = (domain: string): string | null => {
  const url = `http://${domain}`
  // Nothing but a host may stand there, or the rest would be passed over.
  return /[/?#@:\s\\%]/.test(domain) || !URL.canParse(url) ? null : new URL(url).hostname
}

/** An address as accounts are known by: trimmed, lower-case, its domain in ASCII; null when it is none. @category constructors @since 0.1.0 */
export const normaliseEmail = (text: string): string | null => {
  const trimmed = text.trim().normalize("NFKC").toLowerCase()
  const at = trimmed.lastIndexOf("@")
  if (at < 1) return null
  const local = trimmed.slice(0, at)
  const domain = hostOf(trimmed.slice(at + 1))
  if (domain === null || !localPattern.test(local) || !domainPattern.test(domain) || reserved.test(domain)) return null
  const address = `${local}@${domain}`
  return address.length > MAX_LENGTH ? null : address
}

/** @category accessors @since 0.1.0 */
export const domainOf = (address: string): string => address.slice(address.lastIndexOf("@") + 1)

/** What stands where an account has no address: unique, and mail for it goes nowhere. @category constructors @since 0.1.0 */
export const placeholderAddress = (id: string): string => `${id}@no-address.invalid`
