import { assert, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { entriesOf, jsonCall, newCustomer } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })

interface Answer {
  readonly id: string
  readonly model: string
  readonly choices: ReadonlyArray<{
    readonly index: number
    readonly finish_reason: string
    readonly logprobs: { readonly content: ReadonlyArray<object> } | null
    readonly message: {
      readonly content: string | null
      readonly tool_calls?: ReadonlyArray<{
        readonly id: string
        readonly type: string
        readonly function: { readonly name: string; readonly arguments: string }
      }>
    }
  }>
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number }
}

let key: string | undefined
const keyOf = async () => (key ??= (await newCustomer(our.server, { balanceUsd: "10" })).key)

const ask = async (more: object = {}) =>
  jsonCall<Answer>(our.server.url, await keyOf(), "POST", "/v1/chat/completions", {
    model: "gpt-4o",
    messages: [{ role: "user", content: "x".repeat(400) }],
    ...more
  })

const stream = async (more: object = {}) => {
  const response = await fetch(`${our.server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${await keyOf()}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "gpt-4o", stream: true, messages: [{ role: "user", content: "hi" }], ...more })
  })
  return response.text()
}

describe("OpenAI chat", () => {
  it("CM-10.1.1 has choices with index, message and finish reason", async () => {
    const { body } = await ask({ n: 2 })
    assert.deepStrictEqual(
      body.choices.map(({ finish_reason, index }) => [index, finish_reason]),
      [
        [0, "stop"],
        [1, "stop"]
      ]
    )
    assert.isNotEmpty(body.choices[0]?.message.content)
  })

  it("CM-10.1.2 has usage whose total is the sum", async () => {
    const { usage } = (await ask()).body
    assert.isAbove(usage.prompt_tokens, 0)
    assert.strictEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
  })

  it("CM-10.1.3 has an id that starts with chatcmpl-", async () => assert.match((await ask()).body.id, /^chatcmpl-[0-9a-f]{32}$/))

  it("CM-10.1.4 names the model asked for after alias resolution, not a native id", async () =>
    assert.strictEqual((await ask({ model: "GPT-4o" })).body.model, "openai/gpt-4o"))

  it("CM-10.1.5 streams events of the form data: {json} and blank line, each a chunk", async () => {
    const text = await stream()
    const events = text.split("\n\n").filter((event) => event !== "" && event !== "data: [DONE]")
    assert.isAbove(events.length, 3)
    for (const event of events) {
      assert.match(event, /^data: \{.*\}$/)
      assert.deepInclude(JSON.parse(event.slice(6)), { object: "chat.completion.chunk", model: "openai/gpt-4o" })
    }
  })

  it("CM-10.1.6 a stream ends with [DONE] once, also after an error event, a missing or an early one", async () => {
    our.mock.script({ errorEvent: true }, { noDone: true }, { afterDone: true })
    for (let i = 0; i < 4; i++) {
      const text = await stream()
      assert.isTrue(text.endsWith("data: [DONE]\n\n"))
      assert.strictEqual(text.split("[DONE]").length, 2)
    }
  })

  it("CM-10.1.7 JSON mode gives JSON, fences taken off, or an error", async () => {
    const format = { response_format: { type: "json_object" } }
    our.mock.script({ text: '{"a":1}' }, { text: '```json\n{"a":1}\n```' }, { text: "no json", times: 1 })
    for (let i = 0; i < 2; i++) assert.deepStrictEqual(JSON.parse((await ask(format)).body.choices[0]?.message.content ?? ""), { a: 1 })
    assert.strictEqual((await ask(format)).status, 502)
    our.mock.script({ text: "no json either" }, { text: '```json\n{"a": 1}\n```' })
    const broken = await stream(format)
    assert.include(broken, '{"error":')
    assert.notInclude(broken, '"finish_reason":"stop"')
    const fenced = await stream(format)
    assert.notInclude(fenced, "```")
    assert.include(fenced, '"finish_reason":"stop"')
  })

  it("CM-10.1.8 tool calls have their form, and the finish reason tool_calls", async () => {
    our.mock.script({ toolCalls: [{ name: "weather", arguments: '{"city":"Paris"}' }] })
    const { body } = await ask({ tools: [{ type: "function", function: { name: "weather" } }] })
    assert.deepStrictEqual(body.choices[0]?.message.tool_calls, [
      { id: "call_0", type: "function", function: { name: "weather", arguments: '{"city":"Paris"}' } }
    ])
    assert.strictEqual(body.choices[0]?.finish_reason, "tool_calls")
  })

  it("CM-10.1.9 logprobs are there when asked for", async () => {
    const { body } = await ask({ logprobs: true })
    assert.isNotEmpty(body.choices[0]?.logprobs?.content)
    assert.isNull((await ask()).body.choices[0]?.logprobs)
  })

  it("CM-10.3.2 fields outside the public schema are removed, whole and streamed", async () => {
    our.mock.script({ extraFields: true }, { extraFields: true })
    const texts = [JSON.stringify((await ask()).body), await stream()]
    for (const text of texts) for (const field of ["x_host", "timings", "x_provider_note", "mock-1"]) assert.notInclude(text, field)
  })
})

describe("token counts", () => {
  const usageSource = async () =>
    (await jsonCall<{ data: ReadonlyArray<{ usage_source: string }> }>(our.server.url, await keyOf(), "GET", "/v1/requests?limit=1")).body
      .data[0]?.usage_source

  it("CM-14.2 without figures of the provider the estimate is billed and marked as one", async () => {
    our.mock.script({ noUsage: true, text: "y".repeat(40) })
    const { body } = await ask()
    assert.deepInclude(body.usage, { prompt_tokens: 100, completion_tokens: 10 })
    assert.strictEqual(await usageSource(), "estimated")
    const [entry] = await entriesOf(our.server, await keyOf())
    assert.strictEqual(entry?.amount_usd, "-0.00035")
  })

  it("CM-14.3 the provider's figures are used when there are any, streamed too", async () => {
    const usage = { prompt_tokens: 1_000, completion_tokens: 2, total_tokens: 1_002, prompt_tokens_details: { cached_tokens: 600 } }
    our.mock.script({ usage }, { usage })
    assert.deepInclude((await ask()).body.usage, { prompt_tokens: 1_000, completion_tokens: 2 })
    assert.strictEqual(await usageSource(), "provider")
    assert.include(await stream({ stream_options: { include_usage: true } }), '"prompt_tokens":1000')
    const [streamed, whole] = await entriesOf(our.server, await keyOf())
    assert.strictEqual(streamed?.amount_usd, whole?.amount_usd)
    // 400 uncached, 600 cached at half the price, 2 out.
    assert.strictEqual(streamed?.amount_usd, "-0.00177")
  })

  for (const framing of ["bytes", "crlf", "comments", "multiline"] as const) {
    it(`a stream framed as ${framing} reads the same`, async () => {
      our.mock.script({ framing, text: "zwölf Boxkämpfer 🥊 jagen" })
      const text = await stream()
      const content = text
        .split("\n\n")
        .filter((event) => event.startsWith("data: {"))
        .map((event) => JSON.parse(event.slice(6)).choices[0].delta.content ?? "")
        .join("")
      assert.strictEqual(content, "zwölf Boxkämpfer 🥊 jagen")
    })
  }
})
