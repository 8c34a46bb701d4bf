/**
 * What the settings say of each provider.
 *
 * @since 0.1.0
 */
import { Effect, type Redacted } from "effect"
import type { ProviderDefinition } from "../schemas/Provider.ts"
import type { ProviderSettings } from "../src/providers/ProviderRegistry.ts"
import { variableOf } from "./ConfiguredProviders.ts"
import { raw, refuse, secret, url } from "./SettingReaders.ts"

/** What the first set variable of each list says; a name without one is left out. */
const firstOfEach = Effect.fnUntraced(function* (
  lists: ReadonlyArray<readonly [string, ReadonlyArray<string>]>,
  takes: { readonly pattern: RegExp; readonly words: string }
) {
  const found: Record<string, string> = {}
  for (const [key, names] of lists) {
    for (const name of names) {
      const value = key in found ? null : yield* raw(name)
      if (value === null) continue
      found[key] = takes.pattern.test(value.trim()) ? value.trim() : yield* refuse(name, value, takes.words)
    }
  }
  return found
})

const urlPart = { pattern: /^[A-Za-z0-9._-]+$/, words: "letters, digits, dots, dashes and underscores" }
const headerText = { pattern: /^[\x20-\x7e]+$/, words: "printable ASCII characters" }

/** Providers of which anything is said, by slug. @category readers @since 0.1.0 */
export const readProviders = Effect.fnUntraced(function* (definitions: ReadonlyArray<ProviderDefinition>) {
  const settings = new Map<string, ProviderSettings>()
  for (const definition of definitions) {
    const variable = variableOf(definition.slug, "BASE_URL")
    const baseUrl = yield* url(variable, ["http:", "https:"])
    let apiKey: Redacted.Redacted | null = null
    for (const name of definition.keyNames) apiKey ??= yield* secret(name)
    if (apiKey === null && baseUrl === null) continue
    settings.set(definition.slug, {
      ...(apiKey === null ? {} : { apiKey }),
      ...(baseUrl === null ? {} : { baseUrl: baseUrl.replace(/\/+$/, "") }),
      variables: yield* firstOfEach(
        Object.entries(definition.variables ?? {}).map(([name, { names }]) => [name, names] as const),
        urlPart
      ),
      headers: yield* firstOfEach(Object.entries(definition.headerNames ?? {}), headerText)
    })
  }
  return settings
})
