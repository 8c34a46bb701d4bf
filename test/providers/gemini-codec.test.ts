import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { gemini } from "../../bench/mock/Gemini.ts"
import type { Script } from "../../bench/mock/Script.ts"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import { mapError } from "../../src/providers/protocols/GeminiAdapter.ts"
import { decodeAnswer, GeminiStreamDecoder } from "../../src/providers/protocols/GeminiAnswerDecoder.ts"
import { encodeRequest, unsupported } from "../../src/providers/protocols/GeminiRequestEncoder.ts"
import { bytes, type CallOptions, callOf, cut, decode, textOf } from "../support/calls.ts"

const sse = (script: Script, body = {}, to = Number.POSITIVE_INFINITY) =>
  gemini
    .events(script, body)
    .slice(0, to)
    .map(({ data }) => `data: ${JSON.stringify(data)}\n\n`)
    .join("")

const stream = (text: string) => decode(new GeminiStreamDecoder(), [bytes(text)])
const finishes = (events: ReadonlyArray<InferenceEvent>): ReadonlyArray<Extract<InferenceEvent, { _tag: "Finish" }>> =>
  events.filter((event) => event._tag === "Finish")

const FLASH = "gemini-2.5-flash"
const encode = (body: JsonObject, options: CallOptions = {}) =>
  JSON.parse(
    encodeRequest(callOf("google-ai-studio", { messages: [{ role: "user", content: "hi" }], ...body }, { nativeId: FLASH, ...options }))
  )
const refuses = (body: JsonObject) => unsupported(callOf("google-ai-studio", { messages: [{ role: "user", content: "hi" }], ...body }))

const busy: Script = {
  thinking: "grüße 🌍 first",
  toolCalls: [
    { name: "look", arguments: '{"at":"näher"}' },
    { name: "wait", arguments: "{}" }
  ],
  usage: { promptTokenCount: 100, cachedContentTokenCount: 30, candidatesTokenCount: 25, thoughtsTokenCount: 20, totalTokenCount: 145 }
}

describe("answers of the Gemini protocol", () => {
  const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 })))
  it.prop("are the same events however the bytes are cut", [Cuts], ([cuts]) => {
    const all = bytes(sse(busy))
    const pieces = decode(new GeminiStreamDecoder(), cut(all, cuts))
    assert.deepStrictEqual(pieces, stream(sse(busy)))
    assert.isNull(pieces.fault)
  })

  it("have thoughts, signed tool calls and disjoint classes of tokens", () => {
    for (const { events, fault } of [stream(sse(busy)), decodeAnswer(JSON.stringify(gemini.unary(busy, {})))]) {
      assert.isNull(fault)
      assert.strictEqual(events.map((event) => (event._tag === "Reasoning" ? event.text : "")).join(""), busy.thinking)
      assert.deepStrictEqual(
        events.filter((event) => event._tag === "ToolCallStart"),
        [
          { _tag: "ToolCallStart", choice: 0, index: 0, id: "call_mock-1_0_0", name: "look", signature: "gemini:c2ln" },
          { _tag: "ToolCallStart", choice: 0, index: 1, id: "call_mock-1_0_1", name: "wait" }
        ]
      )
      assert.deepInclude(events.findLast((event) => event._tag === "Usage")?.usage, {
        input: 70,
        cachedRead: 30,
        output: 25,
        reasoning: 20,
        source: "provider"
      })
      assert.deepStrictEqual(finishes(events), [{ _tag: "Finish", choice: 0, reason: "tool_calls" }])
    }
  })

  it("tell of no figures that cannot be", () => {
    for (const usage of [{ promptTokenCount: 1e300 }, { candidatesTokenCount: -1 }, { thoughtsTokenCount: "9" }]) {
      const script = { usage: { promptTokenCount: 3, candidatesTokenCount: 5, ...usage } }
      const { events, fault } = decodeAnswer(JSON.stringify(gemini.unary(script, {})))
      assert.isNull(fault)
      assert.isFalse(events.some((event) => event._tag === "Usage"))
    }
  })

  it("keep several candidates apart", () => {
    const { events, fault } = stream(sse({ text: "ab", chunks: 2 }, { generationConfig: { candidateCount: 2 } }))
    assert.isNull(fault)
    assert.deepStrictEqual(
      finishes(events).map((event) => event.choice),
      [0, 1]
    )
    for (const choice of [0, 1]) {
      assert.strictEqual(textOf(events.filter((event) => event._tag === "Text" && event.choice === choice)), "ab")
    }
  })

  it("say how they broke", () => {
    assert.strictEqual(stream(sse({}, {}, 3)).fault, "cut")
    assert.strictEqual(stream(sse({ empty: true })).fault, "empty")
    assert.strictEqual(stream("").fault, "empty")
    assert.strictEqual(stream('data: {"candidates":\n\n').fault, "malformed")
    assert.strictEqual(stream(`${sse({}, {}, 2)}data: ${JSON.stringify(gemini.error.data)}\n\n`).fault, "reported")
    assert.strictEqual(stream(sse({ finish: "MALFORMED_FUNCTION_CALL" })).fault, "malformed")
    assert.strictEqual(stream(sse({ finish: "OTHER" })).fault, "cut")
    assert.strictEqual(decodeAnswer('{"candidates":[]}').fault?.fault, "empty")
    assert.strictEqual(decodeAnswer('{"candidates":[{"content":{"parts":[{"text":"half"}]}}]}').fault?.fault, "cut")
  })

  it("X-7 give what a filter stopped as content_filter, in one form", () => {
    const ratings = [
      { category: "HARM_CATEGORY_HATE_SPEECH", probability: "HIGH" },
      { category: "HARM_CATEGORY_HARASSMENT", probability: "NEGLIGIBLE" }
    ]
    const safe = (reason: ReadonlyArray<string>): ReturnType<typeof finishes> => [
      { _tag: "Finish", choice: 0, reason: "content_filter", safety: { blocked: true, categories: reason } }
    ]
    assert.deepEqual(finishes(stream(sse({ blockReason: "SAFETY", safetyRatings: ratings })).events), safe(["hate"]))
    assert.deepEqual(finishes(stream(sse({ finish: "RECITATION" })).events), safe(["recitation"]))
    assert.deepStrictEqual(
      finishes(decodeAnswer(JSON.stringify(gemini.unary({ finish: "SAFETY", safetyRatings: ratings }, {}))).events),
      safe(["hate"])
    )
    assert.isNull(decodeAnswer('{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}').fault)
  })

  it("have log probabilities in OpenAI's form", () => {
    const { events } = decodeAnswer(JSON.stringify(gemini.unary({}, { generationConfig: { responseLogprobs: true } })))
    const last = events.findLast((event) => event._tag === "Text")
    const token = { token: "word0", logprob: -0.1, bytes: null }
    assert.deepStrictEqual(last?.logprobs, { content: [{ ...token, top_logprobs: [token] }], refusal: null })
  })
})

describe("requests in the Gemini protocol", () => {
  it("have the system apart, contents of turns, calls and named results", () => {
    const sent = encode({
      messages: [
        { role: "system", content: "be kind" },
        { role: "user", content: "a" },
        { role: "user", content: [{ type: "image_url", image_url: { url: "https://x.test/cat.png?size=1" } }] },
        { role: "assistant", tool_calls: [{ id: "abc", type: "function", function: { name: "look", arguments: '{"x":1}' } }] },
        { role: "tool", tool_call_id: "abc", content: "seen" }
      ]
    })
    assert.deepStrictEqual(sent.systemInstruction, { parts: [{ text: "be kind" }] })
    assert.deepStrictEqual(sent.contents, [
      { role: "user", parts: [{ text: "a" }, { fileData: { mimeType: "image/png", fileUri: "https://x.test/cat.png?size=1" } }] },
      { role: "model", parts: [{ functionCall: { id: "abc", name: "look", args: { x: 1 } } }] },
      { role: "user", parts: [{ functionResponse: { id: "abc", name: "look", response: { output: "seen" } } }] }
    ])
  })

  it("sign the first call of a turn where calls must be signed", () => {
    const call = (id: string) => ({ id, type: "function", function: { name: "f", arguments: "{}" } })
    const messages = [
      { role: "user", content: "a" },
      { role: "assistant", tool_calls: [call("call_1"), call("call_2")] },
      { role: "tool", tool_call_id: "call_1", content: "1" },
      { role: "tool", tool_call_id: "call_2", content: "2" }
    ]
    const signatures = (nativeId: string) =>
      encode({ messages }, { nativeId }).contents[1].parts.map((part: { thoughtSignature?: string }) => part.thoughtSignature ?? null)
    assert.deepStrictEqual(signatures("gemini-3-pro-preview"), ["skip_thought_signature_validator", null])
    assert.deepStrictEqual(signatures(FLASH), [null, null])
  })

  it("carry the settings of the sampling", () => {
    const sent = encode({
      max_tokens: 9,
      temperature: 1.5,
      top_p: 0.5,
      seed: 3,
      stop: "END",
      n: 2,
      presence_penalty: 1,
      logprobs: true,
      top_logprobs: 2
    })
    assert.deepStrictEqual(sent.generationConfig, {
      temperature: 1.5,
      topP: 0.5,
      seed: 3,
      presencePenalty: 1,
      maxOutputTokens: 9,
      stopSequences: ["END"],
      candidateCount: 2,
      responseLogprobs: true,
      logprobs: 2
    })
    assert.strictEqual(encode({}, { maxTokens: 300 }).generationConfig.maxOutputTokens, 300)
  })

  it("carry tools and choices", () => {
    const tools = [
      { type: "function", function: { name: "f", parameters: { properties: { a: { oneOf: [{ type: "string" }], $comment: "x" } } } } }
    ]
    const sent = encode({ tools, tool_choice: { type: "function", function: { name: "f" } } })
    assert.deepStrictEqual(sent.tools, [
      {
        functionDeclarations: [{ name: "f", parametersJsonSchema: { type: "object", properties: { a: { anyOf: [{ type: "string" }] } } } }]
      }
    ])
    assert.deepStrictEqual(sent.toolConfig, { functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["f"] } })
  })

  it("think by budget or by level", () => {
    const thinking = (nativeId: string, reasoning_effort: string) =>
      encode({ reasoning_effort }, { nativeId }).generationConfig?.thinkingConfig
    assert.deepStrictEqual(thinking(FLASH, "low"), { thinkingBudget: 1_024, includeThoughts: true })
    assert.deepStrictEqual(thinking(FLASH, "none"), { thinkingBudget: 0 })
    assert.deepStrictEqual(thinking("gemini-2.5-pro", "none"), { thinkingBudget: 128 })
    assert.deepStrictEqual(thinking("gemini-3-pro-preview", "medium"), { thinkingLevel: "high", includeThoughts: true })
    assert.deepStrictEqual(thinking("gemini-3-flash-preview", "none"), { thinkingLevel: "minimal" })
    assert.isUndefined(thinking("gemini-2.0-flash-001", "high"))
  })

  it("hold an answer to a schema, by words where functions are at hand too", () => {
    const schema = { type: "object", properties: { n: { const: 1 } }, $schema: "x" }
    const body = { response_format: { type: "json_schema", json_schema: { name: "x", schema } } }
    assert.deepStrictEqual(encode(body).generationConfig, {
      responseMimeType: "application/json",
      responseJsonSchema: { type: "object", properties: { n: { enum: [1] } } }
    })
    const both = encode({ ...body, tools: [{ type: "function", function: { name: "f" } }] })
    assert.isUndefined(both.generationConfig)
    assert.include(both.systemInstruction.parts[0].text, "JSON Schema")
    assert.deepStrictEqual(encode({ response_format: { type: "json_object" } }).generationConfig, { responseMimeType: "application/json" })
  })

  it("refuse what Gemini cannot do, by the caller's name for it", () => {
    const tools = [{ type: "function", function: { name: "f" } }]
    const rows: ReadonlyArray<readonly [JsonObject, string | null]> = [
      [{ n: 9 }, "n"],
      [{ logit_bias: { "1": 2 } }, "logit_bias"],
      [{ logit_bias: {} }, null],
      [{ parallel_tool_calls: false, tools }, "parallel_tool_calls"],
      [{ prediction: { type: "content", content: "x" } }, "prediction"],
      [{ seed: 1, logprobs: true, n: 2 }, null]
    ]
    for (const [body, param] of rows) assert.strictEqual(refuses(body), param, JSON.stringify(body))
  })
})

describe("failures of the Gemini protocol", () => {
  const reasonOf = (status: number, error: object, list = false) =>
    mapError("google-ai-studio", status, {}, JSON.stringify(list ? [{ error }] : { error }), 0).reason

  it("mean what they mean everywhere", () => {
    assert.deepInclude(reasonOf(400, { message: "API key not valid. Please pass a valid API key.", status: "INVALID_ARGUMENT" }), {
      status: 401
    })
    assert.deepInclude(reasonOf(400, { message: "User location is not supported", status: "FAILED_PRECONDITION" }), { status: 403 })
    assert.deepInclude(reasonOf(400, { message: "bad field", status: "INVALID_ARGUMENT" }, true), {
      status: 400,
      code: "INVALID_ARGUMENT",
      message: "bad field"
    })
    const limited = { message: "quota", status: "RESOURCE_EXHAUSTED", details: [{ "@type": "…/RetryInfo", retryDelay: "1.5s" }] }
    assert.deepInclude(reasonOf(429, limited), { status: 429, retryAfterMs: 1_500 })
  })
})
