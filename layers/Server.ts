/**
 * The server as settings describe it, from the environment to the listening socket.
 *
 * @since 0.1.0
 */
import { Effect, Layer, Logger, References, Stdio } from "effect"
import { SecureRandom } from "effect/crypto"
import { definitions } from "../src/providers/RegistryData.ts"
import * as Embedded from "./Embedded.ts"
import * as House from "./House.ts"
import * as NodeKeepAlive from "./NodeKeepAlive.ts"
import * as NodeServer from "./NodeServer.ts"
import * as Secrets from "./Secrets.ts"
import * as Service from "./Service.ts"
import * as Settings from "./Settings.ts"
import { announce } from "./Welcome.ts"

const logging = (settings: Settings.Settings, isTerminal: boolean) => {
  const pretty = settings.logFormat === "pretty" || (settings.logFormat === null && isTerminal)
  return Layer.mergeAll(
    Logger.layer([pretty ? Logger.consolePretty() : Logger.consoleJson]),
    Layer.succeed(References.MinimumLogLevel, settings.logLevel)
  )
}

const assemble = (settings: Settings.Settings, secrets: Secrets.Secrets) => {
  const served = NodeServer.serve.pipe(
    Layer.provide(House.app(settings).pipe(Layer.provide(NodeKeepAlive.layer(settings.keepAliveMs)))),
    Layer.provideMerge(NodeServer.listen({ host: settings.host, port: settings.port, shutdownGraceMs: settings.shutdownGraceMs }))
  )
  const announced = Layer.effectDiscard(announce(settings, secrets)).pipe(Layer.provideMerge(served))
  return settings.databaseUrl === null
    ? announced.pipe(Layer.provide(Embedded.services(settings, secrets)))
    : announced.pipe(Layer.provide(Service.services(settings, secrets, settings.databaseUrl)))
}

/**
 * Runs the server until it is interrupted. Fails with a `SettingError` when a setting cannot be used.
 *
 * @category running
 * @since 0.1.0
 */
export const serve = Effect.gen(function* () {
  const settings = yield* Settings.read(definitions)
  const secrets = yield* Effect.provide(Secrets.read(settings), SecureRandom.layerWebCrypto)
  const isTerminal = yield* (yield* Stdio.Stdio).stdoutIsTerminal
  return yield* Layer.launch(assemble(settings, secrets).pipe(Layer.provide(logging(settings, isTerminal))))
})
