/**
 * In which order the providers of a model are tried. Pure.
 *
 * @since 0.1.0
 */
import type { ProviderPreference } from "../../schemas/Inference.ts"
import type { Model } from "../../schemas/Model.ts"

const openRouterOnly = /:(free|exacto|extended)$/

/**
 * Providers that may serve a model at all: a closed OpenAI or Anthropic model only its own and openrouter; an openrouter
 * model or variant only openrouter; anything else whoever lists it.
 *
 * @category routing
 * @since 0.1.0
 */
export const allowedProviders = (model: Pick<Model, "id" | "openWeights" | "providers" | "alsoServedBy">): ReadonlyArray<string> => {
  const serving = model.providers.map((provider) => provider.slug)
  const told = model.alsoServedBy ?? []
  const only = (...slugs: ReadonlyArray<string>) => [...new Set([...slugs, ...told])].filter((slug) => serving.includes(slug))
  if (model.id.startsWith("openrouter/") || openRouterOnly.test(model.id)) return only("openrouter")
  if (model.openWeights) return serving
  if (model.id.startsWith("openai/")) return only("openai", "openrouter")
  if (model.id.startsWith("anthropic/")) return only("anthropic", "openrouter")
  return serving
}

/** What the order depends on. @category models @since 0.1.0 */
export interface OrderOptions {
  /** The default failover chain, most reliable first. */
  readonly chain: ReadonlyArray<string>
  /** A provider that the form of the name points to; first unless the caller says otherwise. */
  readonly detected: string | null
  /** Where models of this organisation go when nothing else says so. */
  readonly org: ReadonlyArray<string>
  readonly preference: ProviderPreference | null
}

/**
 * The order: what the caller asked for, then what the name points to, then the model's own house, then the chain, then
 * the organisation's rule, then whoever else serves it in the model's own order.
 *
 * @category routing
 * @since 0.1.0
 */
export const order = (
  model: Pick<Model, "id" | "openWeights" | "providers" | "alsoServedBy">,
  options: OrderOptions
): ReadonlyArray<string> => {
  const { chain, detected, org, preference } = options
  const allowed = allowedProviders(model)
  const house = model.id.startsWith("openai/") ? "openai" : model.id.startsWith("anthropic/") ? "anthropic" : null
  const usual = [...(detected === null ? [] : [detected]), ...(house === null ? [] : [house]), ...chain, ...org, ...allowed]
  const wanted = preference?.order ?? []
  const fallbacks = preference?.allowFallbacks === false && wanted.length > 0 ? [] : usual
  const only = preference?.only ?? []
  const ordered = new Set([...wanted, ...fallbacks].filter((slug) => allowed.includes(slug) && (only.length === 0 || only.includes(slug))))
  return [...ordered]
}
