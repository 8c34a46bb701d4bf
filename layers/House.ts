/**
 * The whole gateway, open where deployments differ: the database and the counters.
 *
 * @since 0.1.0
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { Digest } from "effect/crypto"
import { Purchases } from "../src/billing/Purchases.ts"
import { StripeInbox } from "../src/billing/StripeInbox.ts"
import { AnswerCache } from "../src/caches/AnswerCache.ts"
import { Embedder } from "../src/caches/Embedder.ts"
import { ExternalCache } from "../src/caches/ExternalCache.ts"
import { ResponseCache } from "../src/caches/ResponseCache.ts"
import { SemanticCache } from "../src/caches/SemanticCache.ts"
import { Catalog } from "../src/catalog/Catalog.ts"
import { CatalogListing } from "../src/catalog/CatalogListing.ts"
import { CatalogSync } from "../src/catalog/CatalogSync.ts"
import { HubBook } from "../src/catalog/HubBook.ts"
import { HubSync } from "../src/catalog/HubSync.ts"
import { ModelEmbeddings } from "../src/catalog/ModelEmbeddings.ts"
import { ProviderLists } from "../src/catalog/ProviderLists.ts"
import { ModelRoutes, Resolution } from "../src/catalog/Resolution.ts"
import * as Migrations from "../src/database/Migrations.ts"
import { CreditAlerts } from "../src/events/CreditAlerts.ts"
import { EventBus } from "../src/events/EventBus.ts"
import { encryptedSecrets } from "../src/events/EventsSchema.ts"
import * as LimitAlerts from "../src/events/LimitAlerts.ts"
import { SlaWatch } from "../src/events/SlaWatch.ts"
import { WebhookDispatcher } from "../src/events/WebhookDispatcher.ts"
import { Webhooks } from "../src/events/Webhooks.ts"
import { Gateway } from "../src/Gateway.ts"
import { Moderation } from "../src/guardrails/Moderation.ts"
import { HealthBoard } from "../src/health/HealthBoard.ts"
import { HealthBook } from "../src/health/HealthBook.ts"
import { HealthReporter } from "../src/health/HealthReporter.ts"
import { Lifecycle } from "../src/health/Lifecycle.ts"
import { PassiveHealth } from "../src/health/PassiveHealth.ts"
import { ProbeBook } from "../src/health/ProbeBook.ts"
import { Probes } from "../src/health/Probes.ts"
import { ProviderBalances } from "../src/health/ProviderBalances.ts"
import * as RoutingHealth from "../src/health/RoutingHealth.ts"
import * as SignalWatch from "../src/health/SignalWatch.ts"
import { UptimeReports } from "../src/health/UptimeReports.ts"
import { AnonymousInference } from "../src/http/Access.ts"
import { VERSION } from "../src/http/ApiDescription.ts"
import { App } from "../src/http/App.ts"
import { HealthReport } from "../src/http/HealthReport.ts"
import { IpGate } from "../src/http/IpGate.ts"
import { OperationsOptions } from "../src/http/OperationsRoutes.ts"
import { BodyBounds } from "../src/http/RequestBody.ts"
import { TrustedProxies } from "../src/http/RequestContext.ts"
import { StatusPage } from "../src/http/StatusPage.ts"
import { Accounts } from "../src/identity/Accounts.ts"
import { AuditLog } from "../src/identity/AuditLog.ts"
import { AuthCache } from "../src/identity/AuthCache.ts"
import * as Fernet from "../src/identity/Fernet.ts"
import { Identity } from "../src/identity/Identity.ts"
import { encryptedKeys } from "../src/identity/IdentitySchema.ts"
import { KeyCaps } from "../src/identity/KeyCaps.ts"
import { KeyRotation } from "../src/identity/KeyRotation.ts"
import { Keys } from "../src/identity/Keys.ts"
import { Partners } from "../src/identity/Partners.ts"
import { Passwords } from "../src/identity/Passwords.ts"
import { Renewals } from "../src/identity/Renewals.ts"
import * as SecretsCheck from "../src/identity/SecretsCheck.ts"
import { Sessions } from "../src/identity/Sessions.ts"
import { SignIn } from "../src/identity/SignIn.ts"
import { Trials } from "../src/identity/Trials.ts"
import type { CommitterOptions } from "../src/ledger/CommitterOptions.ts"
import { Idempotency } from "../src/ledger/Idempotency.ts"
import { Ledger } from "../src/ledger/Ledger.ts"
import { AttemptLimits } from "../src/limits/AttemptLimits.ts"
import { IpLimits } from "../src/limits/IpLimits.ts"
import { KeyLimits } from "../src/limits/KeyLimits.ts"
import { VelocityMode } from "../src/limits/VelocityMode.ts"
import { Breakers } from "../src/providers/Breakers.ts"
import { Failover } from "../src/providers/Failover.ts"
import { ProviderAdapters } from "../src/providers/ProviderAdapters.ts"
import { ProviderRegistry } from "../src/providers/ProviderRegistry.ts"
import { StructuredAnswers } from "../src/providers/StructuredAnswers.ts"
import { Balancer } from "../src/routing/Balancer.ts"
import { RoutingOptions } from "../src/routing/Balancing.ts"
import { ModelTraffic } from "../src/usage/ModelTraffic.ts"
import { Outcomes } from "../src/usage/Outcomes.ts"
import { RequestLog } from "../src/usage/RequestLog.ts"
import { RunningRequests } from "../src/usage/RunningRequests.ts"
import { UsageReports } from "../src/usage/UsageReports.ts"
import * as ExternalCacheEndpoint from "./ExternalCacheEndpoint.ts"
import * as GoogleTokens from "./GoogleTokens.ts"
import * as JoseIdentityTokens from "./JoseIdentityTokens.ts"
import * as MailChecker from "./MailChecker.ts"
import * as ModerationEndpoint from "./ModerationEndpoint.ts"
import * as NodeBody from "./NodeBody.ts"
import * as NodeCrypto from "./NodeCrypto.ts"
import * as PasswordKdf from "./PasswordKdf.ts"
import * as SchemaValidator from "./SchemaValidator.ts"
import type { Secrets } from "./Secrets.ts"
import type { Settings } from "./Settings.ts"
import * as StripeSignatures from "./StripeSignatures.ts"
import * as UndiciTransport from "./UndiciTransport.ts"
import * as UndiciWebhookSender from "./UndiciWebhookSender.ts"

/** How often other replicas' changes of keys are looked for, in milliseconds. */
const CHANGES_POLL = 400

/** Milliseconds from the start until providers' lists of models are first read. */
const FIRST_SYNC = 5_000

/** Milliseconds until the Hugging Face Hub is first read: after the lists, which may name more models. */
const FIRST_HUB_SYNC = 30_000

/** Milliseconds between two looks for models that are due to be probed. */
const PROBE_EVERY = 30_000

/** Events, and the webhooks that they go to. */
const events = (settings: Settings, secrets: Secrets) => {
  const webhooks = Layer.unwrap(
    Effect.map(Fernet.make(secrets.keyEncryptionKeys), (fernet) =>
      Webhooks.layer({ fernet }).pipe(Layer.provideMerge(WebhookDispatcher.layer({ fernet })))
    )
  )
  return Layer.mergeAll(webhooks, CreditAlerts.layer, LimitAlerts.layer, SlaWatch.layer).pipe(
    Layer.provideMerge(EventBus.layer),
    Layer.provide(UndiciWebhookSender.layer({ allowed: settings.webhookAllowedNetworks }))
  )
}

/** Users and their keys, and what was done with them. */
const accounts = (settings: Settings, secrets: Secrets) => {
  const keys = Layer.unwrap(
    Effect.map(Fernet.make(secrets.keyEncryptionKeys), (fernet) =>
      Layer.mergeAll(
        Keys.layer({ environment: settings.environment, fernet }),
        KeyRotation.layer({ fernet, columns: [...encryptedKeys, ...encryptedSecrets] }),
        Layer.effectDiscard(SecretsCheck.warn(fernet))
      )
    )
  )
  return Accounts.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(keys, Partners.layer, Renewals.layer, Trials.layer, AuditLog.layer)),
    Layer.provideMerge(AuthCache.layer),
    Layer.provideMerge(NodeCrypto.layer(secrets.keyHashSecret))
  )
}

/** Who calls, and how people come in. */
const people = (settings: Settings, secrets: Secrets) => {
  const signIn = SignIn.layer.pipe(
    Layer.provideMerge(Sessions.layer),
    Layer.provide([Passwords.layer, MailChecker.layer, JoseIdentityTokens.layer(settings.oidcIssuers)]),
    Layer.provide(PasswordKdf.layer)
  )
  // An embedded database has no other process that could change a key.
  const pollMs = settings.databaseUrl === null ? null : CHANGES_POLL
  return Layer.mergeAll(Identity.layer({ adminKey: secrets.adminApiKey, pollMs }), signIn, KeyCaps.layer).pipe(
    Layer.provideMerge(accounts(settings, secrets))
  )
}

/** What manages users and keys without serving anybody; needs a database and a `Broadcast`. @category layers @since 0.1.0 */
export const administration = (settings: Settings, secrets: Secrets, ledgerOptions: CommitterOptions) =>
  accounts(settings, secrets).pipe(
    Layer.provideMerge(Ledger.layer(ledgerOptions)),
    Layer.provide(NodeCrypto.random),
    Layer.provide(Migrations.layer)
  )

/** What a deployment says of how models and providers are chosen. */
const choices = (settings: Settings) =>
  Layer.mergeAll(
    Layer.succeed(ModelRoutes, settings.routes),
    Layer.effect(
      RoutingOptions,
      Effect.map(RoutingOptions, (usual) => ({ ...usual, weights: settings.weights }))
    )
  )

/** Every service of the gateway; needs a database (`SqlClient`), a `CounterStore`, a `BreakerStore` and a `Broadcast`. @category layers @since 0.1.0 */
export const services = (settings: Settings, secrets: Secrets, ledgerOptions: CommitterOptions) => {
  const registry = ProviderRegistry.layer(settings.providers, settings.definitions)
  const catalog = Catalog.layerFrom(settings.catalog).pipe(Layer.provideMerge(registry))
  const breakers = Breakers.layerShared({ failures: settings.breakerFailures, recoveryMs: settings.breakerRecoveryMs })
  const transport = UndiciTransport.layer({ firstByteTimeoutMs: settings.firstByteTimeoutMs, idleTimeoutMs: settings.idleTimeoutMs })
  const adapters = ProviderAdapters.layer.pipe(Layer.provide(GoogleTokens.layer), Layer.provide(transport))
  const failover = StructuredAnswers.layer.pipe(
    Layer.provideMerge(Failover.layer),
    Layer.provide(SchemaValidator.layer),
    Layer.provideMerge(breakers),
    Layer.provide(adapters),
    Layer.provideMerge(catalog)
  )
  const ledger = Ledger.layer(ledgerOptions)
  const identity = people(settings, secrets)
  const billing = StripeInbox.layer.pipe(
    Layer.provide(Purchases.layer),
    Layer.provide(StripeSignatures.layer(settings.stripeWebhookSecret))
  )
  const limits = Layer.mergeAll(KeyLimits.layer, AttemptLimits.layer, IpLimits.layer({ perMinute: settings.ipLimitPerMinute })).pipe(
    Layer.provideMerge(VelocityMode.layer)
  )
  const moderation = settings.moderation === null ? Moderation.layerNone : ModerationEndpoint.layer(settings.moderation)
  const outcomes = Layer.mergeAll(RunningRequests.layer, UsageReports.layer, ModelTraffic.layer).pipe(
    Layer.provideMerge(Outcomes.layer),
    Layer.provideMerge(RequestLog.layer({ retentionDays: settings.requestLogRetentionDays }))
  )
  const embedder =
    settings.semanticCache && settings.semanticCacheModel !== null
      ? Layer.unwrap(Effect.map(ModelEmbeddings, ({ embed }) => Embedder.layerOf(embed))).pipe(
          Layer.provide(ModelEmbeddings.layer(settings.semanticCacheModel).pipe(Layer.provide(adapters)))
        )
      : Embedder.layerHashed
  const answers = AnswerCache.layer({ byDefault: settings.responseCache, semantic: settings.semanticCache }).pipe(
    Layer.provide(
      settings.externalCache === null
        ? ExternalCache.layerNone
        : ExternalCache.layer(ExternalCacheEndpoint.make(settings.externalCache, secrets.keyHashSecret))
    ),
    Layer.provide([ResponseCache.layer, SemanticCache.layer.pipe(Layer.provide(embedder))])
  )
  const sync = CatalogSync.layer({ everyMs: settings.catalogSyncMs, firstAfterMs: FIRST_SYNC, shipped: settings.catalog }).pipe(
    Layer.provide([ProviderLists.layer, transport])
  )
  const hub = HubSync.layer({ url: settings.hubUrl, everyMs: settings.hubSyncMs, firstAfterMs: FIRST_HUB_SYNC }).pipe(
    Layer.provide([HubBook.layer, transport])
  )
  const probes = Probes.layer({ everyMs: settings.healthProbes ? PROBE_EVERY : null, dailyBudget: settings.healthProbeDailyBudget })
  const balances = ProviderBalances.layer({ everyMs: settings.providerBalanceMs, firstAfterMs: FIRST_SYNC }).pipe(Layer.provide(transport))
  const health = Layer.mergeAll(balances, PassiveHealth.layer(), SignalWatch.layer, HealthReporter.layer()).pipe(
    Layer.provideMerge(probes.pipe(Layer.provide([ProbeBook.layer, adapters, transport]))),
    Layer.provideMerge(Layer.mergeAll(HealthBoard.layer, HealthBook.layer, UptimeReports.layer))
  )
  return Gateway.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(Resolution.layer, Balancer.layer, answers).pipe(Layer.provide(choices(settings)))),
    Layer.provideMerge(Layer.mergeAll(CatalogListing.layer, sync).pipe(Layer.provideMerge(hub))),
    Layer.provideMerge(RoutingHealth.layer.pipe(Layer.provideMerge(health))),
    Layer.provideMerge(events(settings, secrets)),
    Layer.provideMerge(Layer.mergeAll(failover, outcomes, limits, moderation, Idempotency.layer, billing)),
    Layer.provideMerge(identity),
    Layer.provideMerge(ledger),
    Layer.provideMerge(Layer.mergeAll(Lifecycle.layer, NodeCrypto.random, Digest.layerWebCrypto)),
    Layer.provideMerge(Migrations.layer)
  )
}

/** The HTTP app over the services. @category layers @since 0.1.0 */
export const app = (settings: Settings) =>
  App.layer.pipe(
    Layer.provide([IpGate.layer, StatusPage.layer, HealthReport.layer]),
    Layer.provide([
      NodeBody.layer,
      Layer.succeed(BodyBounds, { maxBytes: settings.maxBodyBytes, maxDepth: settings.maxJsonDepth }),
      Layer.succeed(AnonymousInference, settings.anonymousInference),
      Layer.succeed(TrustedProxies, settings.trustProxy),
      Layer.succeed(OperationsOptions, { version: VERSION, metricsToken: settings.metricsToken })
    ])
  )

/** Lets requests in once everything stands, and keeps them out when it is taken down. */
const ready = Layer.effectDiscard(
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    yield* lifecycle.set("ready")
    yield* Effect.addFinalizer(() => lifecycle.set("stopped"))
  })
)

/** The HTTP app for a server that is not ours. @category layers @since 0.1.0 */
export const mounted = (settings: Settings) => Layer.mergeAll(app(settings), ready).pipe(Layer.provide(NodeHttpServer.layerHttpServices))
