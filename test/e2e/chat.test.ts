/**
 * One request, whole: the official client against the built server, the mock as its provider.
 */
import { afterAll, assert, beforeAll, beforeEach, describe, it } from "@effect/vitest"
import OpenAI from "openai"
import { inject } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import type { Script } from "../../bench/mock/Script.ts"
import { freshDatabase } from "../support/database.ts"
import { pico } from "../support/house.ts"
import {
  type Customer,
  creditsOf,
  entriesOf,
  eventually,
  jsonCall,
  newCustomer,
  openAi,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

const hello = [{ role: "user" as const, content: "hello" }]

/** GPT-4o's listed price: 2.5 and 10 USD per million tokens. */
const PROMPT = 2_500_000n
const COMPLETION = 10_000_000n

for (const mode of ["embedded", "service"] as const) {
  describe(`a chat request in ${mode} mode`, () => {
    let mock: MockProvider
    let server: RunningServer
    let customer: Customer
    let client: OpenAI
    const directory = temporaryDirectory()

    beforeAll(async () => {
      mock = await startMockProvider()
      const settings = mode === "embedded" ? {} : serviceSettings(await freshDatabase(inject("databaseUrl")), inject("redisUrl"))
      server = await startServer({
        ...settings,
        DATA_DIR: directory.path,
        OPENAI_API_KEY: "sk-openai",
        OPENAI_BASE_URL: mock.url,
        PROVIDER_FIRST_BYTE_TIMEOUT_MS: "400",
        PROVIDER_IDLE_TIMEOUT_MS: "400",
        BREAKER_FAILURES: "1000"
      })
      customer = await newCustomer(server, { balanceUsd: "10" })
      client = openAi(server, customer.key)
    })
    beforeEach(() => mock.reset())
    afterAll(async () => {
      await server?.stop()
      await mock?.close()
      directory.remove()
    })

    const lastEntry = async () => {
      const [entry] = await entriesOf(server, customer.key)
      assert.isDefined(entry)
      return entry
    }

    it("answers whole, billed to the picodollar", async () => {
      mock.script({ usage: { prompt_tokens: 123, completion_tokens: 45, total_tokens: 168 } })
      const answer = await client.chat.completions.create({ model: "gpt-4o", messages: hello }).withResponse()
      assert.match(answer.data.id, /^chatcmpl-/)
      assert.strictEqual(answer.data.model, "openai/gpt-4o")
      assert.deepInclude(answer.data.usage, { prompt_tokens: 123, completion_tokens: 45, total_tokens: 168 })
      const entry = await lastEntry()
      assert.strictEqual(entry.kind, "charge")
      assert.strictEqual(pico(entry.amount_usd), -(123n * PROMPT + 45n * COMPLETION))
      assert.strictEqual(entry.request_id, answer.response.headers.get("x-sluice-request-id"))
      assert.strictEqual(pico(answer.response.headers.get("x-sluice-cost-usd") ?? ""), -pico(entry.amount_usd))
      const [call] = mock.calls()
      assert.strictEqual(call?.headers["authorization"], "Bearer sk-openai")
      assert.strictEqual(call?.body["model"], "gpt-4o")
    })

    it("streams, and is billed when the end is told", async () => {
      mock.script({ text: "one two three", chunks: 3, usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 } })
      const stream = await client.chat.completions.create({
        model: "openai/gpt-4o",
        messages: hello,
        stream: true,
        stream_options: { include_usage: true }
      })
      let text = ""
      const finishes: Array<string> = []
      let usage = 0
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? ""
        const reason = chunk.choices[0]?.finish_reason
        if (reason !== null && reason !== undefined) finishes.push(reason)
        usage += chunk.usage?.total_tokens ?? 0
      }
      assert.strictEqual(text, "one two three")
      assert.deepStrictEqual(finishes, ["stop"])
      assert.strictEqual(usage, 10)
      assert.strictEqual(pico((await lastEntry()).amount_usd), -(7n * PROMPT + 3n * COMPLETION))
    })

    it("passes unknown request fields on and keeps provider-only fields back", async () => {
      mock.script({ extraFields: true })
      const { body } = await jsonCall(server.url, customer.key, "POST", "/v1/chat/completions", {
        model: "gpt-4o",
        messages: hello,
        x_new_field: { a: 1 },
        seed: 7
      })
      assert.deepInclude(mock.calls()[0]?.body, { x_new_field: { a: 1 }, seed: 7 })
      assert.notInclude(JSON.stringify(body), "x_host")
      assert.notInclude(JSON.stringify(body), "x_provider_note")
    })

    it("assembles tool calls, whole and streamed", async () => {
      const toolCalls = [
        { name: "weather", arguments: '{"city":"Paris"}' },
        { name: "time", arguments: '{"zone":"CET"}' }
      ]
      mock.script({ toolCalls }, { toolCalls })
      const tools = [{ type: "function" as const, function: { name: "weather", parameters: { type: "object" } } }]
      const whole = await client.chat.completions.create({ model: "gpt-4o", messages: hello, tools })
      assert.strictEqual(whole.choices[0]?.finish_reason, "tool_calls")
      const runner = client.chat.completions.stream({ model: "gpt-4o", messages: hello, tools })
      const final = await runner.finalChatCompletion()
      for (const answer of [whole, final]) {
        const calls = answer.choices[0]?.message.tool_calls?.map((call) => (call.type === "function" ? call.function : null))
        assert.deepStrictEqual(
          calls?.map((call) => ({ name: call?.name, arguments: call?.arguments })),
          toolCalls
        )
      }
    })

    const faults: ReadonlyArray<readonly [string, Script, number]> = [
      ["500", { status: 500, times: 2 }, 502],
      ["502", { status: 502, times: 2 }, 502],
      ["503", { status: 503, times: 2 }, 503],
      ["504", { status: 504, times: 2 }, 504],
      ["401", { status: 401 }, 502],
      ["no first byte", { hang: "head" }, 504],
      ["silence after the head", { hang: "first_chunk" }, 504],
      ["a reset before the head", { reset: "head", times: 2 }, 503],
      ["a reset after the head", { reset: "after_head" }, 503],
      ["an empty answer", { empty: true }, 502]
    ]
    for (const stream of [false, true]) {
      for (const [name, script, status] of faults) {
        it(`refunds ${name}${stream ? ", streamed" : ""}`, async () => {
          const before = await creditsOf(server, customer.key)
          mock.script(script)
          const error = await client.chat.completions.create({ model: "gpt-4o", messages: hello, stream }).then(
            () => null,
            (cause: unknown) => cause
          )
          assert.instanceOf(error, OpenAI.APIError)
          if (error instanceof OpenAI.APIError) {
            assert.strictEqual(error.status, status)
            assert.notInclude(JSON.stringify(error.error), "sk-openai")
          }
          const entry = await lastEntry()
          assert.strictEqual(entry.kind, "refund")
          assert.strictEqual(pico(entry.amount_usd), 0n)
          const after = await creditsOf(server, customer.key)
          assert.strictEqual(after.available_usd, before.available_usd)
          assert.strictEqual(pico(after.held_usd), 0n)
        })
      }
    }

    const midway: ReadonlyArray<readonly [string, Script]> = [
      ["cut", { cut: true, chunks: 6 }],
      ["reset", { reset: "mid", chunks: 6 }],
      ["stalled", { hang: "mid", chunks: 6 }],
      ["malformed", { malformed: true, chunks: 6 }],
      ["reported as failed by its provider", { errorEvent: true, chunks: 6 }]
    ]
    for (const [name, script] of midway) {
      it(`tells a stream that is ${name} midway in-band, and refunds it`, async () => {
        const before = await creditsOf(server, customer.key)
        mock.script(script)
        const response = await fetch(`${server.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
          body: JSON.stringify({ model: "gpt-4o", messages: hello, stream: true })
        })
        const text = await response.text()
        assert.strictEqual(response.status, 200)
        assert.include(text, "word0")
        assert.notInclude(text, '"finish_reason":"stop"')
        assert.match(text, /data: \{"error":\{"message":"[^"]+","type":"api_error"/)
        assert.strictEqual(text.split("data: [DONE]").length, 2)
        assert.strictEqual((await lastEntry()).kind, "refund")
        assert.strictEqual((await creditsOf(server, customer.key)).available_usd, before.available_usd)
      })
    }

    it("returns the caller's mistake at once, with no refund and one call", async () => {
      const entries = (await entriesOf(server, customer.key)).length
      mock.script({
        status: 400,
        body: { error: { message: "bad temperature", type: "invalid_request_error", code: "bad", param: "temperature" } }
      })
      const error = await client.chat.completions.create({ model: "gpt-4o", messages: hello }).catch((cause: unknown) => cause)
      assert.instanceOf(error, OpenAI.BadRequestError)
      assert.include(String(error), "bad temperature")
      assert.strictEqual(mock.calls().length, 1)
      assert.strictEqual((await entriesOf(server, customer.key)).length, entries)
      assert.strictEqual(pico((await creditsOf(server, customer.key)).held_usd), 0n)
    })

    it("lets the provider see within 100 ms that the caller left, and charges what was produced", async () => {
      mock.script({ chunks: 200, chunkDelayMs: 20 })
      const controller = new AbortController()
      const stream = await client.chat.completions.create(
        { model: "gpt-4o", messages: [{ role: "user", content: "x".repeat(400) }], stream: true },
        { signal: controller.signal }
      )
      let produced = 0
      for await (const chunk of stream) {
        produced += (chunk.choices[0]?.delta.content ?? "").length
        if (produced > 20) break
      }
      const leftAt = Date.now()
      controller.abort()
      await eventually(() => assert.isNumber(mock.calls()[0]?.abortedAt))
      assert.isBelow((mock.calls()[0]?.abortedAt ?? 0) - leftAt, 100)
      await eventually(async () => {
        const entry = await lastEntry()
        assert.strictEqual(entry.kind, "charge")
        const least = 100n * PROMPT + BigInt(Math.ceil(produced / 4)) * COMPLETION
        assert.isTrue(-pico(entry.amount_usd) >= least && -pico(entry.amount_usd) < 2n * least, entry.amount_usd)
      })
      const rows = await jsonCall<{ data: ReadonlyArray<{ outcome: string; usage_source: string }> }>(
        server.url,
        customer.key,
        "GET",
        "/v1/requests?limit=1"
      )
      assert.deepInclude(rows.body.data[0], { outcome: "cancelled", usage_source: "estimated" })
    })
  })
}
