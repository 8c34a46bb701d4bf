/**
 * What the public protocols have in common on the wire, and where each has its own shape: errors, signs of life, headers, keys
 * that name a request.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { type Customer, entriesOf, eventually, newCustomer } from "../support/server.ts"

const our = house({
  BREAKER_FAILURES: "1000",
  SSE_KEEPALIVE_MS: "60",
  PROVIDER_FIRST_BYTE_TIMEOUT_MS: "2000",
  PROVIDER_IDLE_TIMEOUT_MS: "2000"
})

let customer: Customer

beforeAll(async () => {
  customer = await newCustomer(our.server, { balanceUsd: "10" })
})

interface Protocol {
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  readonly sign: string
  /** The last event of a whole stream. */
  readonly end: string
  readonly isError: (body: Record<string, unknown>) => boolean
}

const isOpenAiError = (body: Record<string, unknown>): boolean =>
  Object.keys(body).join() === "error" && /^\{"message":"[^"]+/.test(JSON.stringify(body["error"]))

const protocols: ReadonlyArray<Protocol> = [
  {
    path: "/v1/chat/completions",
    body: { messages: [{ role: "user", content: "hello" }] },
    sign: ": keep-alive",
    end: "data: [DONE]",
    isError: isOpenAiError
  },
  { path: "/v1/responses", body: { input: "hello" }, sign: ": keep-alive", end: "event: response.completed", isError: isOpenAiError },
  {
    path: "/v1/messages",
    body: { max_tokens: 50, messages: [{ role: "user", content: "hello" }] },
    sign: "event: ping",
    end: "event: message_stop",
    isError: (body) => body["type"] === "error" && typeof body["request_id"] === "string" && typeof body["error"] === "object"
  }
]

const post = async (protocol: Protocol, more: object = {}, headers: Record<string, string> = {}, path = protocol.path) => {
  const response = await fetch(our.server.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: "gpt-4o", ...protocol.body, ...more })
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const charges = async () => (await entriesOf(our.server, customer.key)).filter((entry) => entry.kind === "charge").length

for (const protocol of protocols) {
  describe(protocol.path, () => {
    it("has its own shape of error for every failure", async () => {
      const poor = await newCustomer(our.server, { balanceUsd: "0" })
      our.mock.script({ status: 500, times: 2 })
      const failures = [
        [401, await post(protocol, {}, { authorization: "Bearer nobody" })],
        [402, await post(protocol, {}, { authorization: `Bearer ${poor.key}` })],
        [400, await post(protocol, { model: 7 })],
        [400, await post(protocol, { max_tokens: "many", max_output_tokens: "many" })],
        [404, await post(protocol, { model: "no-such-model" })],
        [404, await post(protocol, {}, {}, `${protocol.path}/nothing`)],
        [400, await post(protocol, {}, { "idempotency-key": "k".repeat(300) })],
        [502, await post(protocol)]
      ] as const
      for (const [status, { headers, text, ...answer }] of failures) {
        assert.strictEqual(answer.status, status, text)
        assert.isTrue(protocol.isError(JSON.parse(text)), text)
        assert.isString(headers.get("x-request-id"))
        assert.notInclude(text, "sk-openai")
      }
    })

    it("says who answered and what it cost, and counts the limits", async () => {
      const whole = await post(protocol, {}, { "x-request-id": "mine" })
      assert.strictEqual(whole.headers.get("x-request-id"), "mine")
      assert.deepInclude(Object.fromEntries(whole.headers), {
        "x-sluice-provider": "openai",
        "x-sluice-model": "openai/gpt-4o",
        "content-type": "application/json"
      })
      assert.isAbove(Number(whole.headers.get("x-sluice-cost-usd")), 0)
      const streamed = await post(protocol, { stream: true })
      assert.strictEqual(streamed.headers.get("content-type"), "text/event-stream")
      assert.strictEqual(streamed.headers.get("x-sluice-provider"), "openai")
      assert.strictEqual(streamed.text.split(protocol.end).length, 2)
    })

    it("writes signs of life while a provider is silent, between whole events", async () => {
      our.mock.script({ text: "one two three four", chunks: 4, chunkDelayMs: 250 })
      const { text } = await post(protocol, { stream: true })
      const events = text.split("\n\n").filter((event) => event !== "")
      const signs = events.filter((event) => event.startsWith(protocol.sign)).length
      assert.isAbove(signs, 3)
      for (const event of events) {
        const data = event.split("\n").find((line) => line.startsWith("data: "))
        if (data !== undefined && data !== "data: [DONE]") assert.isObject(JSON.parse(data.slice(6)))
        else assert.isTrue(event === protocol.sign || event === "data: [DONE]", event)
      }
      assert.isTrue(events.at(-1)?.startsWith(protocol.end))
    })

    it("writes no sign of life before a provider has answered, so that the status is true", async () => {
      our.mock.script({ firstChunkDelayMs: 300, cut: true, after: -1, times: 2 })
      const answer = await post(protocol, { stream: true })
      assert.strictEqual(answer.status, 502)
      assert.isTrue(protocol.isError(JSON.parse(answer.text)))
    })

    for (const stream of [false, true]) {
      it(`replays a keyed request without asking or charging again${stream ? ", streamed" : ""}`, async () => {
        const headers = { "idempotency-key": `${protocol.path}-${stream}` }
        const first = await post(protocol, { stream }, headers)
        const before = await charges()
        const again = await post(protocol, { stream }, headers)
        assert.strictEqual(again.text, first.text)
        assert.strictEqual(again.headers.get("idempotent-replayed"), "true")
        assert.strictEqual(our.mock.calls().length, 1)
        assert.strictEqual(await charges(), before)
        const other = await post(protocol, { stream, temperature: 1 }, headers)
        assert.strictEqual(other.status, 422)
        assert.isTrue(protocol.isError(JSON.parse(other.text)))
      })
    }

    it("charges a caller who leaves for what was produced, and lets the provider know", async () => {
      const before = await charges()
      our.mock.script({ chunks: 200, chunkDelayMs: 20 })
      const controller = new AbortController()
      const response = await fetch(our.server.url + protocol.path, {
        method: "POST",
        headers: { "x-api-key": customer.key, "content-type": "application/json" },
        body: JSON.stringify({ model: "gpt-4o", ...protocol.body, stream: true }),
        signal: controller.signal
      })
      await response.body?.getReader().read()
      controller.abort()
      await eventually(() => assert.isNumber(our.mock.calls()[0]?.abortedAt))
      await eventually(async () => assert.strictEqual(await charges(), before + 1))
    })
  })
}
