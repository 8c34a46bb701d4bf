/**
 * Service mode: a database server, usually Redis, any number of replicas.
 *
 * @since 0.1.0
 */
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer, type Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { CounterStore } from "../src/limits/CounterStore.ts"
import { BreakerStore } from "../src/providers/BreakerStore.ts"
import { Broadcast } from "../src/replicas/Broadcast.ts"
import * as Cluster from "./Cluster.ts"
import * as DirectoryLock from "./DirectoryLock.ts"
import * as ElapsedTime from "./ElapsedTime.ts"
import * as FileJournals from "./FileJournals.ts"
import * as Given from "./GivenSettings.ts"
import * as House from "./House.ts"
import * as Postgres from "./Postgres.ts"
import * as RedisBreakers from "./RedisBreakers.ts"
import * as RedisBroadcast from "./RedisBroadcast.ts"
import * as RedisCounters from "./RedisCounters.ts"
import * as RedisStore from "./RedisStore.ts"
import * as Secrets from "./Secrets.ts"
import type { Settings } from "./Settings.ts"

const COUNTERS = 100_000

/** Connections to the database that all workers together should do with, and the least and the most that each has; and one that its part of the work is held by. */
const CONNECTIONS = { all: 40, least: 4, most: 10 }

const connectionsOf = ({ workers }: Settings) =>
  Math.min(CONNECTIONS.most, Math.max(CONNECTIONS.least, Math.floor(CONNECTIONS.all / workers)))

const ledgerOf = (settings: Settings) => ({
  incarnation: { host: DirectoryLock.currentHost(), process: DirectoryLock.currentProcess(), isGone: DirectoryLock.isGone },
  journals: FileJournals.make(FileJournals.directoryOf(settings.dataDir)),
  stopwatch: ElapsedTime.stopwatch
})

const broadcastOf = ({ redisUrl }: Settings) => (redisUrl === null ? Broadcast.layerMemory : RedisBroadcast.layer({ url: redisUrl }))

/** What manages users and keys, for a command beside the servers. @category layers @since 0.1.0 */
export const administration = (settings: Settings, secrets: Secrets.Secrets, databaseUrl: Redacted.Redacted) =>
  House.administration(settings, secrets, ledgerOf(settings)).pipe(
    Layer.provide(Layer.mergeAll(Postgres.layer({ url: databaseUrl, maxConnections: 2 }), broadcastOf(settings)))
  )

/** @category layers @since 0.1.0 */
export const services = (settings: Settings, secrets: Secrets.Secrets, databaseUrl: Redacted.Redacted) => {
  const counters =
    settings.redisUrl === null
      ? CounterStore.layerMemory({ size: COUNTERS })
      : RedisCounters.layer({ url: settings.redisUrl, patienceMs: settings.redisTimeoutMs })
  const breakers = settings.redisUrl === null ? BreakerStore.layerMemory : RedisBreakers.layer(settings.redisUrl)
  const store = settings.redisUrl === null ? Layer.empty : RedisStore.layer(settings.redisUrl)
  return House.services(settings, secrets, ledgerOf(settings)).pipe(
    Layer.provideMerge(Cluster.layer),
    Layer.provideMerge(Postgres.layer({ url: databaseUrl, maxConnections: connectionsOf(settings) + 1 })),
    Layer.provideMerge(Layer.mergeAll(counters, breakers, broadcastOf(settings), store))
  )
}

/** Settings that service mode cannot do without. @category models @since 0.1.0 */
export interface GivenSettings extends Given.GivenSettings {
  readonly databaseUrl: Given.GivenSecret
}

const unwrap = <A, E, R>(
  given: GivenSettings,
  build: (settings: Settings, secrets: Secrets.Secrets, databaseUrl: Redacted.Redacted) => Layer.Layer<A, E, R>
) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const settings = yield* Given.make(given)
      if (settings.databaseUrl === null) return yield* Effect.die("a database was given")
      return build(settings, yield* Secrets.read(settings), settings.databaseUrl)
    })
  ).pipe(Layer.provide([NodeServices.layer, SecureRandom.layerWebCrypto]))

/**
 * The gateway for another program, without a server, over a database that replicas share.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (given: GivenSettings) => unwrap(given, services)

/** The same with `App`, the HTTP app, to be mounted in a server of the program's own. @category layers @since 0.1.0 */
export const layerApp = (given: GivenSettings) =>
  unwrap(given, (settings, secrets, databaseUrl) =>
    House.mounted(settings).pipe(Layer.provideMerge(services(settings, secrets, databaseUrl)))
  )
