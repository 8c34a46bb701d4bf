/**
 * Two servers over one database and one Redis: what one finds out of a provider, the other knows.
 */
import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase } from "../support/database.ts"
import {
  type Customer,
  eventually,
  jsonCall,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"
import { type RunningService, startRedis } from "../support/services.ts"

describe("circuits of two servers", () => {
  const directory = temporaryDirectory()
  let mock: MockProvider
  let redis: RunningService
  let servers: ReadonlyArray<RunningServer> = []
  let customer: Customer
  let start: (name: string) => Promise<RunningServer>

  beforeAll(async () => {
    mock = await startMockProvider()
    redis = await startRedis()
    const settings = {
      ...serviceSettings(await freshDatabase(inject("databaseUrl")), redis.url),
      OPENAI_API_KEY: "sk-openai",
      OPENAI_BASE_URL: mock.url,
      BREAKER_RECOVERY_MS: "3000"
    }
    start = (name) => startServer({ ...settings, DATA_DIR: `${directory.path}/${name}` })
    const first = await start("first")
    servers = [first, await start("second")]
    customer = await newCustomer(first, { balanceUsd: "10" })
  })
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()))
    await mock?.close()
    await redis?.stop()
    directory.remove()
  })

  const ask = (server: RunningServer, script: object = {}) =>
    jsonCall(server.url, customer.key, "POST", "/v1/chat/completions", {
      model: "gpt-4o",
      messages: [{ role: "user", content: "hello" }],
      mock: script
    })
  const stateOf = async (server: RunningServer) =>
    (await server.admin<{ data: ReadonlyArray<{ provider: string; state: string }> }>("GET", "/admin/breakers")).body.data.find(
      (breaker) => breaker.provider === "openai"
    )?.state

  it("one opens, both keep away, a third learns of it at its start; one probe for all; its success closes everywhere", async () => {
    const [first, second] = servers
    assert.isDefined(first)
    assert.isDefined(second)
    for (let i = 0; i < 5; i++) assert.strictEqual((await ask(first, { status: 401 })).status, 502)
    await eventually(async () => assert.strictEqual(await stateOf(second), "open"))
    const before = mock.calls().length
    assert.strictEqual((await ask(second)).status, 503)
    assert.strictEqual(mock.calls().length, before)
    const third = await start("third")
    servers = [first, second, third]
    assert.notStrictEqual(await stateOf(third), "closed")

    for (const server of servers) await eventually(async () => assert.strictEqual(await stateOf(server), "half_open"))
    const asked = await Promise.all([...servers, ...servers].map((server) => ask(server, { headDelayMs: 300 })))
    assert.deepStrictEqual(asked.map(({ status }) => status).sort(), [200, 503, 503, 503, 503, 503])
    assert.strictEqual(mock.calls().length, before + 1)
    for (const server of servers) await eventually(async () => assert.strictEqual(await stateOf(server), "closed"))
    assert.strictEqual((await ask(third)).status, 200)
  })

  it("without Redis every request is answered, and each server judges alone", async () => {
    await redis.stop()
    for (const server of servers) assert.strictEqual((await ask(server)).status, 200)
    const [first, second] = servers
    assert.isDefined(first)
    assert.isDefined(second)
    for (let i = 0; i < 5; i++) await ask(first, { status: 401 })
    assert.strictEqual(await stateOf(first), "open")
    assert.strictEqual(await stateOf(second), "closed")
    assert.strictEqual((await ask(second)).status, 200)
  })
})
