/**
 * `Idempotency-Key`: whatever happens, one key is charged once.
 */
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase } from "../support/database.ts"
import {
  type Customer,
  entriesOf,
  eventually,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

for (const mode of ["embedded", "service"] as const) {
  describe(`idempotency in ${mode} mode`, () => {
    let mock: MockProvider
    let server: RunningServer
    let customer: Customer
    let settings: Record<string, string>
    const directory = temporaryDirectory()

    beforeAll(async () => {
      mock = await startMockProvider()
      settings = {
        ...(mode === "embedded" ? {} : serviceSettings(await freshDatabase(inject("databaseUrl")))),
        DATA_DIR: directory.path,
        OPENAI_API_KEY: "sk-openai",
        OPENAI_BASE_URL: mock.url
      }
      server = await startServer(settings)
      customer = await newCustomer(server, { balanceUsd: "10" })
    })
    beforeEach(() => mock.reset())
    afterAll(async () => {
      await server?.stop()
      await mock?.close()
      directory.remove()
    })

    const ask = async (key: string, more: object = {}, signal?: AbortSignal) => {
      const response = await fetch(`${server.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify({ model: "gpt-4o", max_tokens: 50, messages: [{ role: "user", content: "hello" }], ...more }),
        ...(signal === undefined ? {} : { signal })
      })
      return { status: response.status, headers: response.headers, text: await response.text() }
    }
    const charges = async () => (await entriesOf(server, customer.key)).filter((entry) => entry.kind === "charge").length

    it("100 at once make one provider call and one charge; the others are told to come again", async () => {
      const before = await charges()
      mock.script({ times: 100, headDelayMs: 500 })
      const answers = await Promise.all(Array.from({ length: 100 }, () => ask("hundred")))
      assert.strictEqual(answers.filter((answer) => answer.status === 200).length, 1)
      const others = answers.filter((answer) => answer.status === 409)
      assert.strictEqual(others.length, 99)
      assert.isTrue(others.every((answer) => answer.headers.get("retry-after") === "1"))
      assert.strictEqual(mock.calls().length, 1)
      assert.strictEqual((await charges()) - before, 1)
    })

    for (const stream of [false, true]) {
      it(`a finished one is replayed${stream ? ", streamed" : ""}, another body is refused`, async () => {
        const key = `replay-${stream}`
        const first = await ask(key, { stream })
        const before = await charges()
        const again = await ask(key, { stream })
        assert.strictEqual(first.status, 200)
        assert.strictEqual(again.text, first.text)
        assert.strictEqual(again.headers.get("idempotent-replayed"), "true")
        assert.strictEqual(again.headers.get("content-type")?.split(";")[0], stream ? "text/event-stream" : "application/json")
        assert.strictEqual((await ask(key, { stream, temperature: 1 })).status, 422)
        assert.strictEqual(mock.calls().length, 1)
        assert.strictEqual(await charges(), before)
      })
    }

    it("one that failed uncharged runs again", async () => {
      mock.script({ status: 400 })
      assert.strictEqual((await ask("failed")).status, 400)
      assert.strictEqual((await ask("failed")).status, 200)
      mock.script({ cut: true })
      assert.include((await ask("cut", { stream: true })).text, '{"error":')
      assert.include((await ask("cut", { stream: true })).text, '"finish_reason":"stop"')
    })

    it("one whose caller left was charged, and does not run again", async () => {
      const before = await charges()
      mock.script({ chunks: 500, chunkDelayMs: 20 })
      const controller = new AbortController()
      const left = ask("left", { stream: true }, controller.signal).catch(() => null)
      await eventually(() => assert.strictEqual(mock.calls().length, 1))
      await new Promise((resolve) => setTimeout(resolve, 200))
      controller.abort()
      await left
      await eventually(async () => assert.strictEqual(await charges(), before + 1))
      await eventually(async () => assert.strictEqual((await ask("left", { stream: true })).headers.get("retry-after"), null))
      assert.strictEqual((await ask("left", { stream: true })).status, 409)
      assert.strictEqual(mock.calls().length, 1)
    })

    it("one whose process died runs again, and is charged once", async () => {
      const before = await charges()
      mock.script({ headDelayMs: 60_000 })
      const lost = ask("died").catch(() => null)
      await eventually(() => assert.strictEqual(mock.calls().length, 1))
      await server.stop("SIGKILL")
      await lost
      server = await startServer(settings)
      await eventually(async () => assert.strictEqual((await ask("died")).status, 200), 5_000)
      assert.strictEqual((await charges()) - before, 1)
      assert.strictEqual((await ask("died")).headers.get("idempotent-replayed"), "true")
      assert.deepInclude((await server.admin("GET", "/admin/ledger/check")).body, { ok: true })
    }, 60_000)

    it("a key that is too long is refused", async () => {
      assert.strictEqual((await ask("k".repeat(256))).status, 400)
      assert.strictEqual((await ask("k".repeat(255))).status, 200)
    })
  })
}
