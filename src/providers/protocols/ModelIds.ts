/**
 * A provider's own id for a canonical one that no catalog row maps, by the provider's rule. Most rules give none: a guessed
 * name is a 404 at best.
 *
 * @since 0.1.0
 */
import type { ProviderDefinition } from "../../../schemas/Provider.ts"
import type { RegisteredProvider } from "../ProviderRegistry.ts"

/** Organisations whose models a house serves under their bare names, where they are not called as the house is. */
const organisations: Readonly<Record<string, ReadonlyArray<string>>> = {
  "google-vertex": ["google"],
  "google-ai-studio": ["google"],
  "alibaba-cloud": ["qwen", "alibaba"],
  xai: ["x-ai", "xai"],
  zai: ["z-ai", "zai"]
}

/** Ids that are a provider's own already. */
const ownForms: Readonly<Record<string, RegExp>> = {
  fireworks: /^accounts\/[^/]+\/models\/./,
  "cloudflare-workers-ai": /^@cf\/./,
  fal: /^fal-ai\/./
}

const afterOrg = (id: string): string => id.slice(id.indexOf("/") + 1)

const bareName = ({ aggregator, slug }: ProviderDefinition, id: string): string | null => {
  const org = id.slice(0, Math.max(0, id.indexOf("/")))
  if (!aggregator && org !== "" && !(organisations[slug] ?? [slug]).includes(org)) return null
  // Qwen's numbered generations are written together there.
  return slug === "alibaba-cloud" ? afterOrg(id).replace(/^qwen-(\d)/, "qwen$1") : afterOrg(id)
}

const withoutPrefix = ({ aggregator, slug }: ProviderDefinition, id: string): string | null => {
  if (slug === "morpheus") return afterOrg(id.startsWith("morpheus/") ? afterOrg(id) : id)
  if (id.startsWith(`${slug}/`) && id !== "openrouter/auto") return afterOrg(id)
  return aggregator ? id : null
}

/** @category resolution @since 0.1.0 */
export const transformModelId = ({ definition }: Pick<RegisteredProvider, "definition">, canonicalId: string): string | null => {
  switch (definition.idRule) {
    case "passthrough":
      return canonicalId
    case "strip-org":
      return bareName(definition, canonicalId.replace(/^@google\/models\//, "google/"))
    case "prefix-strip":
      return withoutPrefix(definition, canonicalId)
    case "prefix-map":
      return ownForms[definition.slug]?.test(canonicalId) === true ? canonicalId : null
    case "suffix":
      return canonicalId.includes("@") ? afterOrg(canonicalId) : `${afterOrg(canonicalId)}@latest`
    default:
      return null
  }
}
