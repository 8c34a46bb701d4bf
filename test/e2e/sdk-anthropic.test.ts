/**
 * Anthropic's own client against the running server, over providers of each protocol.
 */
import Anthropic from "@anthropic-ai/sdk"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { creditsOf, eventually, newCustomer } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })

let key = ""
let client: Anthropic

beforeAll(async () => {
  key = (await newCustomer(our.server, { balanceUsd: "10" })).key
  client = new Anthropic({ baseURL: our.server.url, apiKey: key, maxRetries: 0 })
})

/** How the provider of each is told what a tool gave. */
const resultForms: Readonly<Record<string, string>> = {
  "claude-sonnet-4.5": '"type":"tool_result"',
  "gpt-4o": '"role":"tool"',
  "gemini-2.5-flash-lite": '"functionResponse"'
}

const hello = [{ role: "user" as const, content: "hello" }]

const weather: Anthropic.Tool = {
  name: "weather",
  description: "The weather of a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
}

const models = ["claude-sonnet-4.5", "gpt-4o", "gemini-2.5-flash-lite"]

const textOf = (message: Anthropic.Message): string => message.content.map((block) => (block.type === "text" ? block.text : "")).join("")

for (const model of models) {
  describe(`messages with ${model}`, () => {
    it("X-56 answers whole and streamed alike", async () => {
      our.mock.script({ text: "Good morning to you", times: 2 })
      const whole = await client.messages.create({ model, max_tokens: 100, messages: hello })
      const streamed = await client.messages.stream({ model, max_tokens: 100, messages: hello }).finalMessage()
      for (const message of [whole, streamed]) {
        assert.deepInclude(message, { type: "message", role: "assistant", stop_reason: "end_turn", stop_sequence: null })
        assert.match(message.id, /^msg_[0-9a-f]{32}$/)
        assert.strictEqual(textOf(message), "Good morning to you")
        assert.strictEqual(message.usage.input_tokens, 10)
        assert.isAbove(message.usage.output_tokens, 0)
      }
      assert.strictEqual(streamed.model, whole.model)
    })

    it("uses tools, whole and streamed, and takes their results", async () => {
      const toolCalls = [
        { name: "weather", arguments: '{"city":"Paris"}' },
        { name: "weather", arguments: '{"city":"Rome"}' }
      ]
      our.mock.script({ toolCalls, times: 2 })
      const asked = { model, max_tokens: 100, messages: hello, tools: [weather] }
      const whole = await client.messages.create(asked)
      const streamed = await client.messages.stream(asked).finalMessage()
      for (const message of [whole, streamed]) {
        assert.strictEqual(message.stop_reason, "tool_use")
        const uses = message.content.filter((block) => block.type === "tool_use")
        assert.deepStrictEqual(
          uses.map(({ input, name }) => [name, input]),
          [
            ["weather", { city: "Paris" }],
            ["weather", { city: "Rome" }]
          ]
        )
        assert.strictEqual(new Set(uses.map(({ id }) => id)).size, 2)
        our.mock.script({ text: "Sunny and rainy" })
        const results = uses.map((use, index) => ({
          type: "tool_result" as const,
          tool_use_id: use.id,
          content: index === 0 ? "sunny" : [{ type: "text" as const, text: "no data" }],
          is_error: index === 1
        }))
        const next = await client.messages.create({
          ...asked,
          messages: [...hello, { role: "assistant", content: message.content }, { role: "user", content: results }]
        })
        assert.strictEqual(textOf(next), "Sunny and rainy")
        const sent = JSON.stringify(our.mock.calls().at(-1)?.body)
        for (const piece of ["Paris", "Rome", "sunny", "no data", resultForms[model] ?? ""]) assert.include(sent, piece)
      }
    })

    it("tells a bound that was reached", async () => {
      const message = await client.messages.create({ model, max_tokens: 2, messages: hello })
      assert.isAtMost(message.usage.output_tokens, 2)
    })

    it("tells a stream that breaks midway by an error event, charges nothing and ends nothing normally", async () => {
      const before = await creditsOf(our.server, key)
      our.mock.script({ cut: true, chunks: 6, times: 5 })
      const seen: Array<string> = []
      const failure = await (async () => {
        for await (const event of await client.messages.create({ model, max_tokens: 100, messages: hello, stream: true }))
          seen.push(event.type)
      })().catch((error: unknown) => error)
      assert.instanceOf(failure, Anthropic.APIError)
      assert.include(String(failure), "api_error")
      assert.include(seen, "content_block_delta")
      assert.notInclude(seen, "message_delta")
      assert.notInclude(seen, "message_stop")
      await eventually(async () => assert.strictEqual((await creditsOf(our.server, key)).available_usd, before.available_usd))
    })
  })
}

describe("messages through to Anthropic", () => {
  const model = "claude-sonnet-4.5"

  it("thinks with a signature, whole and streamed, and sends both back untouched", async () => {
    our.mock.script({ thinking: "Let me think", redactedThinking: "c2VhbGVk", text: "Done", times: 2 })
    const asked = { model, max_tokens: 4_000, thinking: { type: "enabled" as const, budget_tokens: 1_024 }, messages: hello }
    const whole = await client.messages.create(asked)
    const streamed = await client.messages.stream(asked).finalMessage()
    for (const message of [whole, streamed]) {
      assert.deepInclude(message.content[0], { type: "thinking", thinking: "Let me think", signature: "sig-1" })
      assert.deepInclude(message.content[1], { type: "redacted_thinking", data: "c2VhbGVk" })
      assert.deepInclude(message.content[2], { type: "text", text: "Done" })
      await client.messages.create({ ...asked, messages: [...hello, { role: "assistant", content: message.content }, ...hello] })
      const sent = our.mock.calls().at(-1)?.body["messages"]
      assert.deepInclude(JSON.stringify(sent), '"signature":"sig-1"')
      assert.deepInclude(JSON.stringify(sent), '"data":"c2VhbGVk"')
    }
  })

  it("counts what was read from the cache and written to it, and passes cache_control on", async () => {
    our.mock.script({
      usage: { input_tokens: 3, cache_creation_input_tokens: 40, cache_read_input_tokens: 500, output_tokens: 2 },
      times: 2
    })
    const asked = {
      model,
      max_tokens: 10,
      system: [{ type: "text" as const, text: "Be brief", cache_control: { type: "ephemeral" as const } }],
      messages: hello
    }
    const figures = { input_tokens: 3, cache_creation_input_tokens: 40, cache_read_input_tokens: 500, output_tokens: 2 }
    assert.deepInclude((await client.messages.create(asked)).usage, figures)
    assert.deepInclude((await client.messages.stream(asked).finalMessage()).usage, figures)
    assert.include(JSON.stringify(our.mock.calls()[0]?.body["system"]), "ephemeral")
  })

  it("passes the features on that the client asks for by header", async () => {
    await client.beta.messages.create({ model, max_tokens: 10, messages: hello, betas: ["context-management-2025-06-27"] })
    assert.strictEqual(our.mock.calls()[0]?.headers["anthropic-beta"], "context-management-2025-06-27")
    assert.strictEqual(our.mock.calls()[0]?.headers["x-api-key"], "sk-anthropic")
  })

  it("names the sequence that stopped it", async () => {
    our.mock.script({ finish: "stop_sequence", stopSequence: "END", times: 2 })
    const asked = { model, max_tokens: 10, stop_sequences: ["END"], messages: hello }
    const ended = { stop_reason: "stop_sequence" as const, stop_sequence: "END" }
    assert.deepInclude(await client.messages.create(asked), ended)
    assert.deepInclude(await client.messages.stream(asked).finalMessage(), ended)
  })
})

describe("count_tokens", () => {
  it("answers an estimate, asks nobody and costs nothing", async () => {
    const before = await creditsOf(our.server, key)
    const counted = await client.messages.countTokens({
      model: "claude-sonnet-4.5",
      messages: [{ role: "user", content: "x".repeat(400) }]
    })
    assert.deepStrictEqual(counted, { input_tokens: 100 })
    assert.deepStrictEqual(await creditsOf(our.server, key), before)
    assert.strictEqual(our.mock.calls().length, 0)
  })
})

describe("failures as Anthropic's client sees them", () => {
  const asked = { model: "claude-sonnet-4.5", max_tokens: 10, messages: hello }
  const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => null,
      (error: unknown) => error
    )

  it("a wrong key, an unknown model, a mistake and a provider's fault have their classes", async () => {
    const stranger = new Anthropic({ baseURL: our.server.url, apiKey: "gw_dev_nobody", maxRetries: 0 })
    assert.instanceOf(await failureOf(stranger.messages.create(asked)), Anthropic.AuthenticationError)
    assert.instanceOf(await failureOf(client.messages.create({ ...asked, model: "no-such-model" })), Anthropic.NotFoundError)
    const mistake = await failureOf(client.messages.create({ ...asked, messages: [] }))
    assert.instanceOf(mistake, Anthropic.BadRequestError)
    assert.include(String(mistake), "messages: at least one message is required")
    our.mock.script({ status: 500, times: 5 })
    const fault = await failureOf(client.messages.create(asked))
    assert.instanceOf(fault, Anthropic.InternalServerError)
  })

  it("a key that is limited gets a RateLimitError with Retry-After", async () => {
    const limited = await newCustomer(our.server, { balanceUsd: "5", limits: { rpm: 1 } })
    const slow = new Anthropic({ baseURL: our.server.url, apiKey: limited.key, maxRetries: 0 })
    await failureOf(slow.messages.create(asked))
    const failures = await Promise.all([1, 2, 3].map(() => failureOf(slow.messages.create(asked))))
    const refused = failures.find((failure) => failure instanceof Anthropic.RateLimitError)
    assert.instanceOf(refused, Anthropic.RateLimitError)
    if (refused instanceof Anthropic.RateLimitError) {
      assert.strictEqual(refused.type, "rate_limit_error")
      assert.isAbove(Number(refused.headers.get("retry-after")), 0)
      assert.isString(refused.requestID)
    }
  })

  it("the bearer form of the key works too", async () => {
    const bearer = new Anthropic({ baseURL: our.server.url, apiKey: null, authToken: key, maxRetries: 0 })
    assert.strictEqual((await bearer.messages.create(asked)).type, "message")
  })
})
