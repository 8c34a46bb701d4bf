/**
 * A LiteLLM proxy's configuration as one of ours. What cannot be taken over is told, not guessed.
 *
 * @since 0.1.0
 */
import { Option } from "effect"
import * as Json from "../schemas/Json.ts"
import { shipped } from "../src/catalog/CatalogData.ts"
import { idIn } from "../src/catalog/ConfiguredModels.ts"
import type { ImportedConfig } from "../src/cli/ConfigCommands.ts"
import { definitions } from "../src/providers/RegistryData.ts"
import { yamlText } from "./YamlText.ts"

/** LiteLLM's names of providers that are called otherwise here. */
const slugs: Readonly<Record<string, string>> = {
  gemini: "google-ai-studio",
  vertex_ai: "google-vertex",
  together_ai: "together",
  fireworks_ai: "fireworks",
  text_completion_openai: "openai",
  moonshot: "moonshot",
  xai: "xai"
}

/** Whoever is reached at an address of the operator's own, by OpenAI's protocol. */
const selfHosted = ["hosted_vllm", "vllm", "openai_like", "custom_openai", "lm_studio", "llamafile", "litellm_proxy", "xinference"]

const knownParams = ["model", "api_key", "api_base", "base_url", "input_cost_per_token", "output_cost_per_token", "weight", "rpm", "tpm"]

const objects = (value: Json.Json | undefined): ReadonlyArray<Json.JsonObject> => (Json.isArray(value) ? value.filter(Json.isObject) : [])
const objectOf = (value: Json.Json | undefined): Json.JsonObject => (Json.isObject(value) ? value : {})

/** `os.environ/NAME` as a reference. */
const referred = (text: string): string => (text.startsWith("os.environ/") ? `\${${text.slice("os.environ/".length)}}` : text)

interface Deployment {
  readonly name: string
  readonly provider: string
  readonly nativeId: string
  readonly params: Json.JsonObject
  readonly info: Json.JsonObject
}

interface Work {
  readonly notes: Array<string>
  readonly providers: Record<string, Record<string, Json.Json>>
  readonly deployments: Array<Deployment>
}

const hostSlug = (base: string): string => {
  const host = URL.canParse(base) ? new URL(base).host : base
  return `at-${host.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`.replace(/-+$/, "").slice(0, 60)
}

/** The provider of a deployment, put among the providers; null where there is none to put it at. */
const placeProvider = (work: Work, name: string, prefix: string, params: Json.JsonObject): string | null => {
  const base = Json.string(params["api_base"]) ?? Json.string(params["base_url"])
  const key = Json.string(params["api_key"])
  const known = definitions.find((row) => row.slug === (slugs[prefix] ?? prefix) || row.aliases.includes(prefix))
  const isOwn = base !== null && (selfHosted.includes(prefix) || prefix === "openai" || prefix === "ollama" || known === undefined)
  const isUsual = base !== null && known !== undefined && referred(base).replace(/\/+$/, "") === known.baseUrl
  if (known === undefined && !isOwn) {
    work.notes.push(`model ${name}: there is no provider ${prefix}; with an address (api_base) it could be added under providers`)
    return null
  }
  const slug = known !== undefined && (!isOwn || isUsual) ? known.slug : hostSlug(base ?? prefix)
  const section = work.providers[slug] ?? {}
  work.providers[slug] = section
  if (slug.startsWith("at-") && base !== null) {
    section["protocol"] = "openai"
    section["base_url"] = prefix === "ollama" && !base.endsWith("/v1") ? `${referred(base).replace(/\/+$/, "")}/v1` : referred(base)
  } else if (base !== null && !isUsual) section["base_url"] = referred(base)
  if (key !== null) {
    const value = referred(key)
    if (section["api_key"] !== undefined && section["api_key"] !== value) {
      work.notes.push(`model ${name}: a second key of ${slug}; a provider has one`)
    } else section["api_key"] = value
  }
  return slug
}

const readDeployment = (work: Work, row: Json.JsonObject): void => {
  const params = objectOf(row["litellm_params"])
  const name = Json.string(row["model_name"])
  const model = Json.string(params["model"])
  if (name === null || model === null) return void work.notes.push("an entry of model_list without model_name or litellm_params.model")
  if (name.includes("*"))
    return void work.notes.push(`model ${name}: patterns of names; every model of a provider with a key is served anyway`)
  const slash = model.indexOf("/")
  const prefix = slash > 0 ? model.slice(0, slash) : "openai"
  const provider = placeProvider(work, name, prefix, params)
  if (provider === null) return
  const left = Object.keys(params).filter((param) => !knownParams.includes(param))
  if (left.length > 0) work.notes.push(`model ${name}: ${left.join(", ")}`)
  if (params["rpm"] !== undefined || params["tpm"] !== undefined)
    work.notes.push(`model ${name}: rpm and tpm; limits belong to users and keys here`)
  work.deployments.push({ name, provider, nativeId: slash > 0 ? model.slice(slash + 1) : model, params, info: objectOf(row["model_info"]) })
}

const perMillion = (value: Json.Json | undefined): number | null =>
  typeof value === "number" ? Number((value * 1_000_000).toPrecision(12)) : null

const priceOf = ({ info, params }: Deployment): Json.JsonObject | null => {
  const input = perMillion(params["input_cost_per_token"] ?? info["input_cost_per_token"])
  const output = perMillion(params["output_cost_per_token"] ?? info["output_cost_per_token"])
  return input === null || output === null ? null : { input, output }
}

const nameOf = (text: string): string => text.toLowerCase().replace(/[^a-z0-9._:@-]+/g, "-")

/** The models, aliases and weights of deployments that share a name. */
const writeModels = (work: Work): Record<string, Json.Json> => {
  const data = shipped()
  const models: Array<Record<string, Json.Json>> = []
  const aliases: Record<string, Json.Json> = {}
  const weights: Record<string, Record<string, Json.Json>> = {}
  for (const name of new Set(work.deployments.map((deployment) => deployment.name))) {
    const group = work.deployments.filter((deployment) => deployment.name === name)
    const [first] = group
    if (first === undefined) continue
    const entry = data.models.find(({ model }) =>
      model.providers.some((row) => row.slug === first.provider && row.nativeId === first.nativeId)
    )
    const known = entry?.model.id ?? (first.provider.startsWith("at-") ? null : Option.getOrNull(idIn(data, first.nativeId)))
    const id = known ?? `custom/${nameOf(name.slice(name.lastIndexOf("/") + 1))}`
    const served = data.models.find(({ model }) => model.id === id)?.model.providers ?? []
    const added = group.filter(({ provider }) => !served.some((row) => row.slug === provider))
    const priced = group.filter((deployment) => priceOf(deployment) !== null)
    const rows = group
      .filter((deployment) => added.includes(deployment) || priced.includes(deployment))
      .map((deployment) => {
        const price = priceOf(deployment)
        return { provider: deployment.provider, native_id: deployment.nativeId, ...(price === null ? {} : { price_per_million: price }) }
      })
    if (rows.length > 0) {
      const price = rows.some((row) => "price_per_million" in row) || known !== null
      const context = first.info["max_input_tokens"] ?? first.info["max_tokens"]
      models.push({
        id,
        ...(typeof context === "number" && known === null ? { context_length: context } : {}),
        ...(price ? {} : { free: true }),
        providers: rows
      })
      if (!price) work.notes.push(`model ${name}: no price was given; it is free until \`price_per_million\` is said`)
    }
    if (name !== id && Option.getOrNull(idIn(data, name)) !== id) aliases[name] = id
    const shares = group.filter(({ params }) => typeof params["weight"] === "number")
    for (const { params, provider } of shares) weights[id] = { ...weights[id], [provider]: Number(params["weight"]) }
  }
  return {
    ...(models.length === 0 ? {} : { models }),
    ...(Object.keys(aliases).length === 0 ? {} : { aliases }),
    ...(Object.keys(weights).length === 0 ? {} : { weights })
  }
}

/** `fallbacks: [{a: [b, c]}]` as routes of the same names. */
const readFallbacks = (config: Json.JsonObject, aliases: Json.JsonObject): Record<string, Json.Json> => {
  const routes: Record<string, Json.Json> = {}
  for (const part of ["router_settings", "litellm_settings"]) {
    for (const row of objects(objectOf(config[part])["fallbacks"])) {
      for (const [name, others] of Object.entries(row)) {
        const targets = (Json.isArray(others) ? others : []).filter((other) => typeof other === "string")
        routes[name] = [name, ...targets].map((each) => aliases[each] ?? each)
      }
    }
  }
  return routes
}

const settingsOf = (work: Work, general: Json.JsonObject): Record<string, Json.Json> => {
  const found: Record<string, Json.Json> = {}
  const master = Json.string(general["master_key"])
  if (master !== null) found["admin_api_key"] = referred(master)
  if (general["database_url"] !== undefined) {
    work.notes.push("general_settings.database_url: users and keys live in a database of its own; set DATABASE_URL to an empty one")
  }
  const left = Object.keys(general).filter((key) => key !== "master_key" && key !== "database_url")
  if (left.length > 0) work.notes.push(`general_settings: ${left.join(", ")}`)
  return found
}

/** @category conversions @since 0.1.0 */
export const convert = (config: Json.JsonObject): ImportedConfig => {
  const work: Work = { notes: [], providers: {}, deployments: [] }
  const settings = settingsOf(work, objectOf(config["general_settings"]))
  for (const row of objects(config["model_list"])) readDeployment(work, row)
  const models = writeModels(work)
  const routes = readFallbacks(config, objectOf(models["aliases"]))
  const providers = Object.fromEntries(Object.entries(work.providers).filter(([, section]) => Object.keys(section).length > 0))
  for (const part of ["router_settings", "litellm_settings"]) {
    const left = Object.keys(objectOf(config[part])).filter((key) => key !== "fallbacks")
    if (left.length > 0) work.notes.push(`${part}: ${left.join(", ")}`)
  }
  for (const key of Object.keys(config)) {
    if (!["model_list", "general_settings", "router_settings", "litellm_settings"].includes(key)) work.notes.push(key)
  }
  const whole = {
    ...settings,
    ...(Object.keys(providers).length === 0 ? {} : { providers }),
    ...models,
    ...(Object.keys(routes).length === 0 ? {} : { routes })
  }
  return { yaml: `# Taken over from a LiteLLM configuration.\n${yamlText(whole)}`, notes: work.notes }
}
