/**
 * A server that is started before its database, or with the wrong name of it: it lives, says what it waits for, and serves as
 * soon as it can.
 */
import { afterAll, assert, describe, inject, it } from "@effect/vitest"
import { adviceOf } from "../../src/database/Failures.ts"
import { freshDatabase, runSql } from "../support/database.ts"
import { eventually, jsonCall, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"
import { freePort, startPostgres, startRedis } from "../support/services.ts"

const WAITS = "waits for its database, alive on "

const warnings = (server: RunningServer) => server.output().match(/waits for its database[^"]*/g) ?? []
const ready = (server: RunningServer) => jsonCall<{ status: string; message?: string }>(server.url, null, "GET", "/health/ready")

describe("a server without its database", () => {
  const directory = temporaryDirectory()
  afterAll(() => directory.remove())
  const start = (databaseUrl: string, more: Readonly<Record<string, string>> = {}) =>
    startServer({ ...serviceSettings(databaseUrl), DATA_DIR: directory.path, ...more }, WAITS)

  it("lives, is not ready, says why and once, and serves on the same port when the database comes", async () => {
    const port = await freePort()
    const server = await start(`postgres://postgres:a-password@127.0.0.1:${port}/postgres`)
    let postgres: Awaited<ReturnType<typeof startPostgres>> | undefined
    try {
      assert.strictEqual((await jsonCall(server.url, null, "GET", "/health/live")).status, 200)
      const { body, headers, status } = await ready(server)
      assert.deepStrictEqual([status, body.status, headers.get("retry-after")], [503, "starting", "5"])
      assert.match(body.message ?? "", /^waiting for the database: Nothing listens there: start the database/)
      const health = await jsonCall<{ status: string; components: { database: string } }>(server.url, null, "GET", "/health")
      assert.deepStrictEqual([health.status, health.body.status, health.body.components.database], [200, "degraded", "down"])
      for (const path of ["/v1/chat/completions", "/v1/messages"]) {
        const refused = await jsonCall<{ error: { message: string } }>(server.url, null, "POST", path, {})
        assert.strictEqual(refused.status, 503)
        assert.match(refused.body.error.message, /waits for its database/)
      }
      postgres = await startPostgres({ port })
      await eventually(async () => assert.strictEqual((await ready(server)).status, 200), 20_000)
      const made = await server.admin("POST", "/admin/users", { email: "late@example.com", plan: "dev" })
      assert.strictEqual(made.status, 201)
      // Nothing listened, then it may have been starting up: each is said once, and no secret with it.
      assert.isAtMost(warnings(server).length, 3, server.output())
      assert.match(warnings(server)[0] ?? "", /ECONNREFUSED .*correct host and port in DATABASE_URL/)
      assert.notInclude(server.output(), "a-password")
      assert.strictEqual(await server.stop(), 0)
    } finally {
      await server.stop("SIGKILL")
      await postgres?.stop()
    }
  }, 90_000)

  it("says that a user or a database is not known, goes on once it is, and ends at once with 0 when told to meanwhile", async () => {
    const unknown = new URL(await freshDatabase(inject("databaseUrl")))
    const name = `late_${unknown.pathname.slice(1)}`
    unknown.pathname = `/${name}`
    const server = await start(unknown.toString())
    try {
      assert.match((await ready(server)).body.message ?? "", /There is no such database: create it/)
      assert.match(server.output(), new RegExp(`database .{0,2}${name}.{0,2} does not exist`))
      await runSql(inject("databaseUrl"), `CREATE DATABASE ${name}`)
      await eventually(async () => assert.strictEqual((await ready(server)).status, 200), 20_000)
      assert.strictEqual(await server.stop(), 0)
    } finally {
      await server.stop("SIGKILL")
    }
    unknown.username = "nobody_here"
    const other = await start(unknown.toString(), { WORKERS: "2" })
    try {
      assert.match((await ready(other)).body.message ?? "", /The user is refused/)
      assert.match(other.output(), /WORKERS is 2 without REDIS_URL: .* up to 2 times its limits/)
      const stoppedAt = Date.now()
      assert.strictEqual(await other.stop(), 0)
      assert.isBelow(Date.now() - stoppedAt, 5_000)
    } finally {
      await other.stop("SIGKILL")
    }
  }, 90_000)

  it("knows what to do about what databases say", () => {
    const said = (code: string) => adviceOf({ _tag: "SqlError", reason: { cause: { code } } })
    assert.match(said("28P01"), /The password is refused: correct it in DATABASE_URL/)
    assert.match(said("53300"), /raise its max_connections/)
    assert.match(said("57P03"), /starting up/)
    assert.match(said("ENOTFOUND"), /host is not known/)
    assert.match(said("XX000"), /Check that it runs/)
  })
})

describe("a server without its Redis", () => {
  it("serves, says why limits are not shared, and when they are", async () => {
    const directory = temporaryDirectory()
    const port = await freePort()
    const settings = {
      ...serviceSettings(await freshDatabase(inject("databaseUrl")), `redis://127.0.0.1:${port}`),
      DATA_DIR: directory.path
    }
    const server = await startServer(settings)
    let redis: Awaited<ReturnType<typeof startRedis>> | undefined
    try {
      assert.strictEqual((await ready(server)).status, 200)
      await eventually(
        () => assert.match(server.output(), /Redis does not answer, .*ECONNREFUSED.*correct host and port in REDIS_URL/),
        10_000
      )
      redis = await startRedis({ port })
      await eventually(() => assert.match(server.output(), /Redis answers: limits and circuits are shared/), 20_000)
    } finally {
      await server.stop()
      await redis?.stop()
      directory.remove()
    }
  }, 60_000)
})
