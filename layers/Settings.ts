/**
 * The settings of a deployment, read once from the environment.
 *
 * @since 0.1.0
 */
import { availableParallelism } from "node:os"
import { ConfigProvider, Effect, Option, Redacted, Result } from "effect"
import { IpNetwork } from "effect/net"
import * as Money from "../schemas/Money.ts"
import type { ProviderDefinition } from "../schemas/Provider.ts"
import type { AllowedNetworks } from "../src/events/WebhookTarget.ts"
import type { TrustedIssuer } from "../src/identity/IdentityTokens.ts"
import type { ProviderSettings } from "../src/providers/ProviderRegistry.ts"
import { oneOf, raw, refuse, SettingError, secret, text, url, whole } from "./SettingReaders.ts"
import { readTelemetry, type TelemetrySettings } from "./TelemetrySettings.ts"

/** A cache behind HTTP: `GET` and `PUT` of what stands under a key, which is put after the URL. @category models @since 0.1.0 */
export interface ExternalCacheSettings {
  readonly url: string
  readonly apiKey: Redacted.Redacted | null
}

/** An endpoint like OpenAI's `/v1/moderations`. @category models @since 0.1.0 */
export interface ModerationSettings {
  readonly url: string
  readonly apiKey: Redacted.Redacted | null
  readonly model: string | null
  readonly timeoutMs: number
}

/** The middle part of keys. @category models @since 0.1.0 */
export type Environment = "live" | "staging" | "test" | "dev"

/** Times are milliseconds. Null: not set. @category models @since 0.1.0 */
export interface Settings {
  readonly port: number
  readonly host: string
  readonly databaseUrl: Redacted.Redacted | null
  readonly dataDir: string
  readonly redisUrl: Redacted.Redacted | null
  /** How long a request waits for Redis before limits are counted by the process alone. */
  readonly redisTimeoutMs: number
  readonly environment: Environment
  readonly adminApiKey: Redacted.Redacted | null
  /** Newest first. */
  readonly keyEncryptionKeys: ReadonlyArray<Redacted.Redacted> | null
  readonly keyHashSecret: Redacted.Redacted | null
  readonly providers: ReadonlyMap<string, ProviderSettings>
  readonly firstByteTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly breakerFailures: number
  readonly breakerRecoveryMs: number
  /** A bound that the ledger stays below: it writes as soon as no other write is under way. */
  readonly ledgerFlushMs: number
  /** Between two reads of a provider's list of models; 0: none but those asked for. */
  readonly catalogSyncMs: number
  /** Whether models are probed by themselves: that is paid to their providers. */
  readonly healthProbes: boolean
  /** The most that probes of one UTC day may cost, in picodollars. */
  readonly healthProbeDailyBudget: bigint
  /** Whether requests that say nothing of it are answered from the response cache. */
  readonly responseCache: boolean
  /** Whether the response cache also answers words that mean the same. */
  readonly semanticCache: boolean
  /** A cache of answers that somebody else runs, for who asks for it; null: none. */
  readonly externalCache: ExternalCacheSettings | null
  readonly trustProxy: number
  /** Requests a minute that an address may send without a valid key; null: no limit. */
  readonly ipLimitPerMinute: number | null
  /** Limits of an address for inference without a key; null: not served. */
  readonly anonymousInference: { readonly perMinute: number; readonly perDay: number } | null
  /** The classifier that keys may ask for; null: none. */
  readonly moderation: ModerationSettings | null
  readonly maxBodyBytes: number
  readonly maxJsonDepth: number
  /** Processes that serve together on one port. */
  readonly workers: number
  /** How long connections are still taken after a stop was asked for. */
  readonly shutdownDelayMs: number
  readonly shutdownGraceMs: number
  /** About how long a stream may be silent before a sign of life is written. */
  readonly keepAliveMs: number
  readonly metricsToken: Redacted.Redacted | null
  /** Issuers whose identity tokens are taken. */
  readonly oidcIssuers: ReadonlyArray<TrustedIssuer>
  /** Null: the Stripe route records nothing. */
  readonly stripeWebhookSecret: Redacted.Redacted | null
  /** Networks of the operator's own that webhooks may go to. */
  readonly webhookAllowedNetworks: AllowedNetworks
  readonly requestLogRetentionDays: number
  readonly telemetry: TelemetrySettings
  readonly logLevel: "Trace" | "Debug" | "Info" | "Warn" | "Error" | "None"
  /** Null: pretty on a terminal, JSON elsewhere. */
  readonly logFormat: "pretty" | "json" | null
}

const MOST_WORKERS = 128

/** An amount in USD. */
const amount = Effect.fnUntraced(function* (name: string, fallback: string) {
  const value = yield* text(name, fallback)
  const usd = Option.getOrNull(Money.fromUsd(value.trim()))
  return usd !== null && usd >= 0n ? usd : yield* refuse(name, value, "an amount in USD such as 2.50")
})

/** `off`, or how many proxies stand in front. */
const trustProxy = Effect.flatMap(raw("TRUST_PROXY", { kind: "whole", fallback: 0, least: 0, most: 16, orOff: true }), (value) =>
  value === null || /^(off|false)$/i.test(value.trim()) ? Effect.succeed(0) : whole("TRUST_PROXY", 0, 0, 16, true)
)

/** A limit: a number, or 0 or `off` for none. */
const limit = Effect.fnUntraced(function* (name: string, fallback: number) {
  const bounds = { least: 1, most: 1_000_000_000 }
  const value = yield* raw(name, { kind: "whole", fallback, ...bounds, orOff: true })
  if (value !== null && /^(off|none|false|0)$/i.test(value.trim())) return null
  return yield* whole(name, fallback, bounds.least, bounds.most, true)
})

/** Below what any plan has. */
const anonymousInference = Effect.gen(function* () {
  const isOn = (yield* oneOf("ANONYMOUS_INFERENCE", "off", ["on", "off"])) === "on"
  const limits = {
    perMinute: yield* whole("ANONYMOUS_PER_MINUTE", 3, 1, 59),
    perDay: yield* whole("ANONYMOUS_PER_DAY", 20, 1, 9_999)
  }
  return isOn ? limits : null
})

const moderation = Effect.gen(function* () {
  const endpoint = yield* url("MODERATION_URL", ["http:", "https:"])
  if (endpoint === null) return null
  const apiKey = yield* secret("MODERATION_API_KEY")
  return {
    url: endpoint,
    apiKey,
    model: yield* raw("MODERATION_MODEL"),
    timeoutMs: yield* whole("MODERATION_TIMEOUT_MS", 5_000, 1, 60_000)
  }
})

const externalCache = Effect.gen(function* () {
  const endpoint = yield* url("EXTERNAL_CACHE_URL", ["http:", "https:"])
  return endpoint === null ? null : { url: endpoint, apiKey: yield* secret("EXTERNAL_CACHE_API_KEY") }
})

/** A number, or `auto` for one on each core; the embedded database lives in one process. */
const workers = Effect.fnUntraced(function* (isService: boolean) {
  const value = (yield* raw("WORKERS", { kind: "whole", fallback: 1, least: 1, most: MOST_WORKERS, orAuto: true })) ?? "1"
  if (/^\s*auto\s*$/i.test(value)) return isService ? Math.min(availableParallelism(), MOST_WORKERS) : 1
  const count = /^\d+$/.test(value.trim()) ? Number(value) : 0
  return count >= 1 && count <= MOST_WORKERS ? count : yield* refuse("WORKERS", value, `a whole number from 1 to ${MOST_WORKERS}, or auto`)
})

const fernetKeys = Effect.flatMap(raw("KEY_ENCRYPTION_KEY", { kind: "list", fallback: null, isSecret: true }), (value) => {
  if (value === null) return Effect.succeed(null)
  const keys = value.split(",").map((key) => key.trim())
  return keys.every((key) => /^[A-Za-z0-9_-]{43}=?$/.test(key))
    ? Effect.succeed(keys.map((key) => Redacted.make(key)))
    : refuse("KEY_ENCRYPTION_KEY", "(redacted)", "32 bytes in base64url (44 characters); several separated by commas, newest first")
})

const networks = Effect.fnUntraced(function* (name: string) {
  const value = yield* raw(name, { kind: "list", fallback: null })
  const found: Array<IpNetwork.IpNetwork> = []
  for (const part of (value ?? "").split(",").map((text) => text.trim())) {
    if (part === "") continue
    const network = IpNetwork.fromString(part.includes("/") ? part : `${part}/${part.includes(":") ? 128 : 32}`)
    if (Result.isFailure(network)) return yield* refuse(name, part, "networks such as 10.0.0.0/8 or fd00::/8, separated by commas")
    found.push(network.success)
  }
  return found
})

const hashSecret = Effect.flatMap(raw("KEY_HASH_SECRET", { kind: "text", fallback: null, isSecret: true }), (value) => {
  if (value === null) return Effect.succeed(null)
  return value.trim().length >= 32
    ? Effect.succeed(Redacted.make(value.trim()))
    : refuse("KEY_HASH_SECRET", "(redacted)", "at least 32 characters")
})

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

/** `issuer=audience`, several separated by commas; an issuer that stands there more than once takes each audience. */
const oidcIssuers = Effect.gen(function* () {
  const value = yield* raw("OIDC_ISSUERS", { kind: "pairs", fallback: null })
  const found = new Map<string, Array<string>>()
  for (const pair of (value ?? "").split(",").map((part) => part.trim())) {
    if (pair === "") continue
    const at = pair.indexOf("=")
    const [issuer, audience] = [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
    const { hostname, protocol } = at > 0 && URL.canParse(issuer) ? new URL(issuer) : { hostname: "", protocol: "" }
    const isLocal = protocol === "http:" && ["127.0.0.1", "localhost", "[::1]"].includes(hostname)
    if (audience === "" || (protocol !== "https:" && !isLocal)) {
      return yield* refuse("OIDC_ISSUERS", pair, "pairs such as https://accounts.google.com=client-id, separated by commas")
    }
    found.set(issuer, [...(found.get(issuer) ?? []), audience])
  }
  const issuers: ReadonlyArray<TrustedIssuer> = [...found].map(([issuer, audiences]) => ({ issuer, audiences }))
  return issuers
})

const providerSettings = Effect.fnUntraced(function* (definitions: ReadonlyArray<ProviderDefinition>) {
  const settings = new Map<string, ProviderSettings>()
  for (const definition of definitions) {
    const variable = `${definition.slug.toUpperCase().replaceAll("-", "_")}_BASE_URL`
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

const refuseWorkers = (count: number) =>
  Effect.fail(
    new SettingError({
      message: `WORKERS is ${count}, but embedded mode is one process, in which its database runs. Set DATABASE_URL to serve with several.`
    })
  )

/** In service mode nothing may be made up: several processes have to agree. @category validation @since 0.1.0 */
export const requireInService = Effect.fnUntraced(function* (settings: Settings) {
  if (settings.databaseUrl === null) return settings.workers === 1 ? settings : yield* refuseWorkers(settings.workers)
  const missing = [
    ["ADMIN_API_KEY", settings.adminApiKey],
    ["KEY_ENCRYPTION_KEY", settings.keyEncryptionKeys],
    ["KEY_HASH_SECRET", settings.keyHashSecret]
  ].flatMap(([name, value]) => (value === null ? [name] : []))
  if (missing.length === 0) return settings
  return yield* new SettingError({
    message: `With DATABASE_URL set, ${missing.join(" and ")} must be set too; only embedded mode makes its own.`
  })
})

/**
 * Reads every setting, for commands that serve nothing: what only a server needs may be missing. Fails with one message at
 * the first that cannot be used.
 *
 * @category constructors
 * @since 0.1.0
 */
export const readForTools = Effect.fnUntraced(function* (
  definitions: ReadonlyArray<ProviderDefinition>
): Effect.fn.Return<Settings, SettingError> {
  const databaseUrl = yield* url("DATABASE_URL", ["postgres:", "postgresql:"], true)
  const redisUrl = yield* url("REDIS_URL", ["redis:", "rediss:"], true)
  return {
    port: yield* whole("PORT", 8_080, 0, 65_535),
    host: yield* text("HOST", "127.0.0.1"),
    databaseUrl: databaseUrl === null ? null : Redacted.make(databaseUrl),
    dataDir: yield* text("DATA_DIR", "./data"),
    redisUrl: redisUrl === null ? null : Redacted.make(redisUrl),
    redisTimeoutMs: yield* whole("REDIS_TIMEOUT_MS", 40, 1, 60_000),
    environment: yield* oneOf("ENVIRONMENT", "dev", ["live", "staging", "test", "dev"]),
    adminApiKey: yield* secret("ADMIN_API_KEY"),
    keyEncryptionKeys: yield* fernetKeys,
    keyHashSecret: yield* hashSecret,
    providers: yield* providerSettings(definitions),
    firstByteTimeoutMs: yield* whole("PROVIDER_FIRST_BYTE_TIMEOUT_MS", 30_000, 1, 3_600_000),
    idleTimeoutMs: yield* whole("PROVIDER_IDLE_TIMEOUT_MS", 60_000, 1, 3_600_000),
    breakerFailures: yield* whole("BREAKER_FAILURES", 5, 1, 1_000),
    breakerRecoveryMs: yield* whole("BREAKER_RECOVERY_MS", 300_000, 1, 86_400_000),
    ledgerFlushMs: yield* whole("LEDGER_FLUSH_MS", 5, 0, 1_000),
    catalogSyncMs: yield* whole("CATALOG_SYNC_INTERVAL_MS", 21_600_000, 0, 604_800_000),
    healthProbes: (yield* oneOf("HEALTH_PROBES", "off", ["on", "off"])) === "on",
    healthProbeDailyBudget: yield* amount("HEALTH_PROBE_DAILY_USD", "1"),
    responseCache: (yield* oneOf("RESPONSE_CACHE", "off", ["on", "off"])) === "on",
    semanticCache: (yield* oneOf("SEMANTIC_CACHE", "off", ["on", "off"])) === "on",
    externalCache: yield* externalCache,
    trustProxy: yield* trustProxy,
    ipLimitPerMinute: yield* limit("IP_LIMIT_PER_MINUTE", 300),
    anonymousInference: yield* anonymousInference,
    moderation: yield* moderation,
    maxBodyBytes: yield* whole("MAX_BODY_BYTES", 33_554_432, 1_024, 1_073_741_824),
    maxJsonDepth: yield* whole("MAX_JSON_DEPTH", 256, 1, 10_000),
    keepAliveMs: yield* whole("SSE_KEEPALIVE_MS", 10_000, 10, 3_600_000),
    workers: yield* workers(databaseUrl !== null),
    shutdownDelayMs: yield* whole("SHUTDOWN_DELAY_MS", 0, 0, 600_000),
    shutdownGraceMs: yield* whole("SHUTDOWN_GRACE_MS", 30_000, 0, 3_600_000),
    metricsToken: yield* secret("METRICS_TOKEN"),
    oidcIssuers: yield* oidcIssuers,
    stripeWebhookSecret: yield* secret("STRIPE_WEBHOOK_SECRET"),
    webhookAllowedNetworks: yield* networks("WEBHOOK_ALLOWED_NETWORKS"),
    requestLogRetentionDays: yield* whole("REQUEST_LOG_RETENTION_DAYS", 30, 1, 3_650),
    telemetry: yield* readTelemetry,
    logLevel: yield* oneOf("LOG_LEVEL", "Info", ["Trace", "Debug", "Info", "Warn", "Error", "None"]),
    logFormat: yield* oneOf<"pretty" | "json" | "">("LOG_FORMAT", "", ["pretty", "json"]).pipe(
      Effect.map((format) => (format === "" ? null : format))
    )
  }
})

/** The same, for a server. @category constructors @since 0.1.0 */
export const read = (definitions: ReadonlyArray<ProviderDefinition>): Effect.Effect<Settings, SettingError> =>
  Effect.flatMap(readForTools(definitions), requireInService)

/** A secret as code may give it. @category models @since 0.1.0 */
export type GivenSecret = Redacted.Redacted | string

/** What code says of one provider; the rest is the registry's. @category models @since 0.1.0 */
export interface GivenProvider extends Omit<ProviderSettings, "apiKey"> {
  readonly apiKey?: GivenSecret
}

type SecretName = "databaseUrl" | "redisUrl" | "adminApiKey" | "keyHashSecret" | "metricsToken" | "stripeWebhookSecret"

/** Settings given by code instead of the environment; what is absent has its default. @category models @since 0.1.0 */
export interface GivenSettings
  extends Partial<Omit<Settings, SecretName | "keyEncryptionKeys" | "providers">>,
    Partial<Record<SecretName, GivenSecret | null>> {
  /** Newest first. */
  readonly keyEncryptionKeys?: ReadonlyArray<GivenSecret> | null
  /** By slug. */
  readonly providers?: Readonly<Record<string, GivenProvider>>
}

const redact = (secret: GivenSecret): Redacted.Redacted => (typeof secret === "string" ? Redacted.make(secret) : secret)

const conceal = (secret: GivenSecret | null | undefined): Redacted.Redacted | null =>
  secret === null || secret === undefined ? null : redact(secret)

/**
 * The settings of a program that embeds the gateway. Nothing is read from the environment.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  definitions: ReadonlyArray<ProviderDefinition>,
  given: GivenSettings
): Effect.fn.Return<Settings, SettingError> {
  const {
    adminApiKey,
    databaseUrl,
    keyEncryptionKeys,
    keyHashSecret,
    metricsToken,
    providers = {},
    redisUrl,
    stripeWebhookSecret,
    ...rest
  } = given
  const defaults = yield* Effect.provideService(readForTools(definitions), ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))
  const found = new Map<string, ProviderSettings>()
  for (const [name, { apiKey, ...provider }] of Object.entries(providers)) {
    const definition = definitions.find(({ aliases, slug }) => slug === name || aliases.includes(name))
    if (definition === undefined)
      return yield* refuse("providers", name, `providers of the registry: ${definitions.map(({ slug }) => slug).join(", ")}`)
    found.set(definition.slug, { ...provider, ...(apiKey === undefined ? {} : { apiKey: redact(apiKey) }) })
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
