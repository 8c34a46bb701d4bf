/**
 * What is known of a request before any route looks at it.
 *
 * @since 0.1.0
 */
import { Context, Option, Redacted, Result } from "effect"
import type { HttpServerRequest } from "effect/http"
import { IpNetwork, NetAddress } from "effect/net"
import type { Origin } from "../identity/Identity.ts"

/** The names of one request: the server's own, which decides about money, and the caller's, for tracing only. @category models @since 0.1.0 */
export interface RequestIds {
  readonly id: string
  readonly clientId: string | null
  /** What every answer says of them, and to a script of itself; whoever writes it into an answer's headers spares a copy of them. */
  readonly headers: Readonly<Record<string, string>>
}

/** @category references @since 0.1.0 */
export const RequestIds = Context.Reference<RequestIds>("sluice/http/RequestIds", {
  defaultValue: () => ({ id: "", clientId: null, headers: {} })
})

/** How many proxies in front of the server are believed; 0 believes none. @category references @since 0.1.0 */
export const TrustedProxies = Context.Reference<number>("sluice/http/TrustedProxies", { defaultValue: () => 0 })

const sanePattern = /^[A-Za-z0-9._:/-]{1,128}$/

/** The caller's `x-request-id`, when it is a sane one. @category accessors @since 0.1.0 */
export const clientRequestId = (request: HttpServerRequest.HttpServerRequest): string | null => {
  const value = request.headers["x-request-id"]
  return value !== undefined && sanePattern.test(value) ? value : null
}

/** The key of a request as it stands there: `Authorization: Bearer`, else `x-api-key`. Not to be kept. @category accessors @since 0.1.0 */
export const presentedKey = (request: HttpServerRequest.HttpServerRequest): string | null => {
  const authorization = request.headers["authorization"]
  if (authorization !== undefined) {
    const space = authorization.indexOf(" ")
    if (space > 0 && authorization.slice(0, space).toLowerCase() === "bearer") {
      const token = authorization.slice(space + 1).trim()
      if (token.length > 0) return token
    }
  }
  const key = request.headers["x-api-key"]?.trim()
  return key === undefined || key.length === 0 ? null : key
}

/** The key of a request. @category accessors @since 0.1.0 */
export const credential = (request: HttpServerRequest.HttpServerRequest): Redacted.Redacted | null => {
  const key = presentedKey(request)
  return key === null ? null : Redacted.make(key)
}

const hostOf = (value: string | undefined): string | null => {
  if (value === undefined || !URL.canParse(value)) return null
  const host = new URL(value).hostname.toLowerCase()
  return host.length === 0 ? null : host
}

/** An address as a proxy may write it, with a port or in brackets; null when it is none. */
const addressOf = (text: string): string | null => {
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text
  return Result.isSuccess(NetAddress.ipFromString(bare)) ? bare : null
}

/** The address and site a request comes from. Forwarded addresses count from the right, one for each proxy that is believed. @category accessors @since 0.1.0 */
export const origin = (request: HttpServerRequest.HttpServerRequest, trustedProxies: number): Origin => {
  const socket = Option.getOrNull(request.remoteAddress)
  const forwarded = trustedProxies > 0 ? request.headers["x-forwarded-for"] : undefined
  let ip = socket
  if (forwarded !== undefined) {
    const hops = forwarded.split(",")
    ip = addressOf(hops[Math.max(0, hops.length - trustedProxies)]?.trim() ?? "")
  }
  return { ip, host: hostOf(request.headers["origin"]) ?? hostOf(request.headers["referer"]) }
}

/** What an address is counted as: v4 each by itself, v6 by the /64 that one subscriber has, v4-mapped as what it maps. @category accessors @since 0.1.0 */
export const countedAddress = (ip: string | null): string => {
  const parsed = ip === null ? null : Result.getOrElse(NetAddress.ipFromString(ip.split("%")[0] ?? ""), () => null)
  if (parsed === null) return "unknown"
  const address = NetAddress.toCanonical(parsed)
  if (NetAddress.isIpv4Address(address)) return String(address)
  return Result.match(IpNetwork.fromAddress(address, 64), { onFailure: () => String(address), onSuccess: String })
}
