/**
 * Embedded mode: one process, its database under the data directory, its counters in memory.
 *
 * @since 0.1.0
 */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer } from "effect"
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
import * as PGlite from "./PGlite.ts"
import * as Secrets from "./Secrets.ts"
import type { Settings } from "./Settings.ts"

/** Counters kept in this process, at most. */
const COUNTERS = 100_000

/** How many times longer the database is let off an end that the journal has: larger batches cost less. */
const GATHERING = 50

const ledgerOf = (settings: Settings) => {
  // A later process may have the same number, and the kernel does not tell everywhere when each began.
  const name = `${DirectoryLock.currentProcess()}:${randomUUID()}`
  // The directory's lock says that no other process has this database: whoever else it names is gone.
  const isGone = (other: string) => other !== name
  return {
    incarnation: { host: "embedded", process: name, isGone },
    journals: FileJournals.make(FileJournals.directoryOf(settings.dataDir), isGone, name),
    stopwatch: ElapsedTime.stopwatch,
    // A commit of PGlite survives this process, but no power cut: the same as what is written to a file.
    journalFirstMs: settings.ledgerFlushMs * GATHERING,
    isAlone: true
  }
}

const database = (settings: Settings) =>
  Layer.unwrap(Effect.map(DirectoryLock.acquire(settings.dataDir), () => PGlite.layer(join(settings.dataDir, "postgres"))))

/** What manages users and keys, for a command while no server runs. @category layers @since 0.1.0 */
export const administration = (settings: Settings, secrets: Secrets.Secrets) =>
  House.administration(settings, secrets, ledgerOf(settings)).pipe(Layer.provide(Layer.mergeAll(database(settings), Broadcast.layerMemory)))

/** @category layers @since 0.1.0 */
export const services = (settings: Settings, secrets: Secrets.Secrets) =>
  House.services(settings, secrets, ledgerOf(settings)).pipe(
    Layer.provideMerge(Cluster.layerAlone),
    Layer.provideMerge(database(settings)),
    Layer.provideMerge(Layer.mergeAll(CounterStore.layerMemory({ size: COUNTERS }), BreakerStore.layerMemory, Broadcast.layerMemory))
  )

const unwrap = <A, E, R>(given: Given.GivenSettings, build: (settings: Settings, secrets: Secrets.Secrets) => Layer.Layer<A, E, R>) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const settings = yield* Given.make({ ...given, databaseUrl: null })
      return build(settings, yield* Secrets.read(settings))
    })
  ).pipe(Layer.provide([NodeServices.layer, SecureRandom.layerWebCrypto]))

/**
 * The gateway for another program, without a server: `Gateway`, and every service that it stands on.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (given: Given.GivenSettings = {}) => unwrap(given, services)

/**
 * The same with `App`, the HTTP app, to be mounted in a server of the program's own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerApp = (given: Given.GivenSettings = {}) =>
  unwrap(given, (settings, secrets) => House.mounted(settings).pipe(Layer.provideMerge(services(settings, secrets))))
