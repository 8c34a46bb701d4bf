/**
 * OpenAI's own client against the running server: chat and responses, over providers of each protocol.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import OpenAI from "openai"
import type { ResponseInputItem, ResponseStreamEvent } from "openai/resources/responses/responses"
import type { Script } from "../../bench/mock/Script.ts"
import { house } from "../support/house.ts"
import { creditsOf, eventually, newCustomer, openAi } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })

let key = ""
let client: OpenAI

beforeAll(async () => {
  key = (await newCustomer(our.server, { balanceUsd: "10" })).key
  client = openAi(our.server, key)
})

const models = ["gpt-4o", "claude-sonnet-4.5", "gemini-2.5-flash-lite"]

/** How each provider says that the bound was reached. */
const cutShort: Readonly<Record<string, string>> = { "claude-sonnet-4.5": "max_tokens", "gemini-2.5-flash-lite": "MAX_TOKENS" }

const hello = [{ role: "user" as const, content: "hello" }]
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
const cities = ["Paris", "Rome"]
const toolCalls = cities.map((city) => ({ name: "weather", arguments: JSON.stringify({ city }) }))
/** What came over the wire, whatever the client's types know of it. */
const wire = (value: unknown): Record<string, unknown> => JSON.parse(JSON.stringify(value ?? {}))
const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (error: unknown) => error
  )

for (const model of models) {
  describe(`chat with ${model}`, () => {
    it("CM-10.3.1 X-56 answers whole and streamed alike", async () => {
      our.mock.script({ text: "Good morning to you", times: 2 })
      const whole = await client.chat.completions.create({ model, messages: hello })
      const streamed = await client.chat.completions
        .stream({ model, messages: hello, stream_options: { include_usage: true } })
        .finalChatCompletion()
      for (const answer of [whole, streamed]) {
        assert.match(answer.id, /^chatcmpl-/)
        assert.strictEqual(answer.choices.length, 1)
        assert.strictEqual(answer.choices[0]?.finish_reason, "stop")
        assert.strictEqual(answer.choices[0]?.message.content, "Good morning to you")
        assert.strictEqual(answer.usage?.prompt_tokens, 10)
        assert.isAbove(answer.usage?.completion_tokens ?? 0, 0)
      }
    })

    it("CM-10.1.8 uses tools, whole and streamed, and takes their results", async () => {
      const tools = [{ type: "function" as const, function: { name: "weather", parameters } }]
      our.mock.script({ toolCalls, times: 2 })
      const whole = await client.chat.completions.create({ model, messages: hello, tools })
      const streamed = await client.chat.completions.stream({ model, messages: hello, tools }).finalChatCompletion()
      for (const answer of [whole, streamed]) {
        const [choice] = answer.choices
        assert.strictEqual(choice?.finish_reason, "tool_calls")
        const calls = (choice?.message.tool_calls ?? []).flatMap((call) => (call.type === "function" ? [call] : []))
        assert.deepStrictEqual(
          calls.map((call) => call.function.name),
          ["weather", "weather"]
        )
        assert.deepStrictEqual(
          calls.map((call) => JSON.parse(call.function.arguments).city),
          cities
        )
        our.mock.script({ text: "Sunny" })
        const next = await client.chat.completions.create({
          model,
          tools,
          messages: [
            ...hello,
            { role: "assistant", tool_calls: calls },
            ...calls.map((call) => ({ role: "tool" as const, tool_call_id: call.id, content: `sunny in ${call.function.arguments}` }))
          ]
        })
        assert.strictEqual(next.choices[0]?.message.content, "Sunny")
      }
    })
  })

  describe(`responses with ${model}`, () => {
    it("X-56 answers whole and streamed alike", async () => {
      our.mock.script({ text: "Good morning to you", times: 2 })
      const asked = { model, input: "hello", instructions: "Be kind", metadata: { a: "b" } }
      const whole = await client.responses.create(asked)
      const events: Array<ResponseStreamEvent["type"]> = []
      const stream = client.responses.stream(asked)
      for await (const event of stream) events.push(event.type)
      const streamed = await stream.finalResponse()
      for (const response of [whole, streamed]) {
        assert.match(response.id, /^resp_[0-9a-f]{32}$/)
        assert.strictEqual(response.status, "completed")
        assert.strictEqual(response.output_text, "Good morning to you")
        const { input_tokens = 0, output_tokens = 0, total_tokens = 0 } = response.usage ?? {}
        assert.strictEqual(input_tokens, 10)
        assert.strictEqual(total_tokens, input_tokens + output_tokens)
        assert.deepInclude(response, { instructions: "Be kind", metadata: { a: "b" } })
      }
      const once = ["response.created", "response.in_progress", "response.output_text.done", "response.completed"] as const
      for (const type of once) assert.strictEqual(events.filter((event) => event === type).length, 1, type)
      assert.deepStrictEqual(events.slice(0, 4), [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added"
      ])
      assert.deepStrictEqual(events.slice(-4), [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed"
      ])
    })

    it("uses tools, whole and streamed, and takes their results", async () => {
      const tools = [{ type: "function" as const, name: "weather", parameters, strict: true }]
      our.mock.script({ toolCalls, times: 2 })
      const whole = await client.responses.create({ model, input: "hello", tools })
      const streamed = await client.responses.stream({ model, input: "hello", tools }).finalResponse()
      for (const response of [whole, streamed]) {
        const calls = response.output.flatMap((item) => (item.type === "function_call" ? [item] : []))
        assert.deepStrictEqual(
          calls.map((call) => JSON.parse(call.arguments).city),
          cities
        )
        our.mock.script({ text: "Sunny" })
        const items: ReadonlyArray<ResponseInputItem> = [
          { role: "user", content: "hello" },
          ...calls,
          ...calls.map((call) => ({ type: "function_call_output" as const, call_id: call.call_id, output: `sunny in ${call.arguments}` }))
        ]
        const next = await client.responses.create({ model, tools, input: [...items] })
        assert.strictEqual(next.output_text, "Sunny")
        assert.include(JSON.stringify(our.mock.calls().at(-1)?.body), "sunny in")
      }
    })

    it("says when an answer is incomplete", async () => {
      our.mock.script({ finish: cutShort[model] ?? "length", times: 2 })
      const whole = await client.responses.create({ model, input: "hello", max_output_tokens: 20 })
      const streamed = await client.responses.stream({ model, input: "hello", max_output_tokens: 20 }).finalResponse()
      for (const response of [whole, streamed]) {
        assert.strictEqual(response.status, "incomplete")
        assert.deepStrictEqual(response.incomplete_details, { reason: "max_output_tokens" })
      }
    })

    it("tells a stream that breaks midway by one error event, and charges nothing", async () => {
      const before = await creditsOf(our.server, key)
      our.mock.script({ cut: true, chunks: 6, times: 5 })
      const seen: Array<string> = []
      const failure = await failureOf(
        (async () => {
          for await (const event of await client.responses.create({ model, input: "hello", stream: true })) seen.push(event.type)
        })()
      )
      assert.instanceOf(failure, OpenAI.APIError)
      assert.include(seen, "response.output_text.delta")
      for (const type of ["response.completed", "response.incomplete", "response.failed"]) assert.notInclude(seen, type)
      await eventually(async () => assert.strictEqual((await creditsOf(our.server, key)).available_usd, before.available_usd))
    })
  })
}

describe("Claude's thoughts in OpenAI's protocols", () => {
  const model = "claude-sonnet-4.5"
  const thinks = { thinking: "Let me think", redactedThinking: "c2VhbGVk" }

  const sentThoughts = () => {
    const messages = our.mock.calls().at(-1)?.body["messages"]
    const blocks = JSON.stringify(Array.isArray(messages) ? messages.find((message) => message.role === "assistant") : null)
    assert.include(blocks, '"thinking":"Let me think"')
    assert.include(blocks, '"signature":"sig-1"')
    assert.include(blocks, '"data":"c2VhbGVk"')
  }

  it("chat: reasoning_content, and reasoning_details that go back with tool calls", async () => {
    const tools = [{ type: "function" as const, function: { name: "weather", parameters } }]
    const asked = { model, messages: hello, tools, reasoning_effort: "low" as const }
    our.mock.script({ ...thinks, toolCalls, times: 2 })
    const whole = await client.chat.completions.create(asked)
    const message = whole.choices[0]?.message
    assert.deepInclude(wire(message), { reasoning_content: "Let me think" })
    const details: Array<unknown> = []
    let reasoning = ""
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
      const delta: { reasoning_details?: ReadonlyArray<unknown>; reasoning_content?: string } = wire(chunk.choices[0]?.delta)
      details.push(...(delta.reasoning_details ?? []))
      reasoning += delta.reasoning_content ?? ""
    }
    assert.strictEqual(reasoning, "Let me think")
    assert.deepStrictEqual(details, [
      { type: "reasoning.text", index: 0, text: "Let me think", signature: "sig-1" },
      { type: "reasoning.encrypted", index: 1, data: "c2VhbGVk" }
    ])
    assert.deepInclude(wire(message), { reasoning_details: details })
    if (message === undefined) return
    const results = (message.tool_calls ?? []).map((call) => ({ role: "tool" as const, tool_call_id: call.id, content: "sunny" }))
    await client.chat.completions.create({ ...asked, messages: [...hello, message, ...results] })
    sentThoughts()
  })

  it("responses: reasoning items that go back in the input", async () => {
    our.mock.script({ ...thinks, text: "Done", times: 2 })
    const asked = { model, input: "hello", reasoning: { effort: "low" as const } }
    const whole = await client.responses.create(asked)
    const streamed = await client.responses.stream(asked).finalResponse()
    for (const response of [whole, streamed]) {
      assert.deepStrictEqual(
        response.output.map((item) => item.type),
        ["reasoning", "reasoning", "message"]
      )
      const [thought] = response.output
      assert.deepInclude(thought, { summary: [{ type: "summary_text", text: "Let me think" }], encrypted_content: "sig-1" })
      const back: Array<ResponseInputItem> = [{ role: "user", content: "hello" }]
      for (const item of response.output) if (item.type === "reasoning" || item.type === "message") back.push(item)
      await client.responses.create({ ...asked, input: [...back, { role: "user", content: "go on" }] })
      sentThoughts()
    }
  })
})

describe("the fine print of chat", () => {
  it("functions of the old form get a function_call, whole and streamed", async () => {
    our.mock.script({ toolCalls: toolCalls.slice(0, 1), times: 2 })
    const asked = { model: "gpt-4o", messages: hello, functions: [{ name: "weather", parameters }] }
    const whole = await client.chat.completions.create(asked)
    assert.strictEqual(whole.choices[0]?.finish_reason, "function_call")
    assert.deepStrictEqual(whole.choices[0]?.message.function_call, toolCalls[0])
    let text = ""
    const finishes: Array<string> = []
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
      text += chunk.choices[0]?.delta.function_call?.arguments ?? ""
      const reason = chunk.choices[0]?.finish_reason
      if (reason !== null && reason !== undefined) finishes.push(reason)
    }
    assert.strictEqual(text, toolCalls[0]?.arguments)
    assert.deepStrictEqual(finishes, ["function_call"])
  })

  it("X-7 what a filter stopped is told in one field by every protocol", async () => {
    const stopped = { blocked: true, categories: [] }
    our.mock.script({ finish: "content_filter", times: 3 })
    const chat = await client.chat.completions.create({ model: "gpt-4o", messages: hello })
    assert.strictEqual(chat.choices[0]?.finish_reason, "content_filter")
    assert.deepInclude(wire(chat.choices[0]), { safety: stopped })
    const last = []
    for await (const chunk of await client.chat.completions.create({ model: "gpt-4o", messages: hello, stream: true }))
      last.push(chunk.choices[0])
    assert.deepInclude(wire(last.at(-1)), { finish_reason: "content_filter", safety: stopped })
    const response = await client.responses.create({ model: "gpt-4o", input: "hello" })
    assert.deepInclude(wire(response), { status: "incomplete", incomplete_details: { reason: "content_filter" }, safety: stopped })
  })

  it("X-7 whatever the host calls it", async () => {
    const scripts: ReadonlyArray<readonly [string, Script]> = [
      ["gpt-4o", { finish: "content_filter" }],
      ["claude-sonnet-4.5", { finish: "refusal" }],
      ["gemini-2.5-flash-lite", { finish: "SAFETY" }],
      ["gemini-2.5-flash-lite", { blockReason: "SAFETY" }]
    ]
    for (const [model, script] of scripts) {
      our.mock.script(script)
      const [choice] = (await client.chat.completions.create({ model, messages: hello })).choices
      assert.strictEqual(choice?.finish_reason, "content_filter", model)
      const { safety }: { safety?: { blocked: boolean; categories: ReadonlyArray<string> } } = wire(choice)
      assert.isTrue(safety?.blocked, model)
      assert.isArray(safety?.categories)
    }
  })

  it("CM-10.1.9 logprobs that a provider does not give are null, with a note", async () => {
    const asked = { model: "claude-sonnet-4.5", messages: hello, logprobs: true, top_logprobs: 2 }
    const whole = await client.chat.completions.create(asked)
    assert.isNull(whole.choices[0]?.logprobs)
    assert.match(JSON.stringify(whole), /"notes":\["`logprobs` is null/)
    const chunks = []
    for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) chunks.push(JSON.stringify(chunk))
    assert.strictEqual(chunks.filter((chunk) => chunk.includes('"notes"')).length, 1)
  })

  it("a parameter that no provider can do is refused by name in each protocol's shape", async () => {
    const failure = await failureOf(client.chat.completions.create({ model: "claude-sonnet-4.5", messages: hello, seed: 1 }))
    assert.instanceOf(failure, OpenAI.BadRequestError)
    if (failure instanceof OpenAI.BadRequestError) {
      assert.deepInclude(failure, { code: "UNSUPPORTED_PARAMETER", param: "seed" })
    }
    const builtIn = await failureOf(
      client.responses.create({ model: "claude-sonnet-4.5", input: "hello", tools: [{ type: "web_search" }] })
    )
    assert.instanceOf(builtIn, OpenAI.BadRequestError)
    if (builtIn instanceof OpenAI.BadRequestError) assert.deepInclude(builtIn, { code: "UNSUPPORTED_PARAMETER", param: "tools" })
  })
})

describe("responses are not kept", () => {
  const refusals: ReadonlyArray<readonly [string, object]> = [
    ["previous_response_id", { previous_response_id: "resp_1" }],
    ["conversation", { conversation: "conv_1" }],
    ["background", { background: true }],
    ["prompt", { prompt: { id: "pmpt_1" } }],
    ["input.0", { input: [{ type: "item_reference", id: "msg_1" }] }]
  ]
  for (const [param, more] of refusals) {
    it(`${param} is refused by name`, async () => {
      const failure = await failureOf(client.responses.create({ model: "gpt-4o", input: "hello", ...more }))
      assert.instanceOf(failure, OpenAI.BadRequestError)
      if (failure instanceof OpenAI.BadRequestError) assert.deepInclude(failure, { code: "UNSUPPORTED_PARAMETER", param })
      assert.strictEqual(our.mock.calls().length, 0)
    })
  }

  it("store is taken either way and means nothing", async () => {
    for (const store of [true, false]) {
      const response = await client.responses.create({ model: "gpt-4o", input: "hello", store })
      assert.deepInclude(wire(response), { store: false, status: "completed" })
    }
  })
})
