/**
 * Asks a provider for its list of models, with the key of the settings: that costs nothing and says whether the key is taken.
 *
 * @since 0.1.0
 */
import { Clock, Effect } from "effect"
import type { ProviderTest } from "../src/cli/CatalogCommands.ts"
import { type RegisteredProvider, urlOf } from "../src/providers/ProviderRegistry.ts"
import { headersFor } from "../src/providers/protocols/HttpProtocol.ts"
import { Transport, type TransportError } from "../src/providers/Transport.ts"

const words = (status: number): string => {
  if (status < 300) return "lists its models"
  if (status === 401 || status === 403) return `does not take the key (${status}): check it where you got it`
  if (status === 404) return "answers, but not at this address (404): check its base URL"
  return `answered ${status}`
}

const failure = (error: TransportError, url: string): string => {
  const { host } = new URL(url)
  return error.reason._tag === "ProviderTimeout" ? `${host} did not answer in time` : `${host} cannot be reached: ${error.reason.message}`
}

/** @category operations @since 0.1.0 */
export const tryOut = Effect.fnUntraced(function* (provider: RegisteredProvider): Effect.fn.Return<ProviderTest, never, Transport> {
  const { modelsPath, protocol, slug } = provider.definition
  const startedAt = yield* Clock.currentTimeMillis
  const result = (ok: boolean, detail: string) =>
    Effect.map(Clock.currentTimeMillis, (now): ProviderTest => ({ provider: slug, ok, detail, latency_ms: now - startedAt }))
  if (protocol === "sandbox") return yield* result(true, "answers in this process")
  const url = urlOf(provider, modelsPath ?? "")
  const { "content-type": _, ...headers } = headersFor(provider)
  const transport = yield* Transport
  const sent = yield* Effect.result(
    Effect.scoped(Effect.map(transport.send({ method: "GET", url, headers, body: null }), ({ status }) => status))
  )
  if (sent._tag === "Failure") return yield* result(false, failure(sent.failure, url))
  // Where nothing is listed, any answer says that somebody is there.
  if (modelsPath === null)
    return yield* result(sent.success < 500, `answers (${sent.success}); it lists no models, so the key was not tried`)
  return yield* result(sent.success < 300, words(sent.success))
})
