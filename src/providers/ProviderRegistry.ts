/**
 * The providers the gateway knows, and which of them are switched on.
 *
 * @since 0.1.0
 */
import { Context, type Redacted } from "effect"
import type { ProviderDefinition } from "../../schemas/Provider.ts"

/** A provider with what this deployment knows of it. @category models @since 0.1.0 */
export interface RegisteredProvider {
  readonly definition: ProviderDefinition
  /** Has a key, or needs none. */
  readonly active: boolean
  /** No trailing slash. */
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted | null
}

/** What the settings say of one provider; absent parts are the registry's. @category models @since 0.1.0 */
export interface ProviderSettings {
  readonly apiKey?: Redacted.Redacted
  readonly baseUrl?: string
}

/** @category services @since 0.1.0 */
export class ProviderRegistry extends Context.Service<
  ProviderRegistry,
  {
    readonly all: ReadonlyArray<RegisteredProvider>
    /** By slug or by one of the provider's other names. */
    readonly get: (slug: string) => RegisteredProvider | undefined
    /** The default failover chain: fourteen slugs, most reliable first. */
    readonly chain: ReadonlyArray<string>
  }
>()("sluice/providers/ProviderRegistry") {}
