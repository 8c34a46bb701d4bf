/**
 * Webhooks over undici: signed by the Standard Webhooks package, connected only to addresses that were judged.
 *
 * Names are asked of the name servers by c-ares, not by the system's own lookup: that one takes one of the process's four
 * file threads for as long as a slow name server likes.
 *
 * @since 0.1.0
 */
import { lookup, Resolver } from "node:dns/promises"
import { Data, Effect, Layer, Redacted } from "effect"
import { Webhook } from "standardwebhooks"
import { Agent, buildConnector } from "undici"
import { type WebhookMessage, type WebhookReply, WebhookSender } from "../src/events/WebhookSender.ts"
import * as WebhookTarget from "../src/events/WebhookTarget.ts"

/** @category models @since 0.1.0 */
export interface UndiciWebhookSenderOptions {
  readonly allowed: WebhookTarget.AllowedNetworks
  readonly timeoutMs?: number
}

/** Why there is no answer, in words that the customer may read. */
class Unsent extends Data.TaggedError("Unsent")<{ readonly message: string }> {}

const TIMEOUT = 10_000
/** Bytes of an answer's body that are read so that its connection can be used again. */
const BODY_MAX = 16_384
const NAME_TIMEOUT = { timeout: 2_000, tries: 2 }

const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: "The connection was refused.",
  ECONNRESET: "The connection was closed.",
  UND_ERR_SOCKET: "The connection was closed.",
  EPIPE: "The connection was closed.",
  EHOSTUNREACH: "The host cannot be reached.",
  ENETUNREACH: "The host cannot be reached.",
  UND_ERR_HEADERS_OVERFLOW: "The answer's headers are too large."
}

/** The words of the first error in a chain of causes that has any. */
const wordsOf = (error: unknown): string => {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    if (cause instanceof Unsent) return cause.message
    if (!("code" in cause)) continue
    const code = String(cause.code)
    if (code in words) return words[code] ?? code
    if (code.startsWith("ERR_TLS") || code.includes("CERT") || code.startsWith("ERR_SSL"))
      return `The TLS certificate was not accepted (${code}).`
    if (/TIMEOUT|TIMEDOUT/.test(code)) return "There was no answer in time."
  }
  return "The message could not be sent."
}

/** The addresses of a host; an empty list where its name is not known. */
const makeResolve = (allowed: WebhookTarget.AllowedNetworks) => {
  const resolver = new Resolver(NAME_TIMEOUT)
  const none = (): Array<string> => []
  return async (host: string): Promise<ReadonlyArray<string>> => {
    if (WebhookTarget.isAddress(host)) return [host]
    if (host === "localhost" || host.endsWith(".localhost")) return ["127.0.0.1"]
    const [v4, v6] = await Promise.all([resolver.resolve4(host).catch(none), resolver.resolve6(host).catch(none)])
    if (v4.length + v6.length > 0 || allowed.length === 0) return [...v4, ...v6]
    // Inside of the operator's own networks a host may have its name from a file.
    return lookup(host, { all: true }).then((found) => found.map(({ address }) => address), none)
  }
}

type Resolve = ReturnType<typeof makeResolve>

/** Connects to an address that was judged just now, never to a name. */
const makeConnect =
  (resolve: Resolve, allowed: WebhookTarget.AllowedNetworks, timeout: number): buildConnector.connector =>
  (options, callback) => {
    const host = options.hostname.replace(/^\[|\]$/g, "")
    const refuse = (message: string) => callback(new Unsent({ message }), null)
    resolve(host).then(
      (addresses) => {
        const [first] = addresses
        if (first === undefined) return refuse("The host's name is not known.")
        if (!addresses.every((address) => WebhookTarget.mayConnect(options.protocol, address, allowed))) {
          return refuse("The URL leads to an address that is not of the public internet.")
        }
        const pinned = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }))
        const connect = buildConnector({
          allowH2: false,
          maxCachedSessions: 0,
          timeout,
          lookup: (_, wanted, found) => (wanted.all === true ? found(null, pinned) : found(null, first, first.includes(":") ? 6 : 4))
        })
        return connect({ ...options, hostname: host }, callback)
      },
      () => refuse("The host's name is not known.")
    )
  }

const sign = (message: WebhookMessage): Record<string, string> => ({
  "content-type": "application/json",
  "user-agent": "Sluice-Webhooks/1",
  "webhook-id": message.id,
  "webhook-timestamp": String(message.timestamp),
  "webhook-signature": message.secrets
    .map((secret) => new Webhook(Redacted.value(secret)).sign(message.id, new Date(message.timestamp * 1_000), message.body))
    .join(" ")
})

const makeSend = (agent: Agent, timeoutMs: number) => (message: WebhookMessage) => {
  const { url } = message
  const exchange = Effect.tryPromise({
    try: async (signal): Promise<WebhookReply> => {
      const { body, statusCode } = await agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: "POST",
        headers: sign(message),
        body: message.body,
        signal
      })
      body.dump({ limit: BODY_MAX, signal: AbortSignal.timeout(timeoutMs) }).catch(() => {})
      return { status: statusCode }
    },
    catch: (error): WebhookReply => ({ failure: wordsOf(error) })
  })
  return exchange.pipe(
    Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => Effect.succeed({ failure: "There was no answer in time." }) }),
    Effect.catch((reply) => Effect.succeed(reply))
  )
}

/** @category layers @since 0.1.0 */
export const layer = (options: UndiciWebhookSenderOptions): Layer.Layer<WebhookSender> =>
  Layer.effect(
    WebhookSender,
    Effect.gen(function* () {
      const { allowed, timeoutMs = TIMEOUT } = options
      const resolve = makeResolve(allowed)
      const connect = makeConnect(resolve, allowed, timeoutMs)
      const agent = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            new Agent({
              connect,
              connections: 4,
              headersTimeout: timeoutMs,
              bodyTimeout: timeoutMs,
              keepAliveTimeout: 4_000,
              maxHeaderSize: 16_384
            })
        ),
        (agent) => Effect.promise(() => agent.destroy())
      )
      const judge = (text: string) =>
        Effect.promise(async () => {
          const url = WebhookTarget.readUrl(text, allowed)
          if (url._tag === "Failure") return url.failure
          const addresses = await resolve(WebhookTarget.hostOf(url.success))
          return WebhookTarget.judge(url.success, addresses, allowed)
        })
      return WebhookSender.of({ send: makeSend(agent, timeoutMs), judge })
    })
  )
