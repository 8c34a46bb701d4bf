/**
 * Requests that a crash cuts: their rows, and that nobody pays for them.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase, runSql } from "../support/database.ts"
import {
  type Customer,
  creditsOf,
  eventually,
  jsonCall,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

interface Row {
  readonly id: string
  readonly outcome: string
  readonly status: number
  readonly cost_usd: string
  readonly stream: boolean
  readonly requested_model: string
  readonly client_request_id: string | null
}

for (const mode of ["embedded", "service"] as const) {
  describe(`requests that a crash cuts, in ${mode} mode`, () => {
    const directory = temporaryDirectory()
    let mock: MockProvider
    let server: RunningServer
    let database: string | null = null
    let customer: Customer
    const start = () =>
      startServer({
        ...(database === null ? {} : serviceSettings(database)),
        DATA_DIR: directory.path,
        OPENAI_API_KEY: "sk-openai",
        OPENAI_BASE_URL: mock.url,
        LOG_LEVEL: "None"
      })

    beforeAll(async () => {
      mock = await startMockProvider()
      if (mode === "service") database = await freshDatabase(inject("databaseUrl"))
      server = await start()
      customer = await newCustomer(server, { balanceUsd: "10" })
    }, 60_000)
    afterAll(async () => {
      await server?.stop("SIGKILL")
      await mock?.close()
      directory.remove()
    })

    const rows = async () => (await jsonCall<{ data: ReadonlyArray<Row> }>(server.url, customer.key, "GET", "/v1/requests")).body.data
    const open = async (id: string, more: object = {}) => {
      const response = await fetch(`${server.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json", "x-request-id": id },
        body: JSON.stringify({ model: "gpt-4o", stream: true, messages: [{ role: "user", content: "hello" }], ...more })
      })
      const reader = response.body?.getReader()
      await reader?.read()
      return response.headers.get("x-sluice-request-id")
    }

    it("each has a row `lost` at no cost after the restart, what ended before keeps its own", async () => {
      const short = await jsonCall<object>(server.url, customer.key, "POST", "/v1/chat/completions", {
        model: "gpt-4o",
        messages: [{ role: "user", content: "hello" }]
      })
      assert.strictEqual(short.status, 200)
      const before = await creditsOf(server, customer.key)
      mock.script({ times: 3, chunks: 100_000, chunkDelayMs: 50 })
      const cut = [await open("first"), await open("second"), await open("third")]
      // Nothing tells from outside that they were written down; the operator's database does.
      if (database !== null) {
        const url = database
        await eventually(async () => assert.strictEqual((await runSql(url, "SELECT id FROM requests_running")).length, 3))
      } else await new Promise((resolve) => setTimeout(resolve, 1_000))
      await server.stop("SIGKILL")
      mock.reset()
      server = await start()
      await eventually(async () => {
        const lost = (await rows()).filter((row) => row.outcome === "lost")
        assert.deepStrictEqual(lost.map(({ id }) => id).sort(), [...cut].sort())
        for (const row of lost) assert.deepInclude(row, { cost_usd: "0.00", stream: true, requested_model: "gpt-4o" })
        assert.deepStrictEqual(lost.map((row) => row.client_request_id).sort(), ["first", "second", "third"])
      }, 15_000)
      assert.strictEqual((await rows()).filter((row) => row.outcome === "ok").length, 1)
      await eventually(async () => assert.deepStrictEqual(await creditsOf(server, customer.key), before))
      const usage = await jsonCall<{ total: { requests: number; errors: number } }>(
        server.url,
        customer.key,
        "GET",
        "/v1/usage?group_by=model"
      )
      assert.deepInclude(usage.body.total, { requests: 4, errors: 3 })
    }, 60_000)

    it("one that runs for long and ends is as any other, and leaves nothing", async () => {
      mock.script({ chunks: 30, chunkDelayMs: 60 })
      const response = await fetch(`${server.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json", "x-request-id": "long" },
        body: JSON.stringify({ model: "gpt-4o", stream: true, messages: [{ role: "user", content: "hello" }] })
      })
      assert.include(await response.text(), "[DONE]")
      await eventually(async () =>
        assert.deepInclude(
          (await rows()).find((row) => row.client_request_id === "long"),
          { outcome: "ok" }
        )
      )
      if (database === null) return
      const url = database
      await eventually(async () => assert.strictEqual((await runSql(url, "SELECT id FROM requests_running")).length, 0))
    }, 30_000)
  })
}
