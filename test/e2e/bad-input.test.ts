/**
 * Whatever a caller sends: the right status, a message that says what is wrong, never a 500 and never a hold left behind.
 */
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { creditsOf, jsonCall, newCustomer, openAi } from "../support/server.ts"

const our = house({ MAX_BODY_BYTES: "200000" })
let key: string | undefined
const keyOf = async () => (key ??= (await newCustomer(our.server)).key)

interface Failure {
  readonly error: { readonly message: string; readonly type: string; readonly code: string; readonly param: string | null }
}

const post = async (body: string | Uint8Array, headers: Record<string, string> = {}) => {
  const response = await fetch(`${our.server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${await keyOf()}`, "content-type": "application/json", ...headers },
    body
  })
  const failure: Failure = JSON.parse(await response.text())
  return { status: response.status, ...failure.error, headers: response.headers }
}

const valid = { model: "gpt-4o", messages: [{ role: "user", content: "hi" }] }
const nested = (depth: number) =>
  `{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"deep":${"[".repeat(depth)}${"]".repeat(depth)}}`

describe("bad input", () => {
  const bodies: ReadonlyArray<readonly [string, string | Uint8Array, number, RegExp, string | null]> = [
    ["malformed JSON", '{"model": "gpt-4o", ', 400, /not valid JSON/, null],
    ["an empty body", "", 400, /empty/, null],
    ["an array", "[]", 400, /must be an object/, null],
    ["invalid UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d), 400, /UTF-8/, null],
    ["10,000-deep JSON", nested(10_000), 400, /deeper than 256/, null],
    ["a body over the limit", JSON.stringify({ ...valid, filler: "x".repeat(250_000) }), 413, /larger than 200000/, null],
    ["no model", JSON.stringify({ messages: valid.messages }), 400, /model/, "model"],
    ["a model of the wrong type", JSON.stringify({ ...valid, model: 7 }), 400, /string/, "model"],
    ["an unknown model", JSON.stringify({ ...valid, model: "no-such-model" }), 404, /no-such-model/, "model"],
    ["no messages", JSON.stringify({ model: "gpt-4o" }), 400, /messages/, "messages"],
    ["empty messages", JSON.stringify({ ...valid, messages: [] }), 400, /at least one/, "messages"],
    ["an unknown role", JSON.stringify({ ...valid, messages: [{ role: "king", content: "x" }] }), 400, /role/, "messages.0.role"],
    [
      "content of the wrong type",
      JSON.stringify({ ...valid, messages: [{ role: "user", content: 5 }] }),
      400,
      /content/,
      "messages.0.content"
    ],
    ["a user's message without content", JSON.stringify({ ...valid, messages: [{ role: "user" }] }), 400, /missing/, "messages.0.content"],
    ["stop of the wrong type", JSON.stringify({ ...valid, stop: 5 }), 400, /stop/, "stop"],
    ["a negative max_tokens", JSON.stringify({ ...valid, max_tokens: -1 }), 400, /max_tokens/, "max_tokens"],
    ["max_tokens of the wrong type", JSON.stringify({ ...valid, max_tokens: "many" }), 400, /max_tokens/, "max_tokens"],
    ["an absurd max_tokens", JSON.stringify({ ...valid, max_tokens: 1e15 }), 400, /too large/, "max_tokens"],
    ["a temperature out of range", JSON.stringify({ ...valid, temperature: 9 }), 400, /temperature/, "temperature"],
    ["stream of the wrong type", JSON.stringify({ ...valid, stream: "yes" }), 400, /stream/, "stream"],
    ["an unknown provider", JSON.stringify({ ...valid, provider: "nobody" }), 400, /nobody/, "provider"],
    ["a provider that does not serve the model", JSON.stringify({ ...valid, provider: "anthropic" }), 400, /by anthropic/, "provider"],
    ["only such providers", JSON.stringify({ ...valid, provider: { only: ["anthropic"] } }), 400, /by anthropic/, "provider"],
    ["the sandbox for another's model", JSON.stringify({ ...valid, provider: "sandbox" }), 400, /by sandbox/, "provider"],
    ["a provider without a key", JSON.stringify({ ...valid, provider: "openrouter" }), 503, /on here: openrouter\./, "provider"],
    ["only such a provider", JSON.stringify({ ...valid, provider: { only: ["openrouter"] } }), 503, /on here: openrouter\./, "provider"],
    ["an unknown fallback model", JSON.stringify({ ...valid, models: ["no-such-model"] }), 404, /no-such-model/, "models"],
    [
      "an unknown first of several models",
      JSON.stringify({ messages: valid.messages, models: ["no-such-model", "gpt-4o"] }),
      404,
      /no-such-model/,
      "model"
    ],
    ["n out of range", JSON.stringify({ ...valid, n: 1_000 }), 400, /`n`/, "n"],
    [
      "a part of an unknown type",
      JSON.stringify({ ...valid, messages: [{ role: "user", content: [{ type: "zip" }] }] }),
      400,
      /one of text/,
      "messages.0.content.0.type"
    ],
    [
      "a tool's result that belongs to no call",
      JSON.stringify({ ...valid, messages: [...valid.messages, { role: "tool", content: "x" }] }),
      400,
      /missing/,
      "messages.1.tool_call_id"
    ],
    ["a tool without a function", JSON.stringify({ ...valid, tools: [{ type: "function" }] }), 400, /missing/, "tools.0.function"],
    ["an unknown choice of tools", JSON.stringify({ ...valid, tool_choice: "perhaps" }), 400, /one of none/, "tool_choice"],
    ["an unknown format", JSON.stringify({ ...valid, response_format: { type: "xml" } }), 400, /json_schema/, "response_format.type"],
    ["an unknown effort", JSON.stringify({ ...valid, reasoning_effort: "extreme" }), 400, /minimal/, "reasoning_effort"],
    ["a seed that is no whole number", JSON.stringify({ ...valid, seed: 1.5 }), 400, /whole number/, "seed"]
  ]
  for (const [name, body, status, message, param] of bodies) {
    it(`refuses ${name} with ${status}`, async () => {
      const failure = await post(body)
      assert.strictEqual(failure.status, status)
      assert.match(failure.message, message)
      assert.strictEqual(failure.param, param)
      assert.notMatch(failure.message, /\bat .*\.[jt]s|SELECT|INSERT/)
      assert.strictEqual(our.mock.calls().length, 0)
      const credits = await creditsOf(our.server, await keyOf())
      assert.deepInclude(credits, { held_usd: "0.00", available_usd: "5.00" })
    })
  }

  it("refuses blocks and items of an unknown type in their own protocol's words, by the sandbox too", async () => {
    const content = [{ type: "zip" }]
    for (const model of ["claude-sonnet-4", "sandbox/echo"]) {
      const message = { model, max_tokens: 10, messages: [{ role: "user", content }] }
      const anthropic = await jsonCall<Failure & { type: string }>(our.server.url, await keyOf(), "POST", "/v1/messages", message)
      assert.strictEqual(anthropic.status, 400)
      assert.strictEqual(anthropic.body.type, "error")
      assert.strictEqual(anthropic.body.error.type, "invalid_request_error")
      assert.match(anthropic.body.error.message, /^messages\.0\.content\.0\.type: Input should be one of 'text'/)
      const responses = await jsonCall<Failure>(our.server.url, await keyOf(), "POST", "/v1/responses", { model, input: content })
      assert.strictEqual(responses.status, 400)
      assert.strictEqual(responses.body.error.param, "input.0.type")
    }
    assert.strictEqual(our.mock.calls().length, 0)
  })

  it("cuts a body that does not say its length where it passes the limit", async () => {
    const chunks = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode(" ".repeat(50_000)))
    })
    const response = await fetch(`${our.server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${await keyOf()}`, "content-type": "application/json" },
      body: chunks,
      duplex: "half"
    })
    assert.strictEqual(response.status, 413)
  })

  it("refuses a body in an encoding, and of a type that is not JSON, with 415", async () => {
    assert.strictEqual((await post(JSON.stringify(valid), { "content-encoding": "gzip" })).status, 415)
    assert.strictEqual((await post(JSON.stringify(valid), { "content-type": "text/plain" })).status, 415)
  })

  it("says which methods a path takes, with 405", async () => {
    const { body, headers, status } = await jsonCall<Failure>(our.server.url, await keyOf(), "GET", "/v1/chat/completions?a=b")
    assert.deepStrictEqual([status, headers.get("allow"), body.error.code], [405, "POST", "METHOD_NOT_ALLOWED"])
    assert.strictEqual((await jsonCall(our.server.url, null, "DELETE", "/v1/models/openai/gpt-4o")).headers.get("allow"), "GET")
    const anthropic = await jsonCall<{ type: string }>(our.server.url, await keyOf(), "PUT", "/v1/messages", {})
    assert.deepStrictEqual([anthropic.status, anthropic.body.type], [405, "error"])
    assert.strictEqual((await jsonCall(our.server.url, await keyOf(), "GET", "/v1/nothing")).status, 404)
  })

  it("lets a script of any site ask, of the operator's routes none", async () => {
    const origin = { origin: "https://app.example.com" }
    const asks = { ...origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type" }
    const preflight = await fetch(`${our.server.url}/v1/chat/completions`, { method: "OPTIONS", headers: asks })
    assert.strictEqual(preflight.status, 204)
    assert.strictEqual(preflight.headers.get("access-control-allow-origin"), "*")
    assert.strictEqual(preflight.headers.get("access-control-allow-headers"), "authorization,content-type")
    assert.include(preflight.headers.get("access-control-allow-methods"), "POST")
    const failed = await post("{", origin)
    assert.strictEqual(failed.headers.get("access-control-allow-origin"), "*")
    assert.include(failed.headers.get("access-control-expose-headers"), "retry-after")
    assert.isFalse((await post("{")).headers.has("access-control-allow-origin"))
    const operator = await fetch(`${our.server.url}/admin/users`, { method: "OPTIONS", headers: asks })
    assert.strictEqual(operator.status, 405)
    assert.isFalse(operator.headers.has("access-control-allow-origin"))
  })

  it("shows models by id, by alias and by the official client", async () => {
    const client = openAi(our.server, await keyOf())
    assert.strictEqual((await client.models.retrieve("openai/gpt-4o")).id, "openai/gpt-4o")
    assert.strictEqual((await client.models.retrieve("gpt-4o")).owned_by, "openai")
    const listed = await client.models.list()
    assert.includeMembers(
      listed.data.map((model) => model.id),
      ["sandbox/echo", "openai/gpt-4o"]
    )
    const page = await jsonCall<{ data: ReadonlyArray<object>; next_cursor: string }>(
      our.server.url,
      null,
      "GET",
      "/v1/models?active=false&limit=2"
    )
    assert.strictEqual(page.body.data.length, 2)
    assert.isNotNull(page.body.next_cursor)
    assert.strictEqual((await jsonCall(our.server.url, null, "GET", "/v1/models/nobody/nothing")).status, 404)
    assert.strictEqual((await jsonCall(our.server.url, null, "GET", "/v1/models?limit=0")).status, 400)
  })

  it("refuses a missing, a made-up and a malformed key with 401", async () => {
    for (const given of [null, `gw_dev_${"a".repeat(43)}`, "nonsense"]) {
      const { body, status } = await jsonCall<Failure>(our.server.url, given, "POST", "/v1/chat/completions", valid)
      assert.strictEqual(status, 401)
      assert.strictEqual(body.error.type, "authentication_error")
    }
  })

  it("refuses a revoked key within a second", async () => {
    const customer = await newCustomer(our.server)
    const made = await jsonCall<{ id: string; key: string }>(our.server.url, customer.key, "POST", "/v1/keys", { name: "second" })
    assert.strictEqual((await jsonCall(our.server.url, made.body.key, "GET", "/v1/me")).status, 200)
    await jsonCall(our.server.url, customer.key, "DELETE", `/v1/keys/${made.body.id}`)
    assert.strictEqual((await jsonCall(our.server.url, made.body.key, "GET", "/v1/me")).status, 401)
    const listed = await jsonCall<{ data: ReadonlyArray<object> }>(our.server.url, customer.key, "GET", "/v1/keys")
    assert.notInclude(JSON.stringify(listed.body), made.body.key)
  })

  it("echoes a sane request id, and never decides about money by it", async () => {
    const sane = await post("{", { "x-request-id": "my-id:1" })
    assert.strictEqual(sane.headers.get("x-request-id"), "my-id:1")
    assert.notStrictEqual(sane.headers.get("x-sluice-request-id"), "my-id:1")
    const insane = await post("{", { "x-request-id": "<script>" })
    assert.strictEqual(insane.headers.get("x-request-id"), insane.headers.get("x-sluice-request-id"))
  })

  it("limits requests a minute, and says so in both families of headers", async () => {
    const customer = await newCustomer(our.server, { limits: { rpm: 3 } })
    const answers = []
    for (let i = 0; i < 4; i++)
      answers.push(
        await jsonCall<Failure>(our.server.url, customer.key, "POST", "/v1/chat/completions", { ...valid, model: "sandbox/echo" })
      )
    // A minute may end in the middle of the four.
    const limited = answers.find((answer) => answer.status === 429) ?? answers.at(-1)
    assert.strictEqual(limited?.headers.get("x-ratelimit-limit"), "3")
    assert.strictEqual(answers[0]?.headers.get("x-ratelimit-remaining-requests"), "2")
    if (limited?.status === 429) {
      assert.strictEqual(limited.body.error.code, "RATE_LIMIT_EXCEEDED")
      assert.isAbove(Number(limited.headers.get("retry-after")), 0)
      assert.isAbove(Number(limited.headers.get("x-ratelimit-reset")), 1_700_000_000)
    }
  })

  it("keeps operator routes from customers, and tells unknown routes", async () => {
    assert.strictEqual((await jsonCall(our.server.url, await keyOf(), "GET", "/admin/users")).status, 403)
    assert.strictEqual((await jsonCall(our.server.url, null, "GET", "/admin/users")).status, 401)
    assert.strictEqual((await jsonCall(our.server.url, null, "GET", "/v1/nothing")).status, 404)
    const invalid = await our.server.admin<Failure>("POST", "/admin/users", { email: "not an address" })
    assert.deepInclude(invalid, { status: 400 })
    const wrong = await our.server.admin<Failure>("POST", "/admin/users", { plan: "dev" })
    assert.match(wrong.body.error.message, /email/)
  })

  const unread: ReadonlyArray<readonly [string, string, number]> = [
    ["headers that are too large", `GET /health HTTP/1.1\r\nhost: x\r\nx-big: ${"x".repeat(20_000)}\r\n\r\n`, 431],
    ["what is no HTTP", "hello\r\n\r\n", 400],
    ["a length that is none", "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n", 400],
    ["an expectation of which nothing is known", "GET /health HTTP/1.1\r\nhost: x\r\nexpect: miracles\r\nconnection: close\r\n\r\n", 417],
    ["headers that do not come to an end", "GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ", 408]
  ]
  for (const [what, bytes, status] of unread) {
    it(`answers ${what} with ${status}, a name and a failure like any other`, async () => {
      const startedAt = Date.now()
      const text = await new Promise<string>((resolve) => {
        const socket = connect(Number(new URL(our.server.url).port), "127.0.0.1")
        let received = ""
        socket.on("data", (chunk) => (received += chunk.toString()))
        socket.on("close", () => resolve(received))
        socket.write(bytes)
      })
      assert.include(text, `HTTP/1.1 ${status} `)
      assert.match(text, /\r\nx-request-id: [0-9a-f-]{36}\r\n/)
      assert.match(text, /"error":\{"message":"[^"]+","type":"invalid_request_error","code":"[A-Z_]+","param":null\}\}/)
      assert.isBelow(Date.now() - startedAt, 11_500)
    }, 20_000)
  }
})
