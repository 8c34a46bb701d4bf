import { assert, describe, it } from "@effect/vitest"
import type { Script } from "../../bench/mock/Script.ts"
import { house, pico } from "../support/house.ts"
import { type Customer, creditsOf, entriesOf, jsonCall, newCustomer } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })
const ask = (customer: Customer, more: object = {}) =>
  jsonCall<{ error?: { code: string; message: string } }>(our.server.url, customer.key, "POST", "/v1/chat/completions", {
    model: "gpt-4o",
    max_tokens: 100,
    messages: [{ role: "user", content: "hello" }],
    ...more
  })

/** 2 prompt tokens and 100 output tokens of GPT-4o. */
const ESTIMATE = "0.001005"

describe("credits", () => {
  it("CM-6.3.1 without credits: 402, and the message says what is missing", async () => {
    const poor = await newCustomer(our.server, { balanceUsd: "0" })
    const { body, status } = await ask(poor)
    assert.strictEqual(status, 402)
    assert.strictEqual(body.error?.code, "INSUFFICIENT_CREDITS")
    assert.include(body.error?.message, ESTIMATE)
  })

  it("CM-6.3.3 a balance of exactly the estimate passes", async () => {
    const exact = await newCustomer(our.server, { balanceUsd: ESTIMATE })
    assert.strictEqual((await ask(exact)).status, 200)
    const short = await newCustomer(our.server, { balanceUsd: "0.001004999999" })
    assert.strictEqual((await ask(short)).status, 402)
  })

  it("CM-6.3.4 a failed pre-flight makes no provider call, streaming or not", async () => {
    const poor = await newCustomer(our.server, { balanceUsd: "0.001" })
    assert.strictEqual((await ask(poor)).status, 402)
    assert.strictEqual((await ask(poor, { stream: true })).status, 402)
    assert.strictEqual(our.mock.calls().length, 0)
  })

  it("without max_tokens the hold is clamped to what the account can pay, and bounds the output", async () => {
    const some = await newCustomer(our.server, { balanceUsd: "0.005005" })
    assert.strictEqual((await ask(some, { max_tokens: undefined })).status, 200)
    assert.strictEqual(our.mock.calls()[0]?.body["max_tokens"], 500)
    const less = await newCustomer(our.server, { balanceUsd: "0.002" })
    assert.strictEqual((await ask(less, { max_tokens: undefined })).status, 402)
  })

  const refunds: ReadonlyArray<readonly [string, Script, number]> = [
    ["CM-6.5.1 upstream 500: the whole amount is back, with a refund entry naming the request", { status: 500, times: 2 }, 502],
    ["CM-6.5.1 upstream 502: the same", { status: 502, times: 2 }, 502],
    ["CM-6.5.1 upstream 503: the same", { status: 503, times: 2 }, 503],
    ["CM-6.5.2 upstream timeout: refunded", { hang: "head" }, 504],
    ["CM-6.5.3 a stream without content and tool call: refunded", { empty: true }, 502]
  ]
  for (const [title, script, expected] of refunds) {
    it(title, async () => {
      const customer = await newCustomer(our.server, { balanceUsd: "1" })
      our.mock.script(script)
      const { headers, status } = await ask(customer, { stream: title.includes("stream") })
      assert.strictEqual(status, expected)
      const [entry] = await entriesOf(our.server, customer.key)
      assert.strictEqual(entry?.kind, "refund")
      assert.strictEqual(entry?.request_id, headers.get("x-sluice-request-id"))
      assert.strictEqual(pico((await creditsOf(our.server, customer.key)).available_usd), pico("1"))
      const rows = await jsonCall<{ data: ReadonlyArray<{ outcome: string }> }>(our.server.url, customer.key, "GET", "/v1/requests")
      assert.strictEqual(rows.body.data[0]?.outcome, "refunded")
    })
  }

  it("CM-6.5.4 upstream 400 for the caller's mistake: nothing charged, and nothing called a refund", async () => {
    const customer = await newCustomer(our.server, { balanceUsd: "1" })
    our.mock.script({ status: 400 })
    assert.strictEqual((await ask(customer)).status, 400)
    assert.deepStrictEqual(
      (await entriesOf(our.server, customer.key)).filter((entry) => entry.request_id !== null),
      []
    )
    assert.strictEqual(pico((await creditsOf(our.server, customer.key)).available_usd), pico("1"))
  })
})
