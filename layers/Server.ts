/**
 * The server as settings describe it, from the environment to the listening socket.
 *
 * @since 0.1.0
 */
import { NodeHttpServer } from "@effect/platform-node"
import { ConfigProvider, Deferred, Effect, Layer, Option, type Redacted, Stdio } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpServer } from "effect/http"
import { SqlClient, SqlError } from "effect/sql"
import type { ServeFlags } from "../src/cli/Sluice.ts"
import { adviceOf, messageOf } from "../src/database/Failures.ts"
import { VERSION } from "../src/http/ApiDescription.ts"
import * as QueryMetrics from "../src/telemetry/QueryMetrics.ts"
import * as Compilation from "./Compilation.ts"
import * as Embedded from "./Embedded.ts"
import * as HandedServer from "./HandedServer.ts"
import * as House from "./House.ts"
import * as Logging from "./Logging.ts"
import * as NodeKeepAlive from "./NodeKeepAlive.ts"
import * as NodeResponses from "./NodeResponses.ts"
import * as NodeServer from "./NodeServer.ts"
import * as Postgres from "./Postgres.ts"
import * as RedisWatch from "./RedisWatch.ts"
import * as Secrets from "./Secrets.ts"
import * as Service from "./Service.ts"
import * as Settings from "./Settings.ts"
import * as StopSignals from "./StopSignals.ts"
import * as Telemetry from "./Telemetry.ts"
import * as WaitingRoom from "./WaitingRoom.ts"
import { announce, sayListening } from "./Welcome.ts"
import * as WideServer from "./WideServer.ts"
import * as WorkerLink from "./WorkerLink.ts"
import * as Workers from "./Workers.ts"

/** A worker says where it listens to who keeps it: one line is printed for all. */
const reportReady = Effect.flatMap(HttpServer.HttpServer, ({ address }) => WorkerLink.ready(HttpServer.formatAddress(address)))

/** A worker has the connections that it is handed. */
const create = WorkerLink.isWorker ? HandedServer.make : WideServer.make

/** How a running server is stopped quickly, and what makes room for it. */
interface Turns {
  readonly hurry: Effect.Effect<void>
  readonly beforeListening?: Effect.Effect<void>
}

const assemble = (settings: Settings.Settings, secrets: Secrets.Secrets, turns: Turns) => {
  const app = House.app(settings).pipe(
    Layer.provide([
      NodeResponses.layer,
      NodeKeepAlive.layer(settings.keepAliveMs),
      WorkerLink.isWorker ? WorkerLink.siblings : Layer.empty
    ]),
    Layer.provide(NodeHttpServer.layerHttpServices)
  )
  const served = NodeServer.layer({ ...settings, ...turns, create }).pipe(Layer.provide(app))
  const told = WorkerLink.isWorker ? reportReady : announce(settings, secrets)
  const announced = Layer.effectDiscard(Effect.tap(told, Effect.sync(Compilation.hasten))).pipe(Layer.provideMerge(served))
  return settings.databaseUrl === null
    ? announced.pipe(Layer.provide(Embedded.services(settings, secrets)))
    : announced.pipe(Layer.provide(Service.services(settings, secrets, settings.databaseUrl)))
}

const withFlags = (flags: ServeFlags) =>
  Effect.updateService(ConfigProvider.ConfigProvider, (environment) =>
    Option.match(flags.workers, {
      onNone: () => environment,
      onSome: (WORKERS) => ConfigProvider.orElse(ConfigProvider.fromUnknown({ WORKERS }), environment)
    })
  )

/** Why the database cannot be used, and what may be done about it; null for what is not its doing. Only the log names hosts and users. */
const reasonOf = (error: unknown): WaitingRoom.WaitingReason | null => {
  if (!SqlError.isSqlError(error)) return null
  const advice = adviceOf(error)
  return { logged: `${messageOf(error).slice(0, 300).replace(/\.+$/, "")}. ${advice}`, shown: advice }
}

const unshared = (workers: number) =>
  `WORKERS is ${workers} without REDIS_URL: each process counts for itself, so that a key gets up to ${workers} times its limits; circuits, cached answers and lists of models that one has read are not shared, and a change of a key is heard of within half a second. Money is counted once all the same. Set REDIS_URL to share them.`

/** A connection of its own, so that nothing else is built in vain. */
const tryDatabase = (url: Redacted.Redacted) =>
  Effect.provide(
    Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`),
    Postgres.layer({ url, maxConnections: 1 })
  )

/**
 * Runs the server until it is interrupted. Fails with a `SettingError` when a setting cannot be used.
 *
 * **Gotchas**: with several workers, each runs the program again that called this.
 *
 * @category running
 * @since 0.1.0
 */
export const serve = Effect.fnUntraced(function* (flags: ServeFlags) {
  const settings = yield* withFlags(flags)(Settings.read)
  const secrets = yield* Effect.provide(Secrets.read(settings), SecureRandom.layerWebCrypto)
  const isTerminal = yield* (yield* Stdio.Stdio).stdoutIsTerminal
  const log = Logging.layer(settings, isTerminal)
  if (settings.workers > 1 && !WorkerLink.isWorker) {
    if (settings.redisUrl === null) yield* Effect.provide(Effect.logWarning(unshared(settings.workers)), log)
    const hurry = Deferred.await(yield* StopSignals.again)
    return yield* Effect.provide(Workers.supervise({ ...settings, count: settings.workers, hurry }, sayListening), log)
  }
  const second = WorkerLink.isWorker ? Deferred.makeUnsafe<void>() : yield* StopSignals.again
  if (WorkerLink.isWorker) WorkerLink.obey(() => Deferred.doneUnsafe(second, Effect.void))
  const telemetry = Layer.merge(Telemetry.layer(settings.telemetry, VERSION), QueryMetrics.layer).pipe(Layer.provideMerge(log))
  const hurry = Deferred.await(second)
  const launch = (turns: Turns, port = settings.port) =>
    Layer.launch(assemble({ ...settings, port }, secrets, turns).pipe(Layer.provide(telemetry)))
  const { databaseUrl, host, port, redisUrl } = settings
  if (redisUrl !== null) yield* Effect.forkScoped(Effect.provide(RedisWatch.untilThere(redisUrl), log))
  if (databaseUrl === null) return yield* launch({ hurry })
  const waiting = WaitingRoom.run({
    create,
    host,
    port,
    reasonOf,
    launch: (free, beforeListening) => Effect.andThen(tryDatabase(databaseUrl), launch({ hurry, beforeListening }, free))
  })
  return yield* Effect.provide(waiting, log)
}, Effect.scoped)
