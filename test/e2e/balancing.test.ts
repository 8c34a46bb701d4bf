/**
 * The order of providers under the running server: fixed, moved by health, and as the caller wants it.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { pico } from "../support/house.ts"
import { type Customer, entriesOf, jsonCall, newCustomer, type RunningServer, startServer, temporaryDirectory } from "../support/server.ts"

describe("the order of providers", () => {
  const directory = temporaryDirectory()
  let mock: MockProvider
  let server: RunningServer
  let customer: Customer

  beforeAll(async () => {
    mock = await startMockProvider()
    const keys = ["openai", "openrouter", "together", "groq"].flatMap((slug) => [
      [`${slug.toUpperCase()}_API_KEY`, `sk-${slug}-key`],
      [`${slug.toUpperCase()}_BASE_URL`, mock.url]
    ])
    server = await startServer({ DATA_DIR: directory.path, BREAKER_FAILURES: "1000", ...Object.fromEntries(keys) })
    customer = await newCustomer(server, { balanceUsd: "10" })
  })
  afterAll(async () => {
    await server?.stop()
    await mock?.close()
    directory.remove()
  })

  const ask = async (model: string, more: object = {}) => {
    const { body, headers, status } = await jsonCall<{ error?: { code: string; param: string } }>(
      server.url,
      customer.key,
      "POST",
      "/v1/chat/completions",
      { model, messages: [{ role: "user", content: "hello" }], ...more }
    )
    return { status, provider: headers.get("x-sluice-provider"), error: body.error }
  }
  const llama = "meta-llama/llama-3.3-70b-instruct"
  const only = (...slugs: ReadonlyArray<string>) => ({ only: slugs })

  it("X-9 CM-11.4 a provider that fails more often than not is moved back by what requests have shown, and never left out", async () => {
    const failing = { mock: [{ apiKey: "sk-openai-key", status: 503 }] }
    for (let i = 0; i < 20; i++) assert.strictEqual((await ask("openai/gpt-4o", failing)).provider, "openrouter")
    const before = mock.calls().length
    assert.strictEqual((await ask("openai/gpt-4o")).provider, "openrouter")
    assert.strictEqual(mock.calls().length, before + 1)
    assert.strictEqual((await ask("openai/gpt-4o", { provider: { order: ["openai"] } })).provider, "openai")
    const other = { mock: [{ apiKey: "sk-openrouter-key", status: 503 }] }
    assert.strictEqual((await ask("openai/gpt-4o", other)).provider, "openai")
  })

  it("X-11 provider.sort: price asks the cheapest first", async () => {
    assert.strictEqual((await ask(llama, { provider: { ...only("together", "groq"), sort: "price" } })).provider, "groq")
    assert.strictEqual((await ask(llama, { provider: { sort: "price" } })).provider, "openrouter")
    assert.strictEqual((await ask(llama, { provider: only("together", "groq") })).provider, "together")
  })

  it("X-10 provider.sort: latency asks the quickest of the latest requests first", async () => {
    const both = only("together", "groq")
    for (let i = 0; i < 3; i++) {
      await ask(llama, { provider: only("together"), mock: { headDelayMs: 150 } })
      await ask(llama, { provider: only("groq") })
    }
    assert.strictEqual((await ask(llama, { provider: { ...both, sort: "latency" } })).provider, "groq")
    assert.strictEqual((await ask(llama, { provider: both })).provider, "together")
  })

  it("an unknown sort is refused", async () => {
    const refused = await ask(llama, { provider: { sort: "mood" } })
    assert.strictEqual(refused.status, 400)
    assert.strictEqual(refused.error?.param, "provider.sort")
  })

  it("X-32 a failover to a dearer provider is charged at that provider's price", async () => {
    const failing = { mock: [{ apiKey: "sk-groq-key", status: 503 }], provider: { order: ["groq", "together"], allow_fallbacks: false } }
    assert.strictEqual((await ask(llama, failing)).provider, "together")
    const [entry] = await entriesOf(server, customer.key)
    assert.strictEqual(entry?.provider, "together")
    assert.strictEqual(pico(entry?.amount_usd ?? "0"), -(15n * 880_000n))
  })
})
