/**
 * The work behind `sluice config`.
 *
 * @since 0.1.0
 */
import { Effect, FileSystem, Option, Result } from "effect"
import { Yaml } from "effect/encoding"
import * as Json from "../schemas/Json.ts"
import { idIn } from "../src/catalog/ConfiguredModels.ts"
import type { ConfigDesk, ShownSetting } from "../src/cli/ConfigCommands.ts"
import * as ConfigFile from "./ConfigFile.ts"
import * as ConfigSchema from "./ConfigSchema.ts"
import * as LiteLlmConfig from "./LiteLlmConfig.ts"
import { Noted, SettingError } from "./SettingReaders.ts"
import * as Settings from "./Settings.ts"

const isOn = (settings: Settings.Settings, slug: string): boolean => {
  const provider = settings.providers.get(slug)
  return provider?.apiKey !== undefined || provider?.isKeyless === true
}

/** What works and is rather not what was meant. */
const warningsOf = (settings: Settings.Settings): ReadonlyArray<string> => {
  const warnings: Array<string> = []
  for (const [slug, provider] of settings.providers) {
    if (provider.apiKey === undefined && provider.isKeyless !== true)
      warnings.push(`${slug} has an address and no key, so it is not asked.`)
  }
  for (const [name, models] of settings.routes) {
    const unknown = models.filter((model) => !model.startsWith("router:") && Option.isNone(idIn(settings.catalog(), model)))
    if (unknown.length > 0) warnings.push(`routes.${name} names ${unknown.join(", ")}, which the catalog does not know yet.`)
  }
  if (settings.databaseUrl !== null && settings.redisUrl === null) {
    warnings.push("DATABASE_URL is set and REDIS_URL is not: limits are counted by each process alone.")
  }
  return warnings
}

const show = Effect.gen(function* () {
  const rows: Array<ShownSetting> = []
  const seen = new Set<string>()
  yield* Effect.provideService(Settings.readForTools, Noted, (fact, value, from) => {
    if (seen.has(fact.name)) return
    seen.add(fact.name)
    const isProvider = /_(API_KEY|BASE_URL)$/.test(fact.name) && fact.fallback === null && value === null
    if (isProvider && fact.name !== "ADMIN_API_KEY") return
    const shown = fact.isSecret === true && value !== null ? "(set, not shown)" : value
    rows.push({
      name: fact.name,
      value: shown ?? (fact.fallback === null ? null : String(fact.fallback)),
      from: value === null ? "default" : (from ?? "default")
    })
  })
  return rows
})

const importFrom = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem.FileSystem
  const text = yield* Effect.mapError(files.readFileString(path), () => new SettingError({ message: `${path} cannot be read.` }))
  const parsed = Result.try(() => Yaml.parse(text))
  const value = Result.isSuccess(parsed) ? Json.parse(JSON.stringify(parsed.success ?? null)) : undefined
  if (!Json.isObject(value) || !("model_list" in value || "general_settings" in value || "litellm_settings" in value)) {
    return yield* new SettingError({ message: `${path} is no configuration of a LiteLLM proxy: it has no model_list.` })
  }
  return LiteLlmConfig.convert(value)
})

/** @category constructors @since 0.1.0 */
export const desk: ConfigDesk<SettingError, FileSystem.FileSystem> = {
  check: Effect.gen(function* () {
    const file = yield* ConfigFile.load
    const settings = yield* Effect.flatMap(Settings.under(file), Settings.requireInService)
    return {
      file: file.path,
      mode: settings.databaseUrl === null ? "embedded" : "service",
      providers: [...settings.providers.keys()].filter((slug) => isOn(settings, slug)),
      warnings: warningsOf(settings)
    }
  }),
  show,
  schema: ConfigSchema.make,
  importFrom
}
