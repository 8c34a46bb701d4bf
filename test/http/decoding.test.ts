/**
 * Bodies of the public protocols as conversations, and their mistakes.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type { JsonObject } from "../../schemas/Json.ts"
import * as Anthropic from "../../src/http/AnthropicRequest.ts"
import * as Chat from "../../src/http/OpenAiChatRequest.ts"
import * as Responses from "../../src/http/OpenAiResponsesRequest.ts"

const anthropic = (more: JsonObject) =>
  Result.getOrThrow(Anthropic.decodeRequest({ model: "m", max_tokens: 100, messages: [{ role: "user", content: "hi" }], ...more }))

const responses = (more: JsonObject) => Result.getOrThrow(Responses.decodeRequest({ model: "m", input: "hi", ...more }))

const mistake = (read: ReturnType<typeof Anthropic.decodeRequest>) => (Result.isFailure(read) ? read.failure : null)

const ephemeral = { type: "ephemeral" }

describe("Anthropic's bodies", () => {
  it("every kind of block has its part", () => {
    const request = anthropic({
      system: [{ type: "text", text: "Be kind", cache_control: ephemeral }],
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "look", cache_control: ephemeral },
            { type: "image", source: { type: "base64", media_type: "image/png", data: "QUJD" } },
            { type: "image", source: { type: "url", url: "https://example.com/a.png" } },
            { type: "document", title: "Plan", source: { type: "base64", media_type: "application/pdf", data: "UERG" } },
            { type: "document", source: { type: "text", media_type: "text/plain", data: "plain" } }
          ]
        },
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "hm", signature: "sig" },
            { type: "redacted_thinking", data: "sealed" },
            { type: "tool_use", id: "t1", name: "weather", input: { city: "Paris" } }
          ]
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "t1", content: "sunny", is_error: true },
            {
              type: "tool_result",
              tool_use_id: "t2",
              content: [
                { type: "text", text: "map" },
                { type: "image", source: { type: "base64", media_type: "image/png", data: "QUJD" } }
              ]
            }
          ]
        }
      ]
    })
    const { foreign, system, turns } = request.conversation()
    assert.deepStrictEqual(system, [{ _tag: "Text", text: "Be kind", cacheControl: ephemeral }])
    assert.deepStrictEqual(turns, [
      {
        role: "user",
        parts: [
          { _tag: "Text", text: "look", cacheControl: ephemeral },
          { _tag: "Image", media: { _tag: "Inline", mediaType: "image/png", base64: "QUJD" } },
          { _tag: "Image", media: { _tag: "Url", url: "https://example.com/a.png" } },
          { _tag: "File", media: { _tag: "Inline", mediaType: "application/pdf", base64: "UERG" }, name: "Plan" },
          { _tag: "Text", text: "plain" }
        ]
      },
      {
        role: "assistant",
        parts: [
          { _tag: "Reasoning", text: "hm", signature: "sig", redacted: null },
          { _tag: "Reasoning", text: "", signature: null, redacted: "sealed" },
          { _tag: "ToolCall", id: "t1", name: "weather", arguments: '{"city":"Paris"}' }
        ]
      },
      {
        role: "user",
        parts: [
          { _tag: "ToolResult", id: "t1", parts: [{ _tag: "Text", text: "sunny" }], isError: true },
          {
            _tag: "ToolResult",
            id: "t2",
            parts: [
              { _tag: "Text", text: "map" },
              { _tag: "Image", media: { _tag: "Inline", mediaType: "image/png", base64: "QUJD" } }
            ],
            isError: false
          }
        ]
      }
    ])
    assert.deepStrictEqual(foreign, [])
    assert.strictEqual(request.promptImages, 3)
  })

  it("tools, their choice, thinking, sampling and the user", () => {
    const conversation = anthropic({
      max_tokens: 4_000,
      tools: [{ name: "weather", description: "d", input_schema: { type: "object" }, cache_control: ephemeral }],
      tool_choice: { type: "any", disable_parallel_tool_use: true },
      thinking: { type: "enabled", budget_tokens: 2_000 },
      temperature: 0.5,
      top_k: 5,
      stop_sequences: ["END"],
      metadata: { user_id: "u1" },
      output_config: { effort: "max", format: { type: "json_schema", schema: { type: "object" } } }
    }).conversation()
    assert.deepStrictEqual(conversation.tools, [
      { name: "weather", description: "d", parameters: { type: "object" }, strict: null, cacheControl: ephemeral }
    ])
    assert.deepInclude(conversation, {
      toolChoice: "required",
      parallelToolCalls: false,
      thinking: { effort: "xhigh", budgetTokens: 2_000 },
      format: { _tag: "JsonSchema", name: "answer", schema: { type: "object" }, strict: true },
      user: "u1"
    })
    assert.deepInclude(conversation.sampling, { temperature: 0.5, topK: 5, stop: ["END"] })
    const choices = [{ type: "auto" }, { type: "none" }, { type: "tool", name: "weather" }].map(
      (tool_choice) => anthropic({ tool_choice }).conversation().toolChoice
    )
    assert.deepStrictEqual(choices, ["auto", "none", { name: "weather" }])
    assert.deepStrictEqual(anthropic({ thinking: { type: "disabled" } }).conversation().thinking, { effort: null, budgetTokens: 0 })
  })

  it("what only Anthropic can do is named where it stands", () => {
    const { foreign } = anthropic({
      tools: [{ type: "web_search_20250305", name: "web_search" }],
      mcp_servers: [{ type: "url" }],
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "a" },
            { type: "container_upload", file_id: "f" }
          ]
        }
      ]
    }).conversation()
    assert.deepStrictEqual(
      foreign.map(({ param }) => param),
      ["messages.0.content.1", "tools", "mcp_servers"]
    )
  })

  const mistakes: ReadonlyArray<readonly [string, JsonObject]> = [
    ["max_tokens: Field required", { max_tokens: null }],
    ["max_tokens: Input should be greater than or equal to 1", { max_tokens: 0 }],
    ["model: Field required", { model: null }],
    ["messages: at least one message is required", { messages: [] }],
    ["messages.0.role: Input should be", { messages: [{ role: "tool", content: "a" }] }],
    ["messages.0: user messages must have non-empty content", { messages: [{ role: "user", content: "" }] }],
    [
      "messages.0.content.0: text content blocks must be non-empty",
      { messages: [{ role: "user", content: [{ type: "text", text: "" }] }] }
    ],
    ["messages.0.content.0.tool_result.tool_use_id: Field required", { messages: [{ role: "user", content: [{ type: "tool_result" }] }] }],
    ["temperature: Input should be a number from 0 to 1", { temperature: 1.5 }],
    ["thinking.enabled.budget_tokens: Input should be greater than or equal to 1024", { thinking: { type: "enabled", budget_tokens: 3 } }],
    ["max_tokens: `max_tokens` must be greater than", { thinking: { type: "enabled", budget_tokens: 2_000 } }],
    ["tools.0.custom.input_schema: Field required", { tools: [{ name: "a" }] }],
    ["tool_choice.type: Input should be", { tool_choice: { type: "maybe" } }]
  ]
  for (const [message, more] of mistakes) {
    it(`tells ${message}`, () => {
      const found = mistake(Anthropic.decodeRequest({ model: "m", max_tokens: 100, messages: [{ role: "user", content: "hi" }], ...more }))
      assert.strictEqual(found?.status, 400)
      assert.include(found?.message, message)
    })
  }
})

describe("responses' bodies", () => {
  it("every kind of item has its turn", () => {
    const { foreign, system, turns } = responses({
      instructions: "Be kind",
      input: [
        { role: "developer", content: "Be brief" },
        {
          type: "message",
          role: "user",
          content: [
            { type: "input_text", text: "look" },
            { type: "input_image", image_url: "data:image/png;base64,QUJD", detail: "low" },
            { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,UERG" },
            { type: "input_file", file_url: "https://example.com/b.pdf" }
          ]
        },
        { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "hm" }], encrypted_content: "sig" },
        { type: "reasoning", id: "rs_2", summary: [], encrypted_content: "redacted_thinking.sealed" },
        { type: "function_call", call_id: "c1", name: "weather", arguments: "{}" },
        { type: "function_call_output", call_id: "c1", output: "sunny" },
        { role: "assistant", content: [{ type: "output_text", text: "Sunny." }] },
        { type: "web_search_call", id: "ws_1" }
      ]
    }).conversation()
    assert.deepStrictEqual(system, [
      { _tag: "Text", text: "Be kind" },
      { _tag: "Text", text: "Be brief" }
    ])
    assert.deepStrictEqual(turns, [
      {
        role: "user",
        parts: [
          { _tag: "Text", text: "look" },
          { _tag: "Image", media: { _tag: "Inline", mediaType: "image/png", base64: "QUJD" }, detail: "low" },
          { _tag: "File", media: { _tag: "Inline", mediaType: "application/pdf", base64: "UERG" }, name: "a.pdf" },
          { _tag: "File", media: { _tag: "Url", url: "https://example.com/b.pdf" }, name: null }
        ]
      },
      { role: "assistant", parts: [{ _tag: "Reasoning", text: "hm", signature: "sig", redacted: null }] },
      { role: "assistant", parts: [{ _tag: "Reasoning", text: "", signature: null, redacted: "sealed" }] },
      { role: "assistant", parts: [{ _tag: "ToolCall", id: "c1", name: "weather", arguments: "{}" }] },
      { role: "user", parts: [{ _tag: "ToolResult", id: "c1", parts: [{ _tag: "Text", text: "sunny" }], isError: false }] },
      { role: "assistant", parts: [{ _tag: "Text", text: "Sunny." }] }
    ])
    assert.deepStrictEqual(
      foreign.map(({ param }) => param),
      ["input.7"]
    )
  })

  it("tools, formats, effort and bounds", () => {
    const request = responses({
      tools: [{ type: "function", name: "weather", parameters: { type: "object" }, strict: true }],
      tool_choice: { type: "function", name: "weather" },
      parallel_tool_calls: false,
      text: { format: { type: "json_schema", name: "city", schema: { type: "object" }, strict: true } },
      reasoning: { effort: "low" },
      max_output_tokens: 50,
      include: ["message.output_text.logprobs"],
      top_logprobs: 3
    })
    assert.strictEqual(request.maxTokens, 50)
    assert.deepInclude(request.conversation(), {
      tools: [{ name: "weather", description: null, parameters: { type: "object" }, strict: true }],
      toolChoice: { name: "weather" },
      parallelToolCalls: false,
      format: { _tag: "JsonSchema", name: "city", schema: { type: "object" }, strict: true },
      thinking: { effort: "low", budgetTokens: null }
    })
    assert.deepInclude(request.conversation().sampling, { logprobs: true, topLogprobs: 3 })
    assert.deepStrictEqual(responses({ text: { format: { type: "json_object" } } }).conversation().format, { _tag: "Json" })
  })

  const mistakes: ReadonlyArray<readonly [string, JsonObject]> = [
    ["input", { input: null }],
    ["input", { input: [] }],
    ["input.0.role", { input: [{ role: "tool", content: "a" }] }],
    ["input.0.call_id", { input: [{ type: "function_call_output", output: "a" }] }],
    ["temperature", { temperature: 3 }],
    ["max_output_tokens", { max_output_tokens: 0 }],
    ["tools.0.name", { tools: [{ type: "function" }] }],
    ["text", { text: "json" }]
  ]
  for (const [param, more] of mistakes) {
    it(`names ${param} in ${JSON.stringify(more)}`, () => {
      assert.deepInclude(mistake(Responses.decodeRequest({ model: "m", input: "hi", ...more })), { status: 400, param })
    })
  }
})

describe("chat's bodies", () => {
  const turnsOf = (messages: ReadonlyArray<JsonObject>) =>
    Result.getOrThrow(Chat.decodeRequest({ model: "m", messages })).conversation().turns

  it("thoughts come back with what their provider wants", () => {
    const [turn] = turnsOf([
      {
        role: "assistant",
        content: "Done",
        reasoning_content: "hm",
        reasoning_details: [
          { type: "reasoning.text", index: 0, text: "hm", signature: "sig" },
          { type: "reasoning.encrypted", index: 1, data: "sealed" }
        ]
      }
    ])
    assert.deepStrictEqual(turn?.parts, [
      { _tag: "Reasoning", text: "hm", signature: "sig", redacted: null },
      { _tag: "Reasoning", text: "", signature: null, redacted: "sealed" },
      { _tag: "Text", text: "Done" }
    ])
  })

  it("functions of the old form are told apart from call to call", () => {
    const call = (city: string): JsonObject => ({ role: "assistant", content: null, function_call: { name: "weather", arguments: city } })
    const result = (content: string): JsonObject => ({ role: "function", name: "weather", content })
    const ids = turnsOf([call("a"), result("1"), call("b"), result("2")]).map(({ parts: [part] }) =>
      part && "id" in part ? part.id : null
    )
    assert.deepStrictEqual(ids, ["call_0", "call_0", "call_1", "call_1"])
  })

  it("a call's signature of Google's comes back", () => {
    const [turn] = turnsOf([
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "c1", type: "function", function: { name: "f", arguments: "{}" }, extra_content: { google: { thought_signature: "s" } } }
        ]
      }
    ])
    assert.deepInclude(turn?.parts[0], { id: "c1", signature: "s" })
  })
})
