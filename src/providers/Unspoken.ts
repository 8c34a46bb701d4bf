/**
 * Providers whose protocol nobody here speaks: known, listed, never switched on.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { ProviderError, ProviderStatus } from "../../schemas/Provider.ts"
import type { ProviderAdapter, ProviderCall } from "./ProviderAdapter.ts"

const failure = (provider: string, status: number, message: string) =>
  new ProviderError({ provider, reason: new ProviderStatus({ status, message, code: null, param: null, retryAfterMs: null }) })

const refuse = (call: ProviderCall) =>
  Effect.fail(failure(call.provider.definition.slug, 501, "This provider's protocol is not spoken here."))

/** @category constructors @since 0.1.0 */
export const make = (): ProviderAdapter => ({
  send: refuse,
  stream: refuse,
  unsupported: () => null,
  transformModelId: () => null,
  mapError: (provider, status) => failure(provider, status, `The provider refused the request with status ${status}.`)
})
