/**
 * The providers the gateway knows, and which of them are switched on.
 *
 * @since 0.1.0
 */
import { Context, Layer, Redacted } from "effect"
import * as Json from "../../schemas/Json.ts"
import type { ProviderDefinition } from "../../schemas/Provider.ts"
import { definitions } from "./RegistryData.ts"

/** A provider with what this deployment knows of it. @category models @since 0.1.0 */
export interface RegisteredProvider {
  readonly definition: ProviderDefinition
  /** Has a key, or needs none. */
  readonly active: boolean
  /** No trailing slash. */
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted | null
  /** Values of the definition's `variables`. */
  readonly variables: Readonly<Record<string, string>>
  /** Headers of this deployment that go along with every call. */
  readonly headers: Readonly<Record<string, string>>
}

/** What the settings say of one provider; absent parts are the registry's. @category models @since 0.1.0 */
export interface ProviderSettings {
  readonly apiKey?: Redacted.Redacted
  readonly baseUrl?: string
  readonly variables?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  /** Takes no key: switched on without one. */
  readonly isKeyless?: boolean
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
>()("sluice/providers/ProviderRegistry") {
  /** Providers under these settings, by slug: the registry's unless others are given. */
  static readonly layer = (
    settings: ReadonlyMap<string, ProviderSettings>,
    rows: ReadonlyArray<ProviderDefinition> = definitions
  ): Layer.Layer<ProviderRegistry> =>
    Layer.sync(this, () => {
      const all = rows.map((definition) => register(definition, settings.get(definition.slug) ?? {}))
      const named = new Map(
        all.flatMap((provider) => [provider.definition.slug, ...provider.definition.aliases].map((name) => [name, provider] as const))
      )
      return ProviderRegistry.of({ all, get: (slug) => named.get(slug), chain: defaultChain(rows) })
    })
}

/** Protocols that an adapter speaks; a provider of another one cannot be switched on. */
const spoken: ReadonlyArray<ProviderDefinition["protocol"]> = ["openai", "anthropic", "gemini", "sandbox"]

const fill = (template: string, values: Readonly<Record<string, string>>): string =>
  template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole)

/** A key that is a service account says more than a secret, such as the project it belongs to. */
const ofAccount = (apiKey: Redacted.Redacted | undefined, field: string): string | null => {
  const account = apiKey === undefined ? undefined : Json.parse(Redacted.value(apiKey))
  return Json.isObject(account) ? Json.string(account[field]) : null
}

const register = (definition: ProviderDefinition, settings: ProviderSettings): RegisteredProvider => {
  const variables: Record<string, string> = {}
  for (const [name, variable] of Object.entries(definition.variables ?? {})) {
    const value = settings.variables?.[name] ?? ofAccount(settings.apiKey, `${name}_id`) ?? variable.fallback
    if (value !== null) variables[name] = value
  }
  const baseUrl = settings.baseUrl ?? fill(definition.baseUrl, variables)
  const reachable = !baseUrl.includes("{")
  const hasKey = settings.apiKey !== undefined || settings.isKeyless === true || definition.protocol === "sandbox"
  return {
    definition,
    active: hasKey && reachable && spoken.includes(definition.protocol),
    baseUrl,
    apiKey: settings.apiKey ?? null,
    variables,
    headers: settings.headers ?? {}
  }
}

/** The address of one of a provider's paths, `{model}` filled with the native id. @category accessors @since 0.1.0 */
export const urlOf = (provider: RegisteredProvider, path: string, nativeId = ""): string => {
  const filled = path.includes("{") ? fill(path.replaceAll("{model}", nativeId), provider.variables) : path
  return filled.startsWith("/") ? provider.baseUrl + filled : filled
}

/** Slugs of the default failover chain, most reliable first. @category accessors @since 0.1.0 */
export const defaultChain = (from: ReadonlyArray<ProviderDefinition>): ReadonlyArray<string> =>
  from
    .filter((definition) => definition.failoverPosition !== null)
    .sort((a, b) => (a.failoverPosition ?? 0) - (b.failoverPosition ?? 0))
    .map((definition) => definition.slug)
