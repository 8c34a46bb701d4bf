/**
 * Short-lived tokens for providers whose key is not sent itself, such as a service account.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import type { ProviderError } from "../../schemas/Provider.ts"
import type { RegisteredProvider } from "./ProviderRegistry.ts"

/** @category services @since 0.1.0 */
export class ProviderTokens extends Context.Service<
  ProviderTokens,
  {
    /** A token that is good for some minutes at least; null when the provider's key is sent as it is. */
    readonly bearer: (provider: RegisteredProvider) => Effect.Effect<string | null, ProviderError>
  }
>()("sluice/providers/ProviderTokens") {
  /** Every key is sent as it is. */
  static readonly layerMemory: Layer.Layer<ProviderTokens> = Layer.succeed(this, { bearer: () => Effect.succeed(null) })
}
