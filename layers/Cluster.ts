/**
 * Effect's cluster, for work that one process does for all: replicas know each other by the database, and each takes a part
 * of the work. A part whose process is gone is taken by another within some fifteen seconds.
 *
 * Nothing is sent from process to process, so there is no port and no message store: who lives is told by heartbeats, and who
 * has what by advisory locks of a connection of its own.
 *
 * @since 0.1.0
 */
import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { Effect, Fiber, Layer, Metric, Option, References, Scope } from "effect"
import {
  MessageStorage,
  RunnerAddress,
  RunnerHealth,
  RunnerStorage,
  Runners,
  Sharding,
  ShardingConfig,
  SqlRunnerStorage
} from "effect/cluster"
import { Singletons } from "../src/replicas/Singletons.ts"

/** Parts that the work is divided into: more than there are kinds of it. The same in every version that runs together. */
const SHARDS = 32
/** Between two heartbeats, and until a process that gives none is taken for gone. */
const HEARTBEAT = "4 seconds"
const GONE = "12 seconds"
/** How long a stop waits, at most, until others are told that they may go on with what runs here. */
const LAST = "2 seconds"

/** A process that is started anew is another one: nobody waits for the one before. */
const config = Effect.sync(() =>
  ShardingConfig.layer({
    runnerAddress: Option.some(RunnerAddress.make(`${hostname()}/${randomUUID()}`, 0)),
    shardsPerGroup: SHARDS,
    shardLockRefreshInterval: HEARTBEAT,
    shardLockExpiration: GONE,
    refreshAssignmentsInterval: "3 seconds",
    simulateRemoteSerialization: false
  })
)

const running = Metric.gauge("sluice_singletons", {
  description: "Work that one process does for all replicas, by its name: 1 where this process does it"
})

/** Says that it runs here as long as it does. */
const counted = <R>(name: string, run: Effect.Effect<void, never, R>) => {
  const here = Metric.withAttributes(running, { name })
  return Effect.acquireUseRelease(
    Metric.update(here, 1),
    () => run,
    () => Metric.update(here, 0)
  )
}

const singletons = Layer.effect(
  Singletons,
  Effect.map(Sharding.Sharding, (sharding) => ({ register: (name, run) => sharding.registerSingleton(name, counted(name, run)) }))
)

/** What it warns of while the database is away is said by others already. */
const quiet = Layer.effect(
  References.MinimumLogLevel,
  Effect.map(References.MinimumLogLevel, (level) => (level === "Info" || level === "Warn" ? "Error" : level))
)

const over = <E, R>(storage: Layer.Layer<RunnerStorage.RunnerStorage, E, R>) =>
  singletons.pipe(
    Layer.provide(Sharding.layer),
    Layer.provide([Runners.layerNoop, RunnerHealth.layerNoop, storage]),
    Layer.provide(MessageStorage.layerNoop),
    Layer.provide([Layer.unwrap(config), quiet])
  )

/**
 * Closes a layer in bounded time: a stop would wait for a database that is away to hear that this process gives its work up,
 * which the others find out by themselves.
 */
const inTime = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
  Layer.effectContext(
    Effect.flatMap(
      Effect.acquireRelease(Scope.make(), (scope, exit) =>
        Effect.flatMap(Effect.forkDetach(Scope.close(scope, exit)), (closing) => Effect.timeoutOption(Fiber.await(closing), LAST))
      ),
      (scope) => Layer.buildWithScope(layer, scope)
    )
  )

/** Replicas over one database. @category layers @since 0.1.0 */
export const layer = inTime(over(SqlRunnerStorage.layer))

/** One process alone. @category layers @since 0.1.0 */
export const layerAlone = over(RunnerStorage.layerMemory)
