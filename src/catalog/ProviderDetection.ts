/**
 * Which provider the form of a model's name points to, and which model is meant. Pure.
 *
 * @since 0.1.0
 */

/** The provider that a name's form belongs to, in the order of the rules; null when it says nothing. @category resolution @since 0.1.0 */
export const detectProvider = (name: string): string | null => {
  if (/^[^/]+\/.+:(free|exacto|extended)$/.test(name)) return "openrouter"
  if (name.startsWith("accounts/fireworks/models/")) return "fireworks"
  if (name.startsWith("@cf/")) return "cloudflare-workers-ai"
  if (/^projects\/.+\/models\//.test(name)) return "google-vertex"
  if (/^@google\/models\/gemini-/.test(name) || /^gemini-[123]/.test(name)) return "google-vertex"
  if (/^google\/.*gemini/.test(name)) return "google-vertex"
  if (/^@[^/]+\//.test(name)) return "openrouter"
  return null
}

/**
 * Where models of an organisation go when nothing else says so; the first that serves the model counts.
 *
 * @category resolution
 * @since 0.1.0
 */
export const orgProviders: Readonly<Record<string, ReadonlyArray<string>>> = {
  qwen: ["alibaba-cloud", "cerebras"],
  alibaba: ["alibaba-cloud"],
  deepseek: ["fireworks"],
  "deepseek-ai": ["fireworks"],
  "z-ai": ["zai"],
  zai: ["zai"],
  "x-ai": ["xai"],
  xai: ["xai"],
  minimax: ["minimax", "fal"],
  stabilityai: ["fal"],
  fal: ["fal"],
  mistralai: ["mistral", "openrouter"]
}
