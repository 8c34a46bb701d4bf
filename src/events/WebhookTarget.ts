/**
 * Where a webhook may go: to the public internet by https, and to what the operator named besides.
 *
 * A URL is judged when it is given, an address when it is connected to: a name may stand for another address by then.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

/** Networks inside the operator's own that webhooks may go to; by `http:` too. @category models @since 0.1.0 */
export type AllowedNetworks = ReadonlyArray<IpNetwork.IpNetwork>

/** What is not of the public internet (IANA's special-purpose registries); of version 6 all that is not global unicast too. */
const refused = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  // Tunnels and translations stand for other addresses: Teredo, ORCHID, 6to4; and what is for documents.
  "2001::/23",
  "2001:db8::/32",
  "2002::/16",
  "3fff::/20"
].map((text) => IpNetwork.fromStringUnsafe(text))

const globalUnicast = IpNetwork.fromStringUnsafe("2000::/3")

/** An address, v4-mapped ones as what they map; null when it is none. */
const parse = (address: string): NetAddress.IpAddress | null =>
  Result.match(NetAddress.ipFromString(address), { onSuccess: (parsed) => NetAddress.toCanonical(parsed), onFailure: () => null })

/** Whether the operator named an address. @category predicates @since 0.1.0 */
export const isNamed = (address: string, allowed: AllowedNetworks): boolean => {
  const parsed = parse(address)
  return parsed !== null && allowed.some((network) => IpNetwork.contains(network, parsed))
}

/** Whether an address is of the public internet. @category predicates @since 0.1.0 */
export const isPublic = (address: string): boolean => {
  const parsed = parse(address)
  if (parsed === null) return false
  if (NetAddress.isIpv6Address(parsed) && !IpNetwork.contains(globalUnicast, parsed)) return false
  return !refused.some((network) => IpNetwork.contains(network, parsed))
}

/** Whether a webhook may connect to an address by a URL's protocol. @category predicates @since 0.1.0 */
export const mayConnect = (protocol: string, address: string, allowed: AllowedNetworks): boolean =>
  isNamed(address, allowed) || (protocol === "https:" && isPublic(address))

const URL_MAX = 2_048

/** Ports below 1024 belong to other services than the web's. */
const isPortOfWeb = (url: URL): boolean => url.port === "" || Number(url.port) === 443 || Number(url.port) >= 1_024

/** The host of a URL, brackets removed. @category accessors @since 0.1.0 */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "")

/** Whether a host is an address and no name. @category predicates @since 0.1.0 */
export const isAddress = (host: string): boolean => parse(host) !== null

/** What is wrong with a URL as it is written, in words for who gave it; else the URL. @category constructors @since 0.1.0 */
export const readUrl = (text: string, allowed: AllowedNetworks): Result.Result<URL, string> => {
  if (text.length > URL_MAX) return Result.fail(`The URL may have at most ${URL_MAX} characters.`)
  if (!URL.canParse(text)) return Result.fail("The URL cannot be read: it takes the form https://host/path.")
  const url = new URL(text)
  if (url.protocol !== "https:" && url.protocol !== "http:") return Result.fail("The URL must start with https://.")
  if (url.protocol === "http:" && allowed.length === 0) return Result.fail("The URL must start with https://.")
  if (url.username !== "" || url.password !== "") return Result.fail("The URL may hold no user name and no password.")
  const host = hostOf(url)
  if (isAddress(host)) {
    if (isNamed(host, allowed)) return Result.succeed(url)
    if (!isPublic(host)) return Result.fail("The URL leads to an address that is not of the public internet.")
  }
  if (url.protocol === "https:" && !isPortOfWeb(url)) return Result.fail("The URL's port must be 443 or 1024 and above.")
  return Result.succeed(url)
}

/** What is wrong with where a URL's host leads, in words for who gave it; null when nothing is. @category predicates @since 0.1.0 */
export const judge = (url: URL, addresses: ReadonlyArray<string>, allowed: AllowedNetworks): string | null => {
  // A name that nobody knows just now is judged again when it is connected to; by `http:` it has to be the operator's own.
  if (addresses.every((address) => mayConnect(url.protocol, address, allowed)) && (addresses.length > 0 || url.protocol === "https:"))
    return null
  return url.protocol === "http:" ? "The URL must start with https://." : "The URL leads to an address that is not of the public internet."
}
