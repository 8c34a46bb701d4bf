/**
 * Mistakes in the body of `POST /v1/chat/completions`: each is told by the path where it stands, and what is right is not.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type { Json, JsonObject } from "../../schemas/Json.ts"
import { decodeRequest } from "../../src/http/OpenAiChatRequest.ts"

const user = { role: "user", content: "hi" }
const decode = (more: JsonObject) => decodeRequest({ model: "m", messages: [user], ...more })

const said = (content: Json): JsonObject => ({ messages: [{ role: "user", content }] })
const called = (call: Json): JsonObject => ({ messages: [user, { role: "assistant", content: null, tool_calls: call }] })
const tool = (fn: JsonObject): JsonObject => ({ tools: [{ type: "function", function: fn }] })

const MISSING = "MISSING_REQUIRED_FIELD"
const TYPE = "INVALID_PARAMETER_TYPE"
const RANGE = "PARAMETER_OUT_OF_RANGE"

type Mistake = readonly [body: JsonObject, param: string, code: string]

const inMessages: ReadonlyArray<Mistake> = [
  [said(["str"]), "messages.0.content.0", TYPE],
  [said([null]), "messages.0.content.0", TYPE],
  [said([{ text: "no type" }]), "messages.0.content.0.type", MISSING],
  [said([{ type: "zip" }]), "messages.0.content.0.type", RANGE],
  [said([{ type: "text" }]), "messages.0.content.0.text", MISSING],
  [said([{ type: "text", text: 5 }]), "messages.0.content.0.text", TYPE],
  [said([{ type: "text", text: "a" }, { type: "refusal" }]), "messages.0.content.1.refusal", MISSING],
  [said([{ type: "image_url" }]), "messages.0.content.0.image_url", MISSING],
  [said([{ type: "image_url", image_url: {} }]), "messages.0.content.0.image_url.url", MISSING],
  [said([{ type: "image_url", image_url: { url: 5 } }]), "messages.0.content.0.image_url.url", TYPE],
  [said([{ type: "input_audio" }]), "messages.0.content.0.input_audio", MISSING],
  [said([{ type: "input_audio", input_audio: { format: "wav" } }]), "messages.0.content.0.input_audio.data", MISSING],
  [said([{ type: "file" }]), "messages.0.content.0.file", MISSING],
  [said([{ type: "file", file: { filename: "a.pdf" } }]), "messages.0.content.0.file.file_data", MISSING],
  [{ messages: [null] }, "messages.0", TYPE],
  [{ messages: [{ ...user, name: 5 }] }, "messages.0.name", TYPE],
  [{ messages: [user, { role: "tool", content: "sunny" }] }, "messages.1.tool_call_id", MISSING],
  [{ messages: [user, { role: "tool", content: "sunny", tool_call_id: 7 }] }, "messages.1.tool_call_id", TYPE],
  [called("f"), "messages.1.tool_calls", TYPE],
  [called({}), "messages.1.tool_calls", TYPE],
  [called(["f"]), "messages.1.tool_calls.0", TYPE],
  [called([{ id: "c", type: "function" }]), "messages.1.tool_calls.0.function", MISSING],
  [called([{ id: "c", type: "function", function: {} }]), "messages.1.tool_calls.0.function.name", MISSING],
  [called([{ id: 1, type: "function", function: { name: "f" } }]), "messages.1.tool_calls.0.id", TYPE],
  [called([{ id: "c", type: "function", function: { name: "f", arguments: {} } }]), "messages.1.tool_calls.0.function.arguments", TYPE],
  [called([{ id: "c", type: "custom" }]), "messages.1.tool_calls.0.custom", MISSING],
  [{ messages: [user, { role: "assistant", function_call: "f" }] }, "messages.1.function_call", TYPE],
  [{ messages: [user, { role: "assistant", function_call: {} }] }, "messages.1.function_call.name", MISSING]
]

const inTools: ReadonlyArray<Mistake> = [
  [{ tools: {} }, "tools", TYPE],
  [{ tools: ["f"] }, "tools.0", TYPE],
  [{ tools: [null] }, "tools.0", TYPE],
  [{ tools: [{}] }, "tools.0.type", MISSING],
  [{ tools: [{ type: "function" }] }, "tools.0.function", MISSING],
  [tool({}), "tools.0.function.name", MISSING],
  [tool({ name: "" }), "tools.0.function.name", TYPE],
  [tool({ name: "f", description: 5 }), "tools.0.function.description", TYPE],
  [tool({ name: "f", parameters: "{}" }), "tools.0.function.parameters", TYPE],
  [tool({ name: "f", strict: "yes" }), "tools.0.function.strict", TYPE],
  [{ tools: [{ type: "custom" }] }, "tools.0.custom", MISSING],
  [{ functions: "f" }, "functions", TYPE],
  [{ functions: [{ parameters: {} }] }, "functions.0.name", MISSING],
  [{ tool_choice: "any" }, "tool_choice", RANGE],
  [{ tool_choice: 5 }, "tool_choice", TYPE],
  [{ tool_choice: {} }, "tool_choice.type", MISSING],
  [{ tool_choice: { type: "auto" } }, "tool_choice.type", RANGE],
  [{ tool_choice: { type: "function" } }, "tool_choice.function", MISSING],
  [{ tool_choice: { type: "function", function: {} } }, "tool_choice.function.name", MISSING],
  [{ tool_choice: { type: "custom" } }, "tool_choice.custom", MISSING],
  [{ tool_choice: { type: "allowed_tools" } }, "tool_choice.allowed_tools", MISSING],
  [{ tool_choice: { type: "allowed_tools", allowed_tools: {} } }, "tool_choice.allowed_tools.tools", MISSING],
  [{ function_call: "f" }, "function_call", TYPE],
  [{ function_call: {} }, "function_call.name", MISSING]
]

const inFields: ReadonlyArray<Mistake> = [
  [{ response_format: "json" }, "response_format", TYPE],
  [{ response_format: {} }, "response_format.type", MISSING],
  [{ response_format: { type: "xml" } }, "response_format.type", RANGE],
  [{ response_format: { type: "json_schema" } }, "response_format.json_schema", MISSING],
  [{ response_format: { type: "json_schema", json_schema: "a" } }, "response_format.json_schema", TYPE],
  [{ response_format: { type: "json_schema", json_schema: { name: "a", schema: "b" } } }, "response_format.json_schema.schema", TYPE],
  [{ reasoning_effort: "extreme" }, "reasoning_effort", RANGE],
  [{ reasoning_effort: 3 }, "reasoning_effort", TYPE],
  [{ reasoning: { effort: "extreme" } }, "reasoning.effort", RANGE],
  [{ seed: 1.5 }, "seed", TYPE],
  [{ seed: "1" }, "seed", TYPE],
  [{ user: 5 }, "user", TYPE],
  [{ top_logprobs: -1 }, "top_logprobs", RANGE],
  [{ top_logprobs: 21 }, "top_logprobs", RANGE],
  [{ top_logprobs: 1.5 }, "top_logprobs", TYPE],
  [{ logprobs: 1 }, "logprobs", TYPE],
  [{ logit_bias: [] }, "logit_bias", TYPE],
  [{ logit_bias: { "1": "a" } }, "logit_bias", RANGE],
  [{ temperature: "1" }, "temperature", RANGE],
  [{ top_p: 2 }, "top_p", RANGE],
  [{ top_k: "5" }, "top_k", TYPE],
  [{ presence_penalty: 3 }, "presence_penalty", RANGE],
  [{ frequency_penalty: "0" }, "frequency_penalty", RANGE],
  [{ n: "2" }, "n", RANGE],
  [{ max_tokens: 1.5 }, "max_tokens", RANGE],
  [{ max_completion_tokens: "5" }, "max_completion_tokens", RANGE],
  [{ max_completion_tokens: 5, max_tokens: "5" }, "max_tokens", RANGE],
  [{ stop: [5] }, "stop", TYPE],
  [{ stream: "true" }, "stream", TYPE],
  [{ stream_options: true }, "stream_options", TYPE],
  [{ stream_options: { include_usage: "yes" } }, "stream_options.include_usage", TYPE],
  [{ parallel_tool_calls: 1 }, "parallel_tool_calls", TYPE],
  [{ store: "no" }, "store", TYPE],
  [{ modalities: "text" }, "modalities", TYPE],
  [{ metadata: "a" }, "metadata", TYPE],
  [{ audio: true }, "audio", TYPE],
  [{ prediction: "a" }, "prediction", TYPE],
  [{ web_search_options: true }, "web_search_options", TYPE],
  [{ service_tier: 1 }, "service_tier", TYPE],
  [{ verbosity: 1 }, "verbosity", TYPE],
  [{ safety_identifier: 1 }, "safety_identifier", TYPE],
  [{ prompt_cache_key: 1 }, "prompt_cache_key", TYPE]
]

describe("a chat's mistakes", () => {
  for (const [body, param, code] of [...inMessages, ...inTools, ...inFields]) {
    it(`${param} is named in ${JSON.stringify(body)}`, () => {
      const read = decode(body)
      assert.isTrue(Result.isFailure(read))
      if (Result.isFailure(read)) {
        assert.deepInclude(read.failure, { status: 400, code, param })
        assert.include(read.failure.message, `\`${param}\``)
      }
    })
  }
})

const rightOnes: ReadonlyArray<JsonObject> = [
  said([
    { type: "text", text: "" },
    { type: "image_url", image_url: { url: "https://example.com/a.png", detail: "low" } },
    { type: "image_url", image_url: "https://example.com/a.png" },
    { type: "input_audio", input_audio: { data: "AA", format: "wav" } },
    { type: "file", file: { file_id: "file-1" } },
    { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,UERG" } },
    { type: "video_url", video_url: { url: "https://example.com/a.mp4" } }
  ]),
  { messages: [{ role: "assistant", content: [{ type: "refusal", refusal: "no" }] }] },
  { messages: [{ role: "assistant", tool_calls: null, function_call: null, name: null }, { role: "function" }] },
  called([
    { id: "c1", type: "function", function: { name: "f", arguments: "" } },
    { id: "c2", type: "custom", custom: { name: "g", input: "x" } }
  ]),
  { tools: [{ type: "function", function: { name: "f", description: null, parameters: null, strict: null } }] },
  { tools: [{ type: "custom", custom: { name: "g" } }, { type: "web_search" }] },
  { functions: [{ name: "f", parameters: {} }], function_call: { name: "f" } },
  ...["none", "auto", "required"].map((tool_choice) => ({ tool_choice })),
  { tool_choice: { type: "function", function: { name: "f" } } },
  { tool_choice: { type: "custom", custom: { name: "g" } } },
  { tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [] } } },
  ...["text", "json_object"].map((type) => ({ response_format: { type } })),
  { response_format: { type: "json_schema", json_schema: { name: "a" } } },
  ...["none", "minimal", "low", "medium", "high", "xhigh", "max"].map((reasoning_effort) => ({ reasoning_effort })),
  { seed: -7, user: "u", logprobs: true, top_logprobs: 0, logit_bias: { "50256": -100 } },
  { future_field: 5, enable_thinking: "yes", chat_template_kwargs: [1] }
]

describe("a chat's body", () => {
  for (const body of rightOnes) {
    it(`is taken as it is with ${JSON.stringify(body)}`, () => {
      const whole = { model: "m", messages: [user], ...body }
      assert.strictEqual(Result.getOrThrow(decodeRequest(whole)).body, whole)
    })
  }

  it("has every optional field null as if it were not there", () => {
    const fields = [...inTools, ...inFields].flatMap(([body]) => Object.keys(body))
    const empty = Object.fromEntries([...fields, "models", "provider"].map((field) => [field, null]))
    const { conversation, ...request } = Result.getOrThrow(decode(empty))
    const { conversation: plain, ...bare } = Result.getOrThrow(decode({}))
    assert.deepStrictEqual({ ...request, body: bare.body }, bare)
    assert.deepStrictEqual(conversation(), plain())
    assert.isTrue(Result.getOrThrow(decode({ provider: { allow_fallbacks: null } })).preference?.allowFallbacks)
  })

  it("says where it has what only its own protocol can say", () => {
    const { foreign } = Result.getOrThrow(
      decode({
        messages: [
          { role: "system", content: [{ type: "text", text: "a" }] },
          {
            role: "user",
            content: [
              { type: "text", text: "a" },
              { type: "video_url", video_url: { url: "https://example.com/a.mp4" } }
            ]
          },
          { role: "assistant", tool_calls: [{ id: "c2", type: "custom", custom: { name: "g", input: "x" } }] },
          { role: "tool", tool_call_id: "c2", content: [{ type: "file", file: { file_data: "data:a/b;base64,AA" } }] }
        ],
        tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [] } }
      })
    ).conversation()
    assert.deepStrictEqual(
      foreign.map(({ param }) => param),
      ["messages.1.content.1", "messages.2.tool_calls.0", "messages.3.content.0", "tool_choice"]
    )
  })

  it("an empty bias is none, and the most effort is the highest that others know", () => {
    const { sampling, thinking } = Result.getOrThrow(decode({ logit_bias: {}, reasoning_effort: "max" })).conversation()
    assert.isNull(sampling.logitBias)
    assert.deepStrictEqual(thinking, { effort: "xhigh", budgetTokens: null })
    assert.deepStrictEqual(Result.getOrThrow(decode({ logit_bias: { "1": 2 } })).conversation().sampling.logitBias, { "1": 2 })
  })

  it("measures what its parts hold", () => {
    const image = { type: "image_url", image_url: { url: "https://example.com/a.png" } }
    const { promptCharacters, promptImages } = Result.getOrThrow(decode(said([{ type: "text", text: "abcd" }, image, image])))
    assert.deepStrictEqual([promptCharacters, promptImages], [4, 2])
  })
})
