/**
 * Service mode: a database server, usually Redis, any number of replicas.
 *
 * @since 0.1.0
 */
import { join } from "node:path"
import { Layer, type Redacted } from "effect"
import { CounterStore } from "../src/limits/CounterStore.ts"
import { BreakerStore } from "../src/providers/BreakerStore.ts"
import { Broadcast } from "../src/replicas/Broadcast.ts"
import * as DirectoryLock from "./DirectoryLock.ts"
import * as ElapsedTime from "./ElapsedTime.ts"
import * as FileJournals from "./FileJournals.ts"
import * as House from "./House.ts"
import * as Postgres from "./Postgres.ts"
import * as RedisBreakers from "./RedisBreakers.ts"
import * as RedisBroadcast from "./RedisBroadcast.ts"
import * as RedisCounters from "./RedisCounters.ts"
import * as RedisStore from "./RedisStore.ts"
import type { Secrets } from "./Secrets.ts"
import type { Settings } from "./Settings.ts"

const COUNTERS = 100_000

const ledgerOf = (settings: Settings) => ({
  incarnation: { host: DirectoryLock.currentHost(), process: DirectoryLock.currentProcess(), isGone: DirectoryLock.isGone },
  journals: FileJournals.make(join(settings.dataDir, "journal")),
  stopwatch: ElapsedTime.stopwatch
})

const broadcastOf = ({ redisUrl }: Settings) => (redisUrl === null ? Broadcast.layerMemory : RedisBroadcast.layer({ url: redisUrl }))

/** What manages users and keys, for a command beside the servers. @category layers @since 0.1.0 */
export const administration = (settings: Settings, secrets: Secrets, databaseUrl: Redacted.Redacted) =>
  House.administration(settings, secrets, ledgerOf(settings)).pipe(
    Layer.provide(Layer.mergeAll(Postgres.layer({ url: databaseUrl, maxConnections: 2 }), broadcastOf(settings)))
  )

/** @category layers @since 0.1.0 */
export const services = (settings: Settings, secrets: Secrets, databaseUrl: Redacted.Redacted) => {
  const counters =
    settings.redisUrl === null
      ? CounterStore.layerMemory({ size: COUNTERS })
      : RedisCounters.layer({ url: settings.redisUrl, patienceMs: settings.redisTimeoutMs })
  const breakers = settings.redisUrl === null ? BreakerStore.layerMemory : RedisBreakers.layer(settings.redisUrl)
  const store = settings.redisUrl === null ? Layer.empty : RedisStore.layer(settings.redisUrl)
  return House.services(settings, secrets, ledgerOf(settings)).pipe(
    Layer.provideMerge(Postgres.layer({ url: databaseUrl })),
    Layer.provideMerge(Layer.mergeAll(counters, breakers, broadcastOf(settings), store))
  )
}
