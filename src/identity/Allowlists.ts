/**
 * Where a key may be used from: addresses and sites.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

/** The network of IPv4 that a network of v4-mapped addresses stands for. */
const canonical = (network: IpNetwork.IpNetwork): IpNetwork.IpNetwork => {
  const address = NetAddress.toCanonical(network.address)
  if (NetAddress.width(address) === NetAddress.width(network.address) || network.prefixLength < 96) return network
  return Result.getOrElse(IpNetwork.fromAddress(address, network.prefixLength - 96), () => network)
}

const networkOf = (text: string): IpNetwork.IpNetwork | null =>
  text.includes("/")
    ? Result.getOrElse(Result.map(IpNetwork.fromString(text), canonical), () => null)
    : Result.getOrElse(
        Result.flatMap(NetAddress.ipFromString(text), (address) =>
          IpNetwork.fromAddress(NetAddress.toCanonical(address), NetAddress.width(NetAddress.toCanonical(address)))
        ),
        () => null
      )

/** Whether a text is an address or a network that an allowlist may hold. @category predicates @since 0.1.0 */
export const isNetwork = (text: string): boolean => networkOf(text) !== null

/** Whether an address stands in a list of addresses and CIDR ranges, v4-mapped ones as what they map. An empty list means no restriction; an unknown address stands in none. @category predicates @since 0.1.0 */
export const allowsAddress = (list: ReadonlyArray<string>, ip: string | null): boolean => {
  if (list.length === 0) return true
  if (ip === null) return false
  const parsed = Result.getOrElse(NetAddress.ipFromString(ip), () => null)
  if (parsed === null) return false
  const address = NetAddress.toCanonical(parsed)
  return list.some((entry) => {
    const network = networkOf(entry)
    return network !== null && IpNetwork.contains(network, address)
  })
}

/** Whether a text is a host name that an allowlist may hold. @category predicates @since 0.1.0 */
export const isDomain = (text: string): boolean =>
  /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(text)

/** Whether a host is a listed domain or a subdomain of one. An empty list means no restriction; no host is refused. @category predicates @since 0.1.0 */
export const allowsDomain = (list: ReadonlyArray<string>, host: string | null): boolean => {
  if (list.length === 0) return true
  if (host === null) return false
  const name = host.toLowerCase()
  return list.some((entry) => name === entry.toLowerCase() || name.endsWith(`.${entry.toLowerCase()}`))
}
