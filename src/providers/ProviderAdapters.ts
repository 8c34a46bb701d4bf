/**
 * Which adapter speaks which protocol.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import type { ProviderAdapter } from "./ProviderAdapter.ts"
import type { RegisteredProvider } from "./ProviderRegistry.ts"
import { ProviderTokens } from "./ProviderTokens.ts"
import * as AnthropicAdapter from "./protocols/AnthropicAdapter.ts"
import * as GeminiAdapter from "./protocols/GeminiAdapter.ts"
import * as OpenAiAdapter from "./protocols/OpenAiAdapter.ts"
import * as Sandbox from "./Sandbox.ts"
import { Transport } from "./Transport.ts"
import * as Unspoken from "./Unspoken.ts"

/** @category services @since 0.1.0 */
export class ProviderAdapters extends Context.Service<
  ProviderAdapters,
  {
    /** The adapter that speaks a provider's protocol. */
    readonly for: (provider: RegisteredProvider) => ProviderAdapter
  }
>()("sluice/providers/ProviderAdapters") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const transport = yield* Transport
      const openAi = OpenAiAdapter.make(transport)
      const anthropic = AnthropicAdapter.make(transport)
      const adapters = {
        openai: openAi,
        other: Unspoken.make(),
        gemini: GeminiAdapter.make(transport, yield* ProviderTokens),
        anthropic,
        sandbox: Sandbox.make()
      }
      return ProviderAdapters.of({ for: (provider) => adapters[provider.definition.protocol] })
    })
  )
}
