/**
 * The providers of a configuration file: what it says of known ones, and the ones that it adds.
 *
 * @since 0.1.0
 */
import { Result } from "effect"
import type { ProviderSection } from "../schemas/ConfigFile.ts"
import type { ProviderDefinition } from "../schemas/Provider.ts"
import { definitions as registry } from "../src/providers/RegistryData.ts"
import { nearest } from "./Nearest.ts"
import type { FileValue } from "./SettingReaders.ts"

/** @category models @since 0.1.0 */
export interface ConfiguredProviders {
  /** The registry's, then those that were added. */
  readonly definitions: ReadonlyArray<ProviderDefinition>
  /** Slugs of those added that take no key. */
  readonly keyless: ReadonlyArray<string>
  /** Keys and addresses, by the names of the environment. */
  readonly values: ReadonlyMap<string, FileValue>
  readonly headers: ReadonlyMap<string, Readonly<Record<string, string>>>
}

/** A provider's variable in the environment: `OPENAI_BASE_URL`. @category accessors @since 0.1.0 */
export const variableOf = (slug: string, what: string): string => `${slug.toUpperCase().replaceAll("-", "_")}_${what}`

/** Whose row a new provider of a protocol is made like. */
const models = { openai: "openai", anthropic: "anthropic", gemini: "google-ai-studio" } as const

/** Paths of OpenAI's form that whoever speaks the protocol mostly has as well. */
const openAiPaths = { embeddings: "/embeddings", images: "/images/generations", transcriptions: "/audio/transcriptions" }

const known = ["api_key", "base_url", "headers", "variables"]

const add = (slug: string, section: ProviderSection): Result.Result<ProviderDefinition, string> => {
  const { base_url, protocol } = section
  const like = registry.find((row) => protocol !== undefined && row.slug === models[protocol])
  if (like === undefined || protocol === undefined || base_url === undefined) {
    const near = nearest(
      slug,
      registry.map((row) => row.slug)
    )
    return Result.fail(
      `providers.${slug} is none that is known${near === null ? "" : ` (${near} is)`}; a new one needs \`protocol\` and \`base_url\``
    )
  }
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(slug))
    return Result.fail(`providers.${slug}: a new provider's name takes lower-case letters, digits and dashes`)
  const given = {
    ...(section.embeddings_path === undefined ? {} : { embeddings: section.embeddings_path }),
    ...(section.images_path === undefined ? {} : { images: section.images_path }),
    ...(section.transcriptions_path === undefined ? {} : { transcriptions: section.transcriptions_path }),
    ...(section.responses_path === undefined ? {} : { responses: section.responses_path })
  }
  const paths = { ...(protocol === "openai" ? openAiPaths : like.paths), ...given }
  return Result.succeed({
    slug,
    name: section.name ?? slug,
    aliases: [],
    protocol,
    baseUrl: base_url.replace(/\/+$/, ""),
    chatPath: section.chat_path ?? like.chatPath,
    paths,
    modelsPath: section.models_path ?? null,
    keyNames: [variableOf(slug, "API_KEY")],
    auth: { ...like.auth, ...section.auth },
    idRule: "map",
    aggregator: false,
    failoverPosition: null,
    capabilities: {
      chat: true,
      images: paths.images !== undefined,
      audio: paths.transcriptions !== undefined,
      embeddings: paths.embeddings !== undefined
    }
  })
}

/** Fails with where and why a section cannot be used. @category constructors @since 0.1.0 */
export const configure = (
  path: string,
  sections: Readonly<Record<string, ProviderSection>>
): Result.Result<ConfiguredProviders, string> => {
  const added: Array<ProviderDefinition> = []
  const keyless: Array<string> = []
  const values = new Map<string, FileValue>()
  const headers = new Map<string, Readonly<Record<string, string>>>()
  for (const [name, section] of Object.entries(sections)) {
    const at = `${path}: providers.${name}`
    const put = (variable: string | undefined, key: string, value: string | undefined) => {
      if (variable !== undefined && value !== undefined) values.set(variable, { value, path: `${at}.${key}` })
    }
    let definition = registry.find(({ aliases, slug }) => slug === name || aliases.includes(name))
    if (definition === undefined) {
      const made = add(name, section)
      if (Result.isFailure(made)) return Result.fail(`${path}: ${made.failure}`)
      definition = made.success
      added.push(definition)
      if (section.api_key === undefined) keyless.push(name)
    } else {
      const strange = Object.keys(section).find((key) => !known.includes(key))
      if (strange !== undefined)
        return Result.fail(`${at}.${strange} is for new providers; ${name} is known, and takes ${known.join(", ")}`)
      put(variableOf(definition.slug, "BASE_URL"), "base_url", section.base_url)
    }
    put(definition.keyNames[0], "api_key", section.api_key)
    for (const [variable, value] of Object.entries(section.variables ?? {})) {
      const row = definition.variables?.[variable]
      if (row === undefined)
        return Result.fail(`${at}.variables.${variable} is none of ${Object.keys(definition.variables ?? {}).join(", ") || "any"}`)
      put(row.names[0], `variables.${variable}`, value)
    }
    if (section.headers !== undefined) headers.set(definition.slug, section.headers)
  }
  return Result.succeed({ definitions: [...registry, ...added], keyless, values, headers })
}
