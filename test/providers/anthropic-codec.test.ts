import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { anthropic } from "../../bench/mock/Anthropic.ts"
import type { Script } from "../../bench/mock/Script.ts"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import { mapError } from "../../src/providers/protocols/AnthropicAdapter.ts"
import { AnthropicStreamDecoder, decodeAnswer } from "../../src/providers/protocols/AnthropicAnswerDecoder.ts"
import { encodeRequest, unsupported } from "../../src/providers/protocols/AnthropicRequestEncoder.ts"
import { bytes, type CallOptions, callOf, cut, decode, textOf } from "../support/calls.ts"

const sse = (script: Script, from = 0, to = Number.POSITIVE_INFINITY) =>
  anthropic
    .events(script, {})
    .slice(from, to)
    .map(({ data, event }) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    .join("")

const stream = (text: string, isStructured = false) => decode(new AnthropicStreamDecoder(isStructured), [bytes(text)])
const usageOf = (events: ReadonlyArray<InferenceEvent>) => events.findLast((event) => event._tag === "Usage")?.usage

const SONNET = "claude-sonnet-4-20250514"
const encode = (body: JsonObject, options: CallOptions = {}) =>
  JSON.parse(encodeRequest(callOf("anthropic", { messages: [{ role: "user", content: "hi" }], ...body }, { nativeId: SONNET, ...options })))
const refuses = (body: JsonObject, nativeId = SONNET) =>
  unsupported(callOf("anthropic", { messages: [{ role: "user", content: "hi" }], ...body }, { nativeId }))

const busy: Script = {
  thinking: "grüße 🌍 first",
  redactedThinking: "b64==",
  toolCalls: [
    { name: "look", arguments: '{"at":"näher"}' },
    { name: "wait", arguments: "" }
  ],
  usage: {
    input_tokens: 100,
    cache_read_input_tokens: 30,
    cache_creation_input_tokens: 7,
    output_tokens: 50,
    output_tokens_details: { thinking_tokens: 20 }
  }
}

describe("answers of the Anthropic protocol", () => {
  const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 })))
  it.prop("are the same events however the bytes are cut", [Cuts], ([cuts]) => {
    const all = bytes(sse(busy))
    const pieces = decode(new AnthropicStreamDecoder(false), cut(all, cuts))
    assert.deepStrictEqual(pieces, stream(sse(busy)))
    assert.isNull(pieces.fault)
  })

  it("have thoughts with their signatures, redacted ones, tool calls and disjoint classes of tokens", () => {
    for (const { events, fault } of [stream(sse(busy)), decodeAnswer(JSON.stringify(anthropic.unary(busy, {})), false)]) {
      assert.isNull(fault)
      const thoughts = events.filter((event) => event._tag === "Reasoning")
      assert.strictEqual(thoughts.map((event) => event.text).join(""), busy.thinking)
      assert.deepStrictEqual(
        thoughts.map((event) => event.signature ?? event.redacted).filter((mark) => mark !== undefined),
        ["sig-1", "b64=="]
      )
      const argumentsOf = (index: number) =>
        events.map((event) => (event._tag === "ToolCallArguments" && event.index === index ? event.text : "")).join("")
      assert.deepStrictEqual(
        events.flatMap((event) =>
          event._tag === "ToolCallStart" ? [[event.index, event.name, JSON.parse(argumentsOf(event.index))]] : []
        ),
        [
          [0, "look", { at: "näher" }],
          [1, "wait", {}]
        ]
      )
      assert.deepInclude(usageOf(events), { input: 100, cachedRead: 30, cacheWrite: 7, output: 30, reasoning: 20, source: "provider" })
      assert.deepInclude(
        events.find((event) => event._tag === "Finish"),
        { reason: "tool_calls" }
      )
    }
  })

  it("say at the beginning what the input was, and only at the end what the output was", () => {
    const first = stream(sse({ chunks: 2 }, 0, 1)).events
    assert.deepInclude(first[0], { _tag: "Usage", partial: true })
  })

  it("tell of no figures that cannot be", () => {
    for (const usage of [{ input_tokens: 1e300 }, { input_tokens: -1 }, { input_tokens: "9" }, { cache_read_input_tokens: 1e13 }]) {
      const script = { usage: { input_tokens: 3, output_tokens: 5, ...usage } }
      for (const { events, fault } of [stream(sse(script)), decodeAnswer(JSON.stringify(anthropic.unary(script, {})), false)]) {
        assert.isNull(fault)
        assert.isUndefined(usageOf(events))
      }
    }
  })

  it("say how they broke", () => {
    assert.strictEqual(stream(sse({}, 0, 5)).fault, "cut")
    assert.strictEqual(stream(sse({}, 0, 1)).fault, "empty")
    assert.strictEqual(stream("").fault, "empty")
    assert.strictEqual(stream('data: {"type":\n\n').fault, "malformed")
    assert.strictEqual(stream(`${sse({}, 0, 4)}event: error\ndata: ${JSON.stringify(anthropic.error.data)}\n\n`).fault, "reported")
    assert.isNull(stream(sse({ noDone: true })).fault)
    assert.strictEqual(decodeAnswer('{"content":[{"type":"text","text":"half"}]}', false).fault?.fault, "cut")
    assert.strictEqual(decodeAnswer('{"content":[],"stop_reason":"end_turn"}', false).fault?.fault, "empty")
    assert.strictEqual(decodeAnswer("<html>", false).fault?.fault, "malformed")
  })

  it("take nothing after message_stop", () => {
    assert.strictEqual(textOf(stream(sse({ text: "done" }) + sse({ text: "late" })).events), "done")
  })

  it("X-7 give a refusal as content_filter with what tripped it", () => {
    const { events, fault } = decodeAnswer(
      '{"content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","category":"bio"}}',
      false
    )
    assert.isNull(fault)
    assert.deepStrictEqual(events, [
      { _tag: "Finish", choice: 0, reason: "content_filter", safety: { blocked: true, categories: ["bio"] } }
    ])
  })

  it("name the stop sequence", () => {
    const { events } = stream(sse({ finish: "stop_sequence", stopSequence: "END" }))
    assert.deepInclude(
      events.find((event) => event._tag === "Finish"),
      { reason: "stop", stopSequence: "END" }
    )
  })

  it("give the input of the tool that stands for a schema as the text", () => {
    const { events, fault } = stream(sse({ toolCalls: [{ name: "json_answer", arguments: '{"a":1}' }] }), true)
    assert.isNull(fault)
    assert.strictEqual(textOf(events), '{"a":1}')
    assert.deepInclude(
      events.find((event) => event._tag === "Finish"),
      { reason: "stop" }
    )
  })
})

describe("requests in the Anthropic protocol", () => {
  it("have the system apart, turns that alternate, results of tools first and nothing empty", () => {
    const sent = encode({
      messages: [
        { role: "system", content: "be kind" },
        { role: "developer", content: [{ type: "text", text: "and brief", cache_control: { type: "ephemeral" } }] },
        { role: "user", content: "a" },
        { role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }] },
        {
          role: "assistant",
          content: "",
          tool_calls: [{ id: "call.1", type: "function", function: { name: "look", arguments: '{"x":1}' } }]
        },
        { role: "user", content: "hurry" },
        { role: "tool", tool_call_id: "call.1", content: "seen" },
        { role: "assistant", content: "so  " }
      ]
    })
    assert.deepStrictEqual(sent.system, [
      { type: "text", text: "be kind" },
      { type: "text", text: "and brief", cache_control: { type: "ephemeral" } }
    ])
    assert.deepStrictEqual(sent.messages, [
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } }
        ]
      },
      { role: "assistant", content: [{ type: "tool_use", id: "call_1", name: "look", input: { x: 1 } }] },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "call_1", content: [{ type: "text", text: "seen" }] },
          { type: "text", text: "hurry" }
        ]
      },
      { role: "assistant", content: [{ type: "text", text: "so" }] }
    ])
    assert.deepStrictEqual(sent.tools, [{ name: "look", input_schema: { type: "object" } }])
    assert.deepStrictEqual(sent.tool_choice, { type: "none" })
  })

  it("always have max_tokens: the caller's, the hold's, or the model's", () => {
    assert.strictEqual(encode({ max_tokens: 7 }).max_tokens, 7)
    assert.strictEqual(encode({}, { maxTokens: 300 }).max_tokens, 300)
    assert.strictEqual(encode({}, { model: { maxOutput: 9_000 } }).max_tokens, 9_000)
  })

  it("carry tools, choices and stops", () => {
    const tools = [{ type: "function", function: { name: "f", description: "d", parameters: { properties: {} } } }]
    const sent = encode({ tools, tool_choice: "required", parallel_tool_calls: false, stop: ["END"], temperature: 0.3, user: "u1" })
    assert.deepStrictEqual(sent.tools, [{ name: "f", description: "d", input_schema: { type: "object", properties: {} } }])
    assert.deepStrictEqual(sent.tool_choice, { type: "any", disable_parallel_tool_use: true })
    assert.deepStrictEqual([sent.stop_sequences, sent.temperature, sent.metadata], [["END"], 0.3, { user_id: "u1" }])
    assert.deepStrictEqual(encode({ tools, tool_choice: { type: "function", function: { name: "f" } } }).tool_choice, {
      type: "tool",
      name: "f"
    })
  })

  it("think within their bounds", () => {
    const large = { model: { maxOutput: 64_000 } }
    const high = encode({ reasoning_effort: "high", max_tokens: 10_000 }, large)
    assert.deepStrictEqual([high.thinking, high.max_tokens], [{ type: "enabled", budget_tokens: 8_000 }, 10_000])
    const small = encode({ reasoning_effort: "low", max_tokens: 500 }, large)
    assert.deepStrictEqual([small.thinking, small.max_tokens], [{ type: "enabled", budget_tokens: 1_024 }, 1_524])
    // What is held for bounds thoughts too.
    const poor = encode({ reasoning_effort: "low" }, { ...large, maxTokens: 600 })
    assert.deepStrictEqual([poor.thinking, poor.max_tokens], [undefined, 600])
    assert.isUndefined(encode({ reasoning_effort: "high" }, { ...large, nativeId: "claude-3-haiku-20240307" }).thinking)
    const latest = encode({ reasoning_effort: "xhigh" }, { ...large, nativeId: "claude-opus-4-7" })
    assert.deepStrictEqual(latest.thinking, { type: "adaptive", display: "summarized" })
    assert.deepStrictEqual(latest.output_config, { effort: "xhigh" })
    const atWork = encode(
      {
        reasoning_effort: "high",
        messages: [
          { role: "user", content: "a" },
          { role: "assistant", tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }] },
          { role: "tool", tool_call_id: "c", content: "r" }
        ]
      },
      large
    )
    assert.isUndefined(atWork.thinking)
  })

  it("hold an answer to a schema: by the model itself, by a tool, or by words", () => {
    const schema = { type: "object", properties: { n: { type: "integer", minimum: 1 } }, required: ["n"] }
    const format = (it: object) => ({ response_format: { type: "json_schema", json_schema: { name: "x", schema: { ...it } } } })
    const native = encode(format(schema), { nativeId: "claude-sonnet-4-5-20250929" })
    assert.deepStrictEqual(native.output_config.format, {
      type: "json_schema",
      schema: { type: "object", properties: { n: { type: "integer" } }, required: ["n"], additionalProperties: false }
    })
    const byTool = encode(format(schema))
    assert.deepStrictEqual(byTool.tool_choice, { type: "tool", name: "json_answer", disable_parallel_tool_use: true })
    assert.deepStrictEqual(byTool.tools[0].input_schema, schema)
    const map = { type: "object", additionalProperties: { type: "string" } }
    assert.isUndefined(encode(format(map), { nativeId: "claude-sonnet-4-5-20250929" }).output_config)
    assert.include(encode(format({ type: "array", items: {} })).system[0].text, "JSON Schema")
    assert.include(encode({ response_format: { type: "json_object" } }).system[0].text, "JSON only")
  })

  it("refuse what Anthropic cannot do, by the caller's name for it", () => {
    const rows: ReadonlyArray<readonly [JsonObject, string | null]> = [
      [{ n: 2 }, "n"],
      [{ logprobs: true, top_logprobs: 2 }, null],
      [{ seed: 1 }, "seed"],
      [{ logit_bias: { "1": 2 } }, "logit_bias"],
      [{ logit_bias: {} }, null],
      [{ presence_penalty: 1 }, "presence_penalty"],
      [{ frequency_penalty: 0 }, null],
      [{ temperature: 1.5 }, "temperature"],
      [{ temperature: 0.5, reasoning_effort: "high", max_tokens: 4_000 }, "temperature"],
      [{ messages: [{ role: "user", content: [{ type: "input_audio", input_audio: { data: "AA", format: "wav" } }] }] }, "messages"],
      [{ prediction: { type: "content", content: "x" } }, "prediction"],
      [{}, null]
    ]
    for (const [body, param] of rows) assert.strictEqual(refuses(body), param, JSON.stringify(body))
    assert.strictEqual(refuses({ temperature: 0.5 }, "claude-opus-4-7"), "temperature")
    const video = { type: "video_url", video_url: { url: "https://example.com/a.mp4" } }
    assert.strictEqual(refuses({ messages: [{ role: "user", content: [video] }] }), "messages.0.content.0")
    assert.isNull(refuses({ temperature: 1 }, "claude-opus-4-7"))
  })

  it("pass through when the caller speaks Anthropic, but for what must change", () => {
    const body = {
      model: "claude-sonnet-4",
      max_tokens: 50,
      drop_params: true,
      provider: "anthropic",
      system: [{ type: "text", text: "s", cache_control: { type: "ephemeral", ttl: "1h" } }],
      thinking: { type: "enabled", budget_tokens: 1_024 },
      future_field: { a: [1] },
      messages: [
        { role: "assistant", content: [{ type: "thinking", thinking: "t", signature: "s" }] },
        { role: "user", content: "hi" }
      ]
    }
    const { drop_params: _, provider: __, ...rest } = body
    assert.deepStrictEqual(encode(body, { request: { protocol: "anthropic-messages" } }), { ...rest, model: SONNET })
  })
})

describe("failures of the Anthropic protocol", () => {
  const reasonOf = (status: number, message: string) =>
    mapError("anthropic", status, { "retry-after": "3" }, JSON.stringify({ type: "error", error: { type: "some_error", message } }), 0)
      .reason

  it("mean what they mean everywhere", () => {
    assert.deepInclude(reasonOf(529, "Overloaded"), { status: 503, retryAfterMs: 3_000 })
    assert.deepInclude(reasonOf(400, "Your credit balance is too low to access the API"), { status: 402 })
    assert.deepInclude(reasonOf(400, "max_tokens: too large"), { status: 400, code: "some_error", message: "max_tokens: too large" })
  })
})
