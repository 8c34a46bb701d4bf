/**
 * What `/health` says, whatever has become of the database and of Redis.
 */
import { spawnSync } from "node:child_process"
import { setTimeout as wait } from "node:timers/promises"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import {
  eventually,
  jsonCall,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"
import { type RunningPostgres, type RunningService, startPostgres, startRedis } from "../support/services.ts"

interface Health {
  readonly status: string
  readonly version: string
  readonly timestamp: string
  readonly components: {
    readonly database: string
    readonly counters: string
    readonly ledger: string
    readonly migrations: string
    readonly providers: string
    readonly details: { readonly schema: string | null; readonly ledger: { readonly pending: number; readonly lease_in_time: boolean } }
  }
}

describe("/health", () => {
  let postgres: RunningPostgres
  let redis: RunningService
  let server: RunningServer
  const directory = temporaryDirectory()

  beforeAll(async () => {
    postgres = await startPostgres()
    redis = await startRedis()
    server = await startServer({ ...serviceSettings(postgres.url, redis.url), DATA_DIR: directory.path, LOG_LEVEL: "None" })
  }, 60_000)
  afterAll(async () => {
    await server?.stop("SIGKILL")
    await postgres?.stop()
    await redis?.stop()
    directory.remove()
  })

  const look = async () => {
    const since = performance.now()
    const answer = await jsonCall<Health>(server.url, null, "GET", "/health")
    // Far less than a database is waited for elsewhere; the rest is this machine's.
    assert.isBelow(performance.now() - since, 4_000)
    assert.strictEqual(answer.status, 200)
    return answer.body
  }

  /** Holds a server and all its processes, or lets them go on. */
  const signal = (pid: number, name: "STOP" | "CONT") => {
    spawnSync("pkill", [`-${name}`, "-P", String(pid)])
    process.kill(pid, `SIG${name}`)
  }

  it("CM-11.6 CM-11.7 CM-11.8 has a version, a status, and the time in UTC", async () => {
    const health = await look()
    assert.match(health.version, /^\d+\.\d+\.\d+$/)
    assert.strictEqual(health.status, "operational")
    assert.match(health.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.closeTo(Date.parse(health.timestamp), Date.now(), 5_000)
    const parts = {
      database: "operational",
      counters: "operational",
      ledger: "operational",
      migrations: "operational",
      providers: "operational"
    }
    assert.deepInclude(health.components, parts)
    assert.match(health.components.details.schema ?? "", /^\d+_\w+$/)
    assert.deepInclude(health.components.details.ledger, { pending: 0, lease_in_time: true })
  })

  it("CM-11.5 CM-11.7 answers 200 in a bounded time while both stand still, and says so; then that all is well again", async () => {
    signal(postgres.pid, "STOP")
    signal(redis.pid, "STOP")
    try {
      await eventually(async () => {
        const health = await look()
        assert.strictEqual(health.status, "degraded")
        assert.deepInclude(health.components, { database: "down", counters: "down", migrations: "unknown" })
      }, 10_000)
      const many = await Promise.all(Array.from({ length: 50 }, look))
      for (const { status } of many) assert.strictEqual(status, "degraded")
      assert.strictEqual((await jsonCall(server.url, null, "GET", "/health/live")).status, 200)
    } finally {
      signal(postgres.pid, "CONT")
      signal(redis.pid, "CONT")
    }
    await eventually(async () => assert.strictEqual((await look()).status, "operational"), 20_000)
  }, 60_000)

  it("CM-11.5 answers 200 with both gone; an end that waits for the database is told of", async () => {
    const customer = await newCustomer(server, { balanceUsd: "10" })
    const ask = () =>
      jsonCall(server.url, customer.key, "POST", "/v1/chat/completions", {
        model: "sandbox/echo",
        messages: [{ role: "user", content: "Hi" }]
      })
    // In use all the while: what is known of a new customer is read once more when the change is seen, and an idle lease goes back.
    let isGone = false
    const inUse = async () => {
      const seen: Array<number> = []
      while (!isGone) {
        seen.push((await ask()).status)
        await wait(50)
      }
      return [...seen, (await ask()).status]
    }
    const statuses = inUse()
    await wait(1_500)
    await redis.stop()
    await postgres.crash()
    isGone = true
    assert.deepStrictEqual([...new Set(await statuses)], [200])
    await eventually(async () => {
      const health = await look()
      assert.strictEqual(health.status, "degraded")
      assert.deepInclude(health.components, { database: "down", counters: "down", ledger: "degraded" })
      assert.isAbove(health.components.details.ledger.pending, 0)
    }, 10_000)
    await postgres.restart()
    await eventually(async () => {
      const { components } = await look()
      assert.deepInclude(components, { database: "operational", ledger: "operational", counters: "down" })
    }, 30_000)
  }, 60_000)
})
