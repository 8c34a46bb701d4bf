import { assert, describe, it } from "@effect/vitest"
import type { Conversation } from "../../schemas/Conversation.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import { toConversation } from "../../src/http/OpenAiChatConversation.ts"
import { decodeAnswer } from "../../src/providers/protocols/OpenAiChatCodec.ts"
import { encodeRequest, unsupported } from "../../src/providers/protocols/OpenAiRequestEncoder.ts"
import { type CallOptions, callOf } from "../support/calls.ts"

const hi = { messages: [{ role: "user", content: "hi" }] }
const passed = (slug: string, body: JsonObject, options: CallOptions = {}) =>
  JSON.parse(encodeRequest(callOf(slug, { ...hi, ...body }, options)))

/** A call whose caller speaks another protocol: only the conversation counts. */
const foreign = (slug: string, change: (plain: Conversation) => Partial<Conversation>, options: CallOptions = {}) => {
  const plain = toConversation(hi)
  const conversation = () => ({ ...plain, ...change(plain) })
  return callOf(slug, {}, { ...options, request: { protocol: "anthropic-messages", conversation, ...options.request } })
}
const encoded = (...args: Parameters<typeof foreign>) => JSON.parse(encodeRequest(foreign(...args)))

describe("a body in OpenAI's protocol", () => {
  it("goes on with fields that nobody knows, without those that speak to the gateway", () => {
    const body = { ...hi, model: "gpt-4o", models: ["x"], provider: "openai", drop_params: true, web_search_options: {}, future: { a: 1 } }
    assert.deepStrictEqual(passed("openai", body), { ...hi, model: "native-model", web_search_options: {}, future: { a: 1 } })
  })

  it("has its bound by the name that the provider knows", () => {
    const reasoner = { nativeId: "gpt-5-mini" }
    assert.deepInclude(passed("openai", { max_tokens: 9 }, reasoner), { max_completion_tokens: 9 })
    assert.notProperty(passed("openai", { max_tokens: 9 }, reasoner), "max_tokens")
    assert.deepInclude(passed("deepseek", { max_completion_tokens: 9 }), { max_tokens: 9 })
    assert.deepInclude(passed("groq", { max_completion_tokens: 9 }), { max_completion_tokens: 9 })
    assert.deepInclude(passed("openai", {}, { ...reasoner, maxTokens: 70 }), { max_completion_tokens: 70 })
  })

  it("asks for usage where that may be asked", () => {
    assert.deepStrictEqual(passed("openai", { stream: true, stream_options: { include_obfuscation: false } }).stream_options, {
      include_obfuscation: false,
      include_usage: true
    })
    assert.notProperty(passed("mistral", { stream: true, stream_options: { include_usage: true } }), "stream_options")
  })

  it("gives each provider back only the thoughts that it takes", () => {
    const message = {
      role: "assistant",
      content: "a",
      reasoning_content: "t",
      reasoning_details: [{ type: "reasoning.text", text: "t" }],
      reasoning_signature: "s",
      tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" }, extra_content: { google: {} } }]
    }
    const kept = (slug: string) => Object.keys(passed(slug, { messages: [message] }).messages[0])
    assert.deepStrictEqual(kept("openai"), ["role", "content", "tool_calls"])
    assert.deepStrictEqual(kept("deepseek"), ["role", "content", "reasoning_content", "tool_calls"])
    assert.deepStrictEqual(kept("openrouter"), ["role", "content", "reasoning_details", "tool_calls"])
    assert.notProperty(passed("openai", { messages: [message] }).messages[0].tool_calls[0], "extra_content")
  })
})

describe("a conversation in OpenAI's protocol", () => {
  it("has the system first, calls and results in their places, images of results shown by the user", () => {
    const sent = encoded("openai", () => ({
      system: [
        { _tag: "Text", text: "be kind", cacheControl: { type: "ephemeral" } },
        { _tag: "Text", text: "and brief" }
      ],
      turns: [
        { role: "user", parts: [{ _tag: "Text", text: "a" }] },
        {
          role: "assistant",
          parts: [
            { _tag: "Reasoning", text: "t", signature: "s", redacted: null },
            { _tag: "Text", text: "so" }
          ]
        },
        { role: "assistant", parts: [{ _tag: "ToolCall", id: "toolu_1", name: "look", arguments: '{"x":1}' }] },
        {
          role: "user",
          parts: [
            {
              _tag: "ToolResult",
              id: "toolu_1",
              isError: false,
              parts: [
                { _tag: "Text", text: "seen" },
                { _tag: "Image", media: { _tag: "Inline", mediaType: "image/png", base64: "AA" } }
              ]
            },
            { _tag: "Text", text: "go on" }
          ]
        }
      ],
      tools: [{ name: "look", description: null, parameters: { type: "object" }, strict: true }],
      toolChoice: { name: "look" },
      parallelToolCalls: false,
      user: "u1"
    }))
    assert.deepStrictEqual(sent.messages, [
      { role: "system", content: "be kind\n\nand brief" },
      { role: "user", content: "a" },
      {
        role: "assistant",
        content: "so",
        tool_calls: [{ id: "toolu_1", type: "function", function: { name: "look", arguments: '{"x":1}' } }]
      },
      { role: "tool", tool_call_id: "toolu_1", content: "seen" },
      {
        role: "user",
        content: [
          { type: "image_url", image_url: { url: "data:image/png;base64,AA" } },
          { type: "text", text: "go on" }
        ]
      }
    ])
    assert.deepStrictEqual(sent.tools, [{ type: "function", function: { name: "look", parameters: { type: "object" }, strict: true } }])
    assert.deepInclude(sent, { tool_choice: { type: "function", function: { name: "look" } }, parallel_tool_calls: false, user: "u1" })
  })

  it("keeps marks and signed thoughts for who understands them", () => {
    const sent = encoded("openrouter", () => ({
      system: [{ _tag: "Text", text: "s", cacheControl: { type: "ephemeral" } }],
      turns: [
        {
          role: "assistant",
          parts: [
            { _tag: "Reasoning", text: "t", signature: "s", redacted: null },
            { _tag: "Text", text: "a" }
          ]
        }
      ]
    }))
    assert.deepStrictEqual(sent.messages, [
      { role: "system", content: [{ type: "text", text: "s", cache_control: { type: "ephemeral" } }] },
      { role: "assistant", content: "a", reasoning_details: [{ type: "reasoning.text", index: 0, text: "t", signature: "s" }] }
    ])
  })

  it("asks for effort and form in the words of each", () => {
    const thinking = { effort: null, budgetTokens: 4_000 }
    const able = { model: { supports: { ...callOf("openai", {}).model.supports, reasoning: true, json_schema: true } } }
    const closed = { type: "object", properties: { a: {} }, required: ["a"], additionalProperties: false }
    const format = { _tag: "JsonSchema", name: "x", schema: closed, strict: true } as const
    const reasoner = encoded("openai", () => ({ thinking, format, system: [{ _tag: "Text", text: "s" }] }), {
      ...able,
      nativeId: "o4-mini",
      request: { maxTokens: 50, stream: true }
    })
    assert.deepInclude(reasoner, {
      reasoning_effort: "medium",
      max_completion_tokens: 50,
      stream: true,
      stream_options: { include_usage: true },
      response_format: { type: "json_schema", json_schema: { name: "x", schema: closed, strict: true } }
    })
    assert.strictEqual(reasoner.messages[0].role, "developer")
    // Strict mode takes only closed objects with every property required.
    const open = encoded("openai", () => ({ format: { ...format, schema: { type: "object", properties: { a: {} } } } }), able)
    assert.isFalse(open.response_format.json_schema.strict)
    assert.deepStrictEqual(encoded("openrouter", () => ({ thinking }), able).reasoning, { max_tokens: 4_000 })
    const simple = encoded("groq", () => ({ thinking, format }))
    assert.notProperty(simple, "reasoning_effort")
    assert.deepStrictEqual(simple.response_format, { type: "json_object" })
    assert.include(simple.messages[0].content, "JSON Schema")
  })

  it("refuses what the provider cannot do, by the caller's name for it", () => {
    const sampling = (more: object) => (plain: Conversation) => ({ sampling: { ...plain.sampling, ...more } })
    const reasoner = { nativeId: "o4-mini" }
    assert.strictEqual(unsupported(foreign("openai", sampling({ topK: 5 }))), "top_k")
    assert.isNull(unsupported(foreign("groq", sampling({ topK: 5 }))))
    assert.strictEqual(unsupported(foreign("openai", sampling({ stop: ["x"] }), reasoner)), "stop_sequences")
    assert.strictEqual(unsupported(foreign("openai", sampling({ temperature: 0.5 }), reasoner)), "temperature")
    assert.strictEqual(unsupported(foreign("openai", () => ({ foreign: [{ param: "mcp_servers", value: [] }] }))), "mcp_servers")
  })
})

describe("answers of providers that speak OpenAI's protocol each in their way", () => {
  const answer = (message: object, more: object = {}, usage: object = {}) =>
    decodeAnswer(JSON.stringify({ choices: [{ index: 0, message, finish_reason: "stop", ...more }], usage }))

  it("have thoughts as text, as details with signatures, or among the content", () => {
    const thoughts = (message: object) => answer(message).events.filter((event) => event._tag === "Reasoning")
    const plain = [{ _tag: "Reasoning" as const, choice: 0, text: "t" }]
    assert.deepStrictEqual(thoughts({ content: "a", reasoning_content: "t" }), plain)
    assert.deepStrictEqual(thoughts({ content: "a", reasoning: "t" }), plain)
    assert.deepStrictEqual(
      thoughts({
        content: [
          { type: "thinking", thinking: [{ type: "text", text: "t" }] },
          { type: "text", text: "a" }
        ]
      }),
      plain
    )
    const format = "anthropic-claude-v1"
    const details = [
      { type: "reasoning.text", text: "t", signature: "s", format },
      { type: "reasoning.encrypted", data: "x", format },
      { type: "reasoning.encrypted", data: "y", format: "openai-responses-v1" }
    ]
    assert.deepStrictEqual(thoughts({ content: "a", reasoning: "t", reasoning_details: details }), [
      { _tag: "Reasoning", choice: 0, text: "t", signature: "s" },
      { _tag: "Reasoning", choice: 0, text: "", redacted: "x" }
    ])
  })

  it("never look whole when the provider broke them off", () => {
    assert.strictEqual(answer({ content: "half" }, { finish_reason: "insufficient_system_resource" }).fault?.fault, "reported")
  })

  it("X-7 say what a filter found", () => {
    const { events } = answer(
      { content: "" },
      { finish_reason: "content_filter", content_filter_results: { hate: { filtered: true }, violence: { filtered: false } } }
    )
    assert.deepStrictEqual(events, [
      { _tag: "Finish", choice: 0, reason: "content_filter", safety: { blocked: true, categories: ["hate"] } }
    ])
  })

  it("have their tokens counted in disjoint classes, however each counts", () => {
    const usage = (figures: object) => answer({ content: "a" }, {}, figures).events.find((event) => event._tag === "Usage")?.usage
    assert.deepInclude(usage({ prompt_tokens: 10, completion_tokens: 4, prompt_cache_hit_tokens: 3 }), {
      input: 7,
      cachedRead: 3,
      output: 4
    })
    const beside = { prompt_tokens: 10, completion_tokens: 4, total_tokens: 20, completion_tokens_details: { reasoning_tokens: 6 } }
    assert.deepInclude(usage(beside), { output: 4, reasoning: 6 })
    assert.deepInclude(usage({ ...beside, total_tokens: 14 }), { output: 0, reasoning: 4 })
    const written = { prompt_tokens: 10, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 2, cache_write_tokens: 5 } }
    assert.deepInclude(usage(written), { input: 3, cachedRead: 2, cacheWrite: 5 })
  })
})
