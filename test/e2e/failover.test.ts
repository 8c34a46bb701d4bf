/**
 * Two providers behind the server, one of them misbehaving.
 */
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { pico } from "../support/house.ts"
import {
  type Customer,
  entriesOf,
  eventually,
  jsonCall,
  newCustomer,
  type RunningServer,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

interface Breaker {
  readonly provider: string
  readonly state: string
  readonly failures: number
}

describe("failover between two providers", () => {
  let first: MockProvider
  let second: MockProvider
  let server: RunningServer
  let customer: Customer
  const directory = temporaryDirectory()

  beforeAll(async () => {
    first = await startMockProvider()
    second = await startMockProvider()
    server = await startServer({
      DATA_DIR: directory.path,
      OPENAI_API_KEY: "sk-first",
      OPENAI_BASE_URL: first.url,
      OPENROUTER_API_KEY: "sk-second",
      OPENROUTER_BASE_URL: second.url,
      PROVIDER_FIRST_BYTE_TIMEOUT_MS: "300",
      BREAKER_RECOVERY_MS: "400"
    })
    customer = await newCustomer(server, { balanceUsd: "10" })
  })
  beforeEach(async () => {
    first.reset()
    second.reset()
    await server.admin("POST", "/admin/breakers/openai/reset")
    await server.admin("POST", "/admin/breakers/openrouter/reset")
  })
  afterAll(async () => {
    await server?.stop()
    await first?.close()
    await second?.close()
    directory.remove()
  })

  const ask = (more: object = {}) =>
    jsonCall<{ model: string; error?: { code: string } }>(server.url, customer.key, "POST", "/v1/chat/completions", {
      model: "gpt-4o",
      messages: [{ role: "user", content: "hello" }],
      ...more
    })
  const breakerOf = async (provider: string) =>
    (await server.admin<{ data: ReadonlyArray<Breaker> }>("GET", "/admin/breakers")).body.data.find(
      (breaker) => breaker.provider === provider
    )

  const scripts = [
    { status: 503 },
    { status: 401 },
    { status: 404 },
    { hang: "head" },
    { reset: "head", times: 2 },
    { empty: true },
    { malformed: true }
  ] as const
  for (const script of scripts) {
    it(`answers from the second when the first gives ${JSON.stringify(script)}`, async () => {
      first.script(script)
      const { body, headers, status } = await ask()
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("x-sluice-provider"), "openrouter")
      assert.strictEqual(body.model, "openai/gpt-4o")
      assert.strictEqual(second.calls()[0]?.body["model"], "openai/gpt-4o")
      const [entry] = await entriesOf(server, customer.key)
      assert.strictEqual(entry?.provider, "openrouter")
      assert.strictEqual(pico(entry?.amount_usd ?? "0"), -(10n * 2_500_000n + 5n * 10_000_000n))
    })
  }

  it("a stream that fails before its content is answered by the second; after it, never begun anew", async () => {
    const stream = async () => {
      const response = await fetch(`${server.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "gpt-4o", stream: true, messages: [{ role: "user", content: "hello" }] })
      })
      return { provider: response.headers.get("x-sluice-provider"), text: await response.text() }
    }
    first.script({ empty: true }, { cut: true })
    const early = await stream()
    assert.strictEqual(early.provider, "openrouter")
    assert.include(early.text, '"finish_reason":"stop"')
    const late = await stream()
    assert.strictEqual(late.provider, "openai")
    assert.include(late.text, '{"error":')
    assert.strictEqual(second.calls().length, 1)
  })

  it("429 is waited for at the same provider, as long as it says", async () => {
    first.script({ status: 429, headers: { "retry-after": "1" } })
    const since = Date.now()
    const { headers, status } = await ask()
    assert.strictEqual(status, 200)
    assert.isAtLeast(Date.now() - since, 1_000)
    assert.strictEqual(headers.get("x-sluice-provider"), "openai")
    first.script({ status: 429, headers: { "retry-after": "120" } })
    const limited = await ask()
    assert.strictEqual(limited.status, 429)
    assert.strictEqual(limited.headers.get("retry-after"), "120")
    assert.strictEqual(second.calls().length, 0)
  })

  it("the circuit opens at the fifth failure, keeps calls away, lets one probe through, and closes", async () => {
    first.script({ status: 503, times: 5 })
    for (let i = 0; i < 5; i++) assert.strictEqual((await ask()).status, 200)
    assert.deepInclude(await breakerOf("openai"), { state: "open", failures: 5 })
    await ask()
    assert.strictEqual(first.calls().length, 5)
    await eventually(async () => assert.deepInclude(await breakerOf("openai"), { state: "half_open" }))
    const health = await jsonCall<{ status: string }>(server.url, null, "GET", "/health")
    assert.deepInclude(health, { status: 200 })
    assert.strictEqual(health.body.status, "degraded")
    assert.strictEqual((await ask()).headers.get("x-sluice-provider"), "openai")
    assert.deepInclude(await breakerOf("openai"), { state: "closed", failures: 0 })
  })

  it("the caller's provider and fallback models are honoured, and the answer names who answered", async () => {
    assert.strictEqual((await ask({ provider: "openrouter" })).headers.get("x-sluice-provider"), "openrouter")
    first.script({ status: 503, times: 10 })
    second.script({ status: 503, times: 2 })
    const { body, status } = await ask({ models: ["openai/gpt-4o-mini"] })
    assert.strictEqual(status, 200)
    assert.strictEqual(body.model, "openai/gpt-4o-mini")
    const only = await ask({ provider: { only: ["openai"] } })
    assert.strictEqual(only.status, 503)
  })
})
