/**
 * The server as settings describe it, from the environment to the listening socket.
 *
 * @since 0.1.0
 */
import { NodeHttpServer } from "@effect/platform-node"
import { ConfigProvider, Deferred, Effect, Layer, Option, Stdio } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpServer } from "effect/http"
import { SqlError } from "effect/sql"
import type { ServeFlags } from "../src/cli/Sluice.ts"
import { messageOf } from "../src/database/Failures.ts"
import { VERSION } from "../src/http/ApiDescription.ts"
import * as Embedded from "./Embedded.ts"
import * as House from "./House.ts"
import * as Logging from "./Logging.ts"
import * as NodeKeepAlive from "./NodeKeepAlive.ts"
import * as NodeServer from "./NodeServer.ts"
import * as Secrets from "./Secrets.ts"
import * as Service from "./Service.ts"
import { SettingError } from "./SettingReaders.ts"
import * as Settings from "./Settings.ts"
import * as StopSignals from "./StopSignals.ts"
import * as Telemetry from "./Telemetry.ts"
import { announce, sayListening } from "./Welcome.ts"
import * as WorkerLink from "./WorkerLink.ts"
import * as Workers from "./Workers.ts"

/** A worker says where it listens to who keeps it: one line is printed for all. */
const reportReady = Effect.flatMap(HttpServer.HttpServer, ({ address }) => WorkerLink.ready(HttpServer.formatAddress(address)))

const assemble = (settings: Settings.Settings, secrets: Secrets.Secrets, hurry: Effect.Effect<void>) => {
  const app = House.app(settings).pipe(
    Layer.provide([NodeKeepAlive.layer(settings.keepAliveMs), WorkerLink.isWorker ? WorkerLink.siblings : Layer.empty]),
    Layer.provide(NodeHttpServer.layerHttpServices)
  )
  const served = NodeServer.layer({ ...settings, hurry }).pipe(Layer.provide(app))
  const announced = Layer.effectDiscard(WorkerLink.isWorker ? reportReady : announce(settings, secrets)).pipe(Layer.provideMerge(served))
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

/** A database that cannot be used, in the words of the setting that named it. */
const named = (settings: Settings.Settings) => (error: unknown) => {
  if (settings.databaseUrl === null || !SqlError.isSqlError(error)) return error
  const why = messageOf(error).slice(0, 300)
  return new SettingError({ message: `DATABASE_URL is "(redacted)", but the database there cannot be used: ${why}.` })
}

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
    const hurry = Deferred.await(yield* StopSignals.again)
    return yield* Effect.provide(Workers.supervise({ ...settings, count: settings.workers, hurry }, sayListening), log)
  }
  const second = WorkerLink.isWorker ? Deferred.makeUnsafe<void>() : yield* StopSignals.again
  if (WorkerLink.isWorker) WorkerLink.obey(() => Deferred.doneUnsafe(second, Effect.void))
  const telemetry = Telemetry.layer(settings.telemetry, VERSION).pipe(Layer.provideMerge(log))
  const launched = Layer.launch(assemble(settings, secrets, Deferred.await(second)).pipe(Layer.provide(telemetry)))
  return yield* Effect.mapError(launched, named(settings))
}, Effect.scoped)
