/**
 * Settings given by code, for programs that embed the gateway.
 *
 * @since 0.1.0
 */
import { ConfigProvider, Effect, Redacted } from "effect"
import type { Sections } from "../schemas/ConfigFile.ts"
import type { ProviderSettings } from "../src/providers/ProviderRegistry.ts"
import * as ConfigFile from "./ConfigFile.ts"
import { SettingError } from "./SettingReaders.ts"
import { requireInService, type Settings, under } from "./Settings.ts"

/** A secret as code may give it. @category models @since 0.1.0 */
export type GivenSecret = Redacted.Redacted | string

/** What code says of one provider; the rest is the registry's. @category models @since 0.1.0 */
export interface GivenProvider extends Omit<ProviderSettings, "apiKey"> {
  readonly apiKey?: GivenSecret
}

type SecretName = "databaseUrl" | "redisUrl" | "adminApiKey" | "keyHashSecret" | "metricsToken" | "stripeWebhookSecret"

/** Settings given by code instead of the environment; what is absent has its default. @category models @since 0.1.0 */
export interface GivenSettings
  extends Partial<Omit<Settings, SecretName | "keyEncryptionKeys" | "providers" | "definitions" | "catalog" | "routes" | "weights">>,
    Partial<Record<SecretName, GivenSecret | null>> {
  /** Newest first. */
  readonly keyEncryptionKeys?: ReadonlyArray<GivenSecret> | null
  /** New providers, models, routes: what a configuration file says in its sections. */
  readonly sections?: Sections
  /** By slug. */
  readonly providers?: Readonly<Record<string, GivenProvider>>
}

const redact = (secret: GivenSecret): Redacted.Redacted => (typeof secret === "string" ? Redacted.make(secret) : secret)

const conceal = (secret: GivenSecret | null | undefined): Redacted.Redacted | null =>
  secret === null || secret === undefined ? null : redact(secret)

/**
 * The settings of a program that embeds the gateway. Nothing is read from the environment, and no file.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (given: GivenSettings): Effect.fn.Return<Settings, SettingError> {
  const {
    adminApiKey,
    databaseUrl,
    keyEncryptionKeys,
    keyHashSecret,
    metricsToken,
    providers = {},
    redisUrl,
    sections = {},
    stripeWebhookSecret,
    ...rest
  } = given
  const defaults = yield* Effect.provideService(
    under({ ...ConfigFile.none, sections }),
    ConfigProvider.ConfigProvider,
    ConfigProvider.fromUnknown({})
  )
  const { definitions } = defaults
  const found = new Map(defaults.providers)
  for (const [name, { apiKey, ...provider }] of Object.entries(providers)) {
    const definition = definitions.find(({ aliases, slug }) => slug === name || aliases.includes(name))
    if (definition === undefined) {
      return yield* new SettingError({
        message: `providers.${name} is none of ${definitions.map(({ slug }) => slug).join(", ")}. A new one is described in \`sections\`.`
      })
    }
    const known = found.get(definition.slug)
    found.set(definition.slug, { ...known, ...provider, ...(apiKey === undefined ? {} : { apiKey: redact(apiKey) }) })
  }
  return yield* requireInService({
    ...defaults,
    ...rest,
    adminApiKey: conceal(adminApiKey),
    databaseUrl: conceal(databaseUrl),
    redisUrl: conceal(redisUrl),
    keyEncryptionKeys: keyEncryptionKeys?.map(redact) ?? null,
    keyHashSecret: conceal(keyHashSecret),
    metricsToken: conceal(metricsToken),
    stripeWebhookSecret: conceal(stripeWebhookSecret),
    providers: found
  })
})
