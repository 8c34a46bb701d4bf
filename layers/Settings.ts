/**
 * The settings of a deployment, read once: from the environment, else from the configuration file.
 *
 * @since 0.1.0
 */
import { availableParallelism } from "node:os"
import { ConfigProvider, Effect, Option, Redacted, Result } from "effect"
import { IpNetwork } from "effect/net"
import { Sections } from "../schemas/ConfigFile.ts"
import * as Money from "../schemas/Money.ts"
import type { ProviderDefinition } from "../schemas/Provider.ts"
import { type CatalogData, shipped } from "../src/catalog/CatalogData.ts"
import { idIn } from "../src/catalog/ConfiguredModels.ts"
import type { AllowedNetworks } from "../src/events/WebhookTarget.ts"
import type { TrustedIssuer } from "../src/identity/IdentityTokens.ts"
import type { ProviderSettings } from "../src/providers/ProviderRegistry.ts"
import { operationOf } from "../src/routing/Operations.ts"
import * as ConfigFile from "./ConfigFile.ts"
import * as ConfiguredCatalog from "./ConfiguredCatalog.ts"
import * as ConfiguredProviders from "./ConfiguredProviders.ts"
import { nearest } from "./Nearest.ts"
import { readProviders } from "./ProviderReaders.ts"
import { FileValues, Noted, oneOf, raw, refuse, SettingError, type SettingFact, secret, text, url, whole } from "./SettingReaders.ts"
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
export interface Settings extends ConfiguredCatalog.ConfiguredCatalog {
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
  /** The registry's providers, and those of the configuration file. */
  readonly definitions: ReadonlyArray<ProviderDefinition>
  readonly firstByteTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly breakerFailures: number
  readonly breakerRecoveryMs: number
  /** A bound that the ledger stays below: it writes as soon as no other write is under way. */
  readonly ledgerFlushMs: number
  /** Between two reads of a provider's list of models; 0: none but those asked for. */
  readonly catalogSyncMs: number
  /** Where the Hugging Face Hub is, without a trailing slash. */
  readonly hubUrl: string
  /** Between two reads of what it tells of a model; 0: none but those asked for. */
  readonly hubSyncMs: number
  /** Whether models are probed by themselves: that is paid to their providers. */
  readonly healthProbes: boolean
  /** Between two looks at the credit that is left at providers; 0: none. */
  readonly providerBalanceMs: number
  /** The most that probes of one UTC day may cost, in picodollars. */
  readonly healthProbeDailyBudget: bigint
  /** Whether requests that say nothing of it are answered from the response cache. */
  readonly responseCache: boolean
  /** Whether the response cache also answers words that mean the same. */
  readonly semanticCache: boolean
  /** The embedding model that tells what means the same; null: the words themselves do. */
  readonly semanticCacheModel: string | null
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

/** Every setting, each by its own name; the configuration file's values are what `FileValues` has. */
const readEach = Effect.fnUntraced(function* (definitions: ReadonlyArray<ProviderDefinition>): Effect.fn.Return<Settings, SettingError> {
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
    providers: yield* readProviders(definitions),
    definitions,
    catalog: shipped,
    routes: new Map<string, ReadonlyArray<string>>(),
    weights: {},
    firstByteTimeoutMs: yield* whole("PROVIDER_FIRST_BYTE_TIMEOUT_MS", 30_000, 1, 3_600_000),
    idleTimeoutMs: yield* whole("PROVIDER_IDLE_TIMEOUT_MS", 60_000, 1, 3_600_000),
    breakerFailures: yield* whole("BREAKER_FAILURES", 5, 1, 1_000),
    breakerRecoveryMs: yield* whole("BREAKER_RECOVERY_MS", 300_000, 1, 86_400_000),
    ledgerFlushMs: yield* whole("LEDGER_FLUSH_MS", 5, 0, 1_000),
    catalogSyncMs: yield* whole("CATALOG_SYNC_INTERVAL_MS", 21_600_000, 0, 604_800_000),
    hubUrl: ((yield* url("HUGGING_FACE_URL", ["http:", "https:"])) ?? "https://huggingface.co").replace(/\/+$/, ""),
    hubSyncMs: yield* whole("HUGGING_FACE_SYNC_INTERVAL_MS", 86_400_000, 0, 2_592_000_000),
    healthProbes: (yield* oneOf("HEALTH_PROBES", "off", ["on", "off"])) === "on",
    providerBalanceMs: yield* whole("PROVIDER_BALANCE_INTERVAL_MS", 900_000, 0, 86_400_000),
    healthProbeDailyBudget: yield* amount("HEALTH_PROBE_DAILY_USD", "1"),
    responseCache: (yield* oneOf("RESPONSE_CACHE", "off", ["on", "off"])) === "on",
    semanticCache: (yield* oneOf("SEMANTIC_CACHE", "off", ["on", "off"])) === "on",
    semanticCacheModel: yield* raw("SEMANTIC_CACHE_MODEL"),
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

/** Enough said that nothing is left unread. */
const everything = {
  MODERATION_URL: "http://localhost",
  EXTERNAL_CACHE_URL: "http://localhost",
  OTEL_EXPORTER_OTLP_ENDPOINT: "http://localhost"
}

/** What every setting takes, in the order in which they are read; keys and addresses of providers are not among them. @category descriptions @since 0.1.0 */
export const facts: Effect.Effect<ReadonlyArray<SettingFact>> = Effect.gen(function* () {
  const found = new Map<string, SettingFact>()
  yield* readEach([]).pipe(
    Effect.provideService(Noted, (fact) => {
      if (!found.has(fact.name)) found.set(fact.name, fact)
    }),
    Effect.provideService(FileValues, new Map()),
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(everything)),
    Effect.orDie
  )
  return [...found.values()]
})

/** Names of a file that no setting has. */
const checkNames = Effect.fnUntraced(function* (file: ConfigFile.ConfigFile) {
  if (file.values.size === 0) return
  const names = (yield* facts).map(({ name }) => name)
  for (const [name, { path }] of file.values) {
    if (names.includes(name)) continue
    const near = nearest(name.toLowerCase(), [...names.map((each) => each.toLowerCase()), ...Object.keys(Sections.fields)])
    return yield* new SettingError({
      message: `${path} is no setting${near === null ? "" : `; \`${near}\` is`}. \`sluice config schema\` describes them all.`
    })
  }
})

/** The id of the model that vectors are asked of. */
const checkEmbedder = Effect.fnUntraced(function* (name: string | null, catalog: () => CatalogData) {
  if (name === null) return null
  const data = catalog()
  const id = Option.getOrNull(idIn(data, name.trim()))
  const model = data.models.find((entry) => entry.model.id === id)?.model
  if (model !== undefined && operationOf(model) === "embeddings") return model.id
  return yield* refuse("SEMANTIC_CACHE_MODEL", name, "an embedding model of the catalog, such as openai/text-embedding-3-small")
})

/** The settings under a file. @category constructors @since 0.1.0 */
export const under = Effect.fnUntraced(function* (file: ConfigFile.ConfigFile): Effect.fn.Return<Settings, SettingError> {
  yield* checkNames(file)
  const made = ConfiguredProviders.configure(file.path ?? "settings", file.sections.providers ?? {})
  if (Result.isFailure(made)) return yield* new SettingError({ message: made.failure })
  const { definitions, headers, keyless, values } = made.success
  const filed = new Map([...file.values, ...values])
  const settings = yield* Effect.provideService(readEach(definitions), FileValues, filed)
  const providers = new Map(settings.providers)
  for (const slug of keyless) providers.set(slug, { ...providers.get(slug), isKeyless: true })
  for (const [slug, given] of headers) {
    const known = providers.get(slug)
    if (known !== undefined) providers.set(slug, { ...known, headers: { ...given, ...known.headers } })
  }
  const configured = yield* ConfiguredCatalog.read(file, definitions)
  const semanticCacheModel = yield* Effect.provideService(checkEmbedder(settings.semanticCacheModel, configured.catalog), FileValues, filed)
  return { ...settings, providers, ...configured, semanticCacheModel }
})

/**
 * Reads every setting, for commands that serve nothing: what only a server needs may be missing. Fails with one message at
 * the first that cannot be used.
 *
 * @category constructors
 * @since 0.1.0
 */
export const readForTools = Effect.flatMap(ConfigFile.load, under)

/** The same, for a server. @category constructors @since 0.1.0 */
export const read = Effect.flatMap(readForTools, requireInService)
