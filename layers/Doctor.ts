/**
 * Looks at everything that a server of these settings needs, and says what to do where something is wrong.
 *
 * @since 0.1.0
 */
import { existsSync, statfsSync, statSync } from "node:fs"
import { createServer } from "node:net"
import { join, resolve } from "node:path"
import { Clock, Effect, FileSystem, Redacted } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { SqlClient } from "effect/sql"
import type { Diagnosis } from "../src/cli/DoctorCommand.ts"
import { messageOf } from "../src/database/Failures.ts"
import * as Migrations from "../src/database/Migrations.ts"
import { tryProviders } from "./CatalogDesk.ts"
import { database } from "./Desk.ts"
import { DirectoryInUse } from "./DirectoryLock.ts"
import * as RedisConnection from "./RedisConnection.ts"
import * as Settings from "./Settings.ts"

const ok = (check: string, detail: string): Diagnosis => ({ check, status: "ok", detail, fix: null })
const warning = (check: string, detail: string, fix: string): Diagnosis => ({ check, status: "warning", detail, fix })
const failed = (check: string, detail: string, fix: string): Diagnosis => ({ check, status: "failed", detail, fix })

const words = (error: unknown): string => messageOf(error).trim().slice(0, 300) || String(error).slice(0, 300)

/** Clocks further apart than this, in milliseconds: limits of a minute, trials and leases would not agree. */
const MOST_SKEW = 2_000

const clock = Effect.fnUntraced(function* (whose: string, theirs: number, askedAt: number) {
  const now = yield* Clock.currentTimeMillis
  const skew = Math.round(theirs - (askedAt + now) / 2)
  const detail = `${whose} is ${Math.abs(skew)} ms ${skew < 0 ? "behind" : "ahead"}`
  return Math.abs(skew) <= MOST_SKEW
    ? ok(`clock of ${whose}`, detail)
    : failed(`clock of ${whose}`, detail, "Let both machines follow a time server (chrony, systemd-timesyncd).")
})

/** Free space below which a database soon stops: bytes. */
const LEAST_SPACE = 200 * 1_024 * 1_024
const LITTLE_SPACE = 2 * 1_024 * 1_024 * 1_024

const dataDirectory = Effect.fnUntraced(function* ({ dataDir, databaseUrl }: Settings.Settings) {
  const files = yield* FileSystem.FileSystem
  const path = resolve(dataDir)
  const probe = join(path, `.doctor-${process.pid}`)
  const isNew = !existsSync(path)
  const write = files
    .makeDirectory(path, { recursive: true, mode: 0o700 })
    .pipe(
      Effect.andThen(files.writeFileString(probe, "")),
      Effect.andThen(files.remove(probe)),
      Effect.andThen(isNew ? files.remove(path, { recursive: true }) : Effect.void)
    )
  const written = yield* Effect.result(write)
  if (written._tag === "Failure")
    return [
      failed(
        "data directory",
        `${path} cannot be written to: ${words(written.failure)}`,
        "Give the user of the server the directory, or set DATA_DIR to another one."
      )
    ]
  const found = [ok("data directory", `${path} can be written to`)]
  const secrets = join(path, "secrets.json")
  if (existsSync(secrets) && (statSync(secrets).mode & 0o077) !== 0) {
    found.push(failed("secrets", `${secrets} can be read by others`, `chmod 600 ${secrets}`))
  }
  const { bavail, bsize } = statfsSync(isNew ? resolve(path, "..") : path)
  const free = bavail * bsize
  const detail = `${(free / 1_024 ** 3).toFixed(1)} GiB free at ${path}`
  const fix =
    databaseUrl === null
      ? "Make room, or set DATA_DIR to a larger disk: the embedded database lives there."
      : "Make room: settlements are written there while the database is away."
  found.push(
    free < LEAST_SPACE
      ? failed("disk", detail, fix)
      : free < LITTLE_SPACE && databaseUrl === null
        ? warning("disk", detail, fix)
        : ok("disk", detail)
  )
  return found
})

const readDatabase = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const askedAt = yield* Clock.currentTimeMillis
  const [row] = yield* sql<{ version: string; now: number | string; there: boolean }>`SELECT current_setting('server_version') AS version,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint::text AS now, to_regclass(${Migrations.table}) IS NOT NULL AS there`
  const skew = yield* clock("the database", Number(row?.now ?? 0), askedAt)
  const found = [ok("database", `Postgres ${row?.version ?? "?"} answers`), skew]
  const done = row?.there === true ? yield* sql<{ id: number }>`SELECT migration_id AS id FROM ${sql(Migrations.table)}` : []
  const missing = Migrations.ids.filter((id) => !done.some((step) => step.id === id))
  const newer = done.filter((step) => !Migrations.ids.includes(step.id))
  if (newer.length > 0) {
    found.push(
      failed(
        "migrations",
        `the database has ${newer.length} steps that this version does not know`,
        "It belongs to a newer Sluice: install that one, or use another database."
      )
    )
  } else found.push(ok("migrations", missing.length === 0 ? "up to date" : `${missing.length} to be run by the next start`))
  return found
})

const databaseOf = (settings: Settings.Settings) => {
  if (settings.databaseUrl === null && !existsSync(join(settings.dataDir, "postgres"))) {
    return Effect.succeed([ok("database", "embedded; made by the first start")])
  }
  return Effect.provide(readDatabase, database(settings)).pipe(
    Effect.catch((error) => {
      if (error instanceof DirectoryInUse) return Effect.succeed([ok("database", "embedded, in use by a running server")])
      const fix =
        settings.databaseUrl === null
          ? `Restore ${settings.dataDir} from a backup, or move it away to start anew.`
          : "Check that the server runs, that DATABASE_URL has its address, user, password and database, and that its network lets this machine in."
      return Effect.succeed([failed("database", words(error), fix)])
    })
  )
}

const redisOf = Effect.fnUntraced(function* ({ databaseUrl, redisUrl }: Settings.Settings) {
  if (redisUrl === null) {
    return [
      databaseUrl === null
        ? ok("redis", "not used: one process counts for itself")
        : warning("redis", "not used: every process counts limits for itself", "With more than one replica, set REDIS_URL.")
    ]
  }
  const redis = yield* RedisConnection.connect(redisUrl, { commandTimeoutMs: 2_000 })
  yield* RedisConnection.ready(redis)
  const askedAt = yield* Clock.currentTimeMillis
  const read = Effect.tryPromise({ try: () => redis.time(), catch: words })
  return yield* Effect.matchEffect(read, {
    onFailure: (error) =>
      Effect.succeed([
        failed(
          "redis",
          `${new URL(Redacted.value(redisUrl)).host}: ${error}`,
          "Check that it runs and that REDIS_URL has its address and password."
        )
      ]),
    onSuccess: ([seconds, micros]) =>
      Effect.map(clock("redis", Number(seconds) * 1_000 + Number(micros) / 1_000, askedAt), (skew) => [ok("redis", "answers"), skew])
  })
}, Effect.scoped)

const isFree = (host: string, port: number) =>
  Effect.callback<string | null>((resume) => {
    const server = createServer()
    server.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? error.message)))
    server.listen(port, host, () => server.close(() => resume(Effect.succeed(null))))
  })

const isSluice = (url: string) =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient
    const response = yield* client.get(`${url}/health/live`)
    return response.status === 200 && response.headers["x-sluice-request-id"] !== undefined
  }).pipe(
    Effect.timeoutOrElse({ duration: 2_000, orElse: () => Effect.succeed(false) }),
    Effect.orElseSucceed(() => false),
    Effect.provide(FetchHttpClient.layer)
  )

const portOf = Effect.fnUntraced(function* ({ host, port }: Settings.Settings) {
  if (port === 0) return ok("port", "the start picks a free one")
  const taken = yield* isFree(host, port)
  if (taken === null) return ok("port", `${host}:${port} is free`)
  if (taken === "EADDRINUSE") {
    const own = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
    if (yield* isSluice(`http://${own}:${port}`)) return ok("port", `a Sluice listens on ${host}:${port} already`)
    return failed("port", `${host}:${port} is taken by another program`, "Stop that one, or set PORT to another port (0 picks a free one).")
  }
  const fix =
    taken === "EACCES"
      ? "Ports below 1024 need rights: set PORT to a higher one."
      : "Set HOST to an address of this machine, such as 127.0.0.1 or 0.0.0.0."
  return failed("port", `${host}:${port} cannot be listened on (${taken})`, fix)
})

const providersOf = (settings: Settings.Settings) =>
  Effect.map(
    Effect.orElseSucceed(tryProviders(settings, []), () => []),
    (tests) =>
      tests.length === 0
        ? [warning("providers", "none is switched on, only the sandbox answers", "Set a key such as OPENAI_API_KEY.")]
        : tests.map((test) =>
            test.ok
              ? ok(`provider ${test.provider}`, `${test.detail} (${test.latency_ms} ms)`)
              : failed(
                  `provider ${test.provider}`,
                  test.detail,
                  "Check its key and address, and that this machine may reach it; `sluice providers test` tries again."
                )
          )
  )

/** @category operations @since 0.1.0 */
export const diagnose = Effect.gen(function* () {
  const read = yield* Effect.result(Settings.read)
  if (read._tag === "Failure")
    return [failed("settings", read.failure.message, "`sluice config schema` says what every setting takes; nothing else was looked at.")]
  const settings = read.success
  const mode = settings.databaseUrl === null ? "embedded" : "service"
  const rest = yield* Effect.all([
    dataDirectory(settings),
    databaseOf(settings),
    redisOf(settings),
    Effect.map(portOf(settings), (one) => [one]),
    providersOf(settings)
  ])
  return [ok("settings", `can be used: ${mode} mode, Node ${process.versions.node}`), ...rest.flat()]
})
