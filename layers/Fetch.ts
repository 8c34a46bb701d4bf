/**
 * The gateway as a web-standard handler, `(Request) => Promise<Response>`, for serverless hosts.
 *
 * **Details**: nothing is read or opened until the first request. What could not be opened then is tried again by the next
 * one, which is answered 503 meanwhile.
 *
 * **Gotchas**: a web `Request` does not say where it comes from. Behind a host's proxy, set `TRUST_PROXY=1`.
 *
 * @since 0.1.0
 */
import { NodeServices } from "@effect/platform-node"
import { Cause, Context, Effect, Layer, Logger, References } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpEffect, HttpServerResponse } from "effect/http"
import * as ApiError from "../src/http/ApiError.ts"
import { App } from "../src/http/App.ts"
import * as Embedded from "./Embedded.ts"
import * as Given from "./GivenSettings.ts"
import * as House from "./House.ts"
import * as Secrets from "./Secrets.ts"
import * as Service from "./Service.ts"
import * as Settings from "./Settings.ts"

/** @category models @since 0.1.0 */
export interface FetchHandler {
  readonly fetch: (request: Request) => Promise<Response>
  /** Settles everything and closes what was opened. */
  readonly dispose: () => Promise<void>
}

const assemble = (given: Given.GivenSettings | undefined) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const settings = yield* given === undefined ? Settings.read : Given.make(given)
      const secrets = yield* Secrets.read(settings)
      const app = House.mounted(settings)
      const logging = Layer.mergeAll(
        Logger.layer([settings.logFormat === "pretty" ? Logger.consolePretty() : Logger.consoleJson]),
        Layer.succeed(References.MinimumLogLevel, settings.logLevel)
      )
      const served =
        settings.databaseUrl === null
          ? app.pipe(Layer.provide(Embedded.services(settings, secrets)))
          : app.pipe(Layer.provide(Service.services(settings, secrets, settings.databaseUrl)))
      return served.pipe(Layer.provideMerge(logging))
    })
  ).pipe(Layer.provide([NodeServices.layer, SecureRandom.layerWebCrypto]))

const unavailable = ApiError.make(503, "SERVICE_UNAVAILABLE", "The gateway could not be started; its log says why. Try again.")

/** A handler of its own; with no settings given, of the environment. @category constructors @since 0.1.0 */
export const make = (given?: Given.GivenSettings): FetchHandler => {
  type Built = ReturnType<typeof build>
  const build = () => HttpEffect.toWebHandlerLayerWith(assemble(given), { toHandler: (built) => Effect.succeed(Context.get(built, App)) })
  let current: Built | null = null
  const fail = async (failed: Built, error: unknown): Promise<Response> => {
    if (current === failed) current = null
    await failed.dispose()
    const log = Effect.logError("The gateway could not be started", Cause.fail(error))
    await Effect.runPromise(Effect.provide(log, Logger.layer([Logger.consoleJson])))
    return HttpServerResponse.toWeb(ApiError.toResponse(unavailable))
  }
  return {
    fetch: (request) => {
      current ??= build()
      const built = current
      return built.handler(request).catch((error: unknown) => fail(built, error))
    },
    dispose: async () => {
      const built = current
      current = null
      await built?.dispose()
    }
  }
}

const fromEnvironment = make()

/** Answers a request under the settings of the environment. @category handlers @since 0.1.0 */
export const fetch = fromEnvironment.fetch

/** A function for hosts that call one, with `fetch` on it for those that look for that. @category handlers @since 0.1.0 */
export default Object.assign((request: Request): Promise<Response> => fetch(request), { fetch })
