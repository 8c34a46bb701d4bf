/**
 * Where a command finds what it asks about: in the database itself, or through a running server.
 *
 * @since 0.1.0
 */
import { join } from "node:path"
import { Data, Effect, FileSystem, Layer, type Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { messageOf } from "../src/database/Failures.ts"
import * as DirectoryLock from "./DirectoryLock.ts"
import * as PGlite from "./PGlite.ts"
import * as Postgres from "./Postgres.ts"
import * as Secrets from "./Secrets.ts"
import * as Settings from "./Settings.ts"

/** Nothing can be seen, or something was refused; the message says what to do. @category errors @since 0.1.0 */
export class DeskError extends Data.TaggedError("DeskError")<{ readonly message: string }> {}

type Method = "GET" | "POST" | "PUT" | "DELETE"

/** A running server, asked with the admin key. @category models @since 0.1.0 */
export interface RemoteServer {
  readonly call: <S extends Schema.Decoder<unknown>>(
    method: Method,
    path: string,
    schema: S,
    body?: unknown
  ) => Effect.Effect<S["Type"], DeskError>
  readonly get: <S extends Schema.Decoder<unknown>>(path: string, schema: S) => Effect.Effect<S["Type"], DeskError>
}

/** Where a running server of this data directory listens: it says so in a file. @category accessors @since 0.1.0 */
export const addressFile = (dataDir: string): string => join(dataDir, "address")

const Refusal = Schema.Struct({ error: Schema.Struct({ message: Schema.String }) })

const remoteServer = (base: string, key: Redacted.Redacted): RemoteServer => {
  const exchange = Effect.fnUntraced(function* (method: Method, path: string, body: unknown) {
    const client = yield* HttpClient.HttpClient
    const plain = HttpClientRequest.make(method)(`${base.replace(/\/+$/, "")}${path}`).pipe(HttpClientRequest.bearerToken(key))
    const request = body === undefined ? plain : HttpClientRequest.bodyJsonUnsafe(plain, body)
    const response = yield* Effect.mapError(client.execute(request), () => new DeskError({ message: `${base} does not answer.` }))
    const answer = yield* Effect.orElseSucceed(response.json, () => null)
    if (response.status < 300) return answer
    const words = Schema.is(Refusal)(answer) ? answer.error.message : (JSON.stringify(answer)?.slice(0, 300) ?? "")
    return yield* new DeskError({ message: `${base}${path} answered ${response.status}: ${words}` })
  }, Effect.provide(FetchHttpClient.layer))
  const call = <S extends Schema.Decoder<unknown>>(method: Method, path: string, schema: S, body?: unknown) =>
    Effect.flatMap(exchange(method, path, body), (answer) =>
      Effect.mapError(
        Schema.decodeUnknownEffect(schema)(answer),
        () => new DeskError({ message: `${base}${path} is not a Sluice of this version.` })
      )
    )
  return { call, get: (path, schema) => call("GET", path, schema) }
}

const fromUnknown = (error: unknown): DeskError =>
  error instanceof DeskError ? error : new DeskError({ message: messageOf(error).trim().slice(0, 500) || "the database cannot be read" })

/** The database of these settings, for one command. @category layers @since 0.1.0 */
export const database = (settings: Settings.Settings) =>
  settings.databaseUrl === null
    ? Layer.unwrap(Effect.as(DirectoryLock.acquire(settings.dataDir), PGlite.layer(join(settings.dataDir, "postgres"))))
    : Postgres.layer({ url: settings.databaseUrl, maxConnections: 1 })

/** The server at `url`, else the one that serves these settings; fails where none answers. @category constructors @since 0.1.0 */
export const running = Effect.fnUntraced(function* (url: string | null, settings: Settings.Settings) {
  const { adminApiKey } = yield* Effect.provide(Secrets.read(settings), SecureRandom.layerWebCrypto)
  const files = yield* FileSystem.FileSystem
  const own = `http://${settings.host === "0.0.0.0" || settings.host === "::" ? "127.0.0.1" : settings.host}:${settings.port}`
  const said =
    settings.databaseUrl === null
      ? Effect.orElseSucceed(files.readFileString(addressFile(settings.dataDir)), () => own)
      : Effect.succeed(own)
  const base = url ?? (yield* said).trim()
  const server = remoteServer(base, adminApiKey)
  yield* Effect.mapError(server.get("/health/live", Schema.Unknown), () => {
    const message = `There is no Sluice at ${base}. Start one, or name it with --url.`
    return new DeskError({ message })
  })
  return server
})

/** How a question is put. @category models @since 0.1.0 */
export interface Ways<A, R> {
  readonly remote: (server: RemoteServer) => Effect.Effect<A, unknown>
  /** Fails with `DirectoryInUse` where the database belongs to a running server. */
  readonly direct: (settings: Settings.Settings) => Effect.Effect<A, unknown, R>
}

/** Asks the server at `url`, else the database, else the server that the database belongs to. @category constructors @since 0.1.0 */
export const reach = <A, R>(url: string | null, ways: Ways<A, R>) =>
  Effect.gen(function* () {
    const settings = yield* Settings.readForTools
    const through = (address: string) =>
      Effect.flatMap(Effect.provide(Secrets.read(settings), SecureRandom.layerWebCrypto), ({ adminApiKey }) =>
        ways.remote(remoteServer(address, adminApiKey))
      )
    if (url !== null) return yield* through(url)
    if (settings.databaseUrl !== null) return yield* ways.direct(settings)
    const files = yield* FileSystem.FileSystem
    if (!(yield* files.exists(join(settings.dataDir, "postgres")))) {
      const message = `There is no database under DATA_DIR ${settings.dataDir}. Start the server once, set DATABASE_URL, or name a server with --url.`
      return yield* new DeskError({ message })
    }
    // The database of a running server belongs to it: it is asked instead.
    return yield* Effect.catch(ways.direct(settings), (error) =>
      error instanceof DirectoryLock.DirectoryInUse
        ? Effect.flatMap(files.readFileString(addressFile(settings.dataDir)), (address) => through(address.trim()))
        : Effect.fail(error)
    )
  }).pipe(Effect.mapError(fromUnknown))
