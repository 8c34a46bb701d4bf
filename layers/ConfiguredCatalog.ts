/**
 * The models, routes and weights of a configuration file.
 *
 * @since 0.1.0
 */
import { Effect, Option, Result } from "effect"
import type { ProviderDefinition } from "../schemas/Provider.ts"
import { type CatalogData, shipped } from "../src/catalog/CatalogData.ts"
import * as ConfiguredModels from "../src/catalog/ConfiguredModels.ts"
import type { Balancing } from "../src/routing/Balancing.ts"
import type { ConfigFile } from "./ConfigFile.ts"
import { SettingError } from "./SettingReaders.ts"

const failIn = (file: ConfigFile, message: string) => Effect.fail(new SettingError({ message: `${file.path ?? "settings"}: ${message}` }))

/** What of the settings these are. @category models @since 0.1.0 */
export interface ConfiguredCatalog {
  readonly catalog: () => CatalogData
  readonly routes: ReadonlyMap<string, ReadonlyArray<string>>
  readonly weights: Balancing["weights"]
}

/** The catalog, routes and weights of a file. @category constructors @since 0.1.0 */
export const read = Effect.fnUntraced(function* (
  file: ConfigFile,
  definitions: ReadonlyArray<ProviderDefinition>
): Effect.fn.Return<ConfiguredCatalog, SettingError> {
  const { aliases = {}, models = [], routes = {}, weights = {} } = file.sections
  if ([aliases, models, routes, weights].every((section) => Object.keys(section).length === 0))
    return { catalog: shipped, routes: new Map(), weights: {} }
  const slugOf = (name: string) => definitions.find((row) => row.slug === name || row.aliases.includes(name))?.slug
  const made = ConfiguredModels.configure(shipped(), { models, aliases }, (slug) => slugOf(slug) !== undefined)
  if (Result.isFailure(made)) return yield* failIn(file, made.failure)
  const byModel: Record<string, Record<string, number>> = {}
  for (const [model, shares] of Object.entries(weights)) {
    const id = Option.getOrNull(ConfiguredModels.idIn(made.success, model))
    if (id === null) return yield* failIn(file, `weights.${model} is no model of the catalog`)
    for (const [provider, weight] of Object.entries(shares)) {
      const slug = slugOf(provider)
      if (slug === undefined) return yield* failIn(file, `weights.${model}.${provider} is no provider`)
      byModel[id] = { ...byModel[id], [slug]: weight }
    }
  }
  const named = new Map(Object.entries(routes).map(([name, models]) => [name.toLowerCase(), models]))
  return { catalog: () => made.success, routes: named, weights: byModel }
})
