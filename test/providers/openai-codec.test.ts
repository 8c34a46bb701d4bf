import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { events } from "../../bench/mock/OpenAi.ts"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import { mapError } from "../../src/providers/protocols/OpenAiAdapter.ts"
import { decodeAnswer, StreamDecoder } from "../../src/providers/protocols/OpenAiChatCodec.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

const decode = (chunks: ReadonlyArray<Uint8Array>) => {
  const decoder = new StreamDecoder()
  const out: Array<InferenceEvent> = []
  for (const chunk of chunks) {
    const decoded = decoder.push(chunk)
    out.push(...decoded.events)
    if (decoded.fault !== null) return { events: out, fault: decoded.fault.fault }
  }
  const end = decoder.end()
  return { events: [...out, ...end.events], fault: end.fault?.fault ?? null }
}

const sse = (all: ReadonlyArray<object>) => all.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")
const body = { model: "m", stream: true, stream_options: { include_usage: true } }
const whole = `${sse(events({ text: "grüße 🌍 an alle", chunks: 4 }, body))}: bye\n\ndata: [DONE]\n\n`

describe("the OpenAI codec", () => {
  const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 })))
  it.prop("however the provider's bytes are cut, the events are the same", [Cuts], ([cuts]) => {
    const all = bytes(whole)
    const chunks: Array<Uint8Array> = []
    for (let at = 0, i = 0; at < all.length; i++) {
      const size = cuts[i % Math.max(1, cuts.length)] ?? 7
      chunks.push(all.slice(at, at + size))
      at += size
    }
    assert.deepStrictEqual(decode(chunks), decode([all]))
    assert.isNull(decode(chunks).fault)
  })

  it("says how a stream broke", () => {
    const all = events({ chunks: 3 }, body)
    assert.strictEqual(decode([bytes(sse(all.slice(0, 3)))]).fault, "cut")
    assert.strictEqual(decode([bytes(sse(all.slice(0, 1)))]).fault, "empty")
    assert.strictEqual(decode([]).fault, "empty")
    assert.strictEqual(decode([bytes('data: {"choices":\n\n')]).fault, "malformed")
    assert.strictEqual(decode([bytes('data: {"error":{"message":"busy"}}\n\n')]).fault, "reported")
    assert.isNull(decode([bytes(sse(all))]).fault)
    assert.isNull(decode([bytes(sse([{ choices: [{ index: 0, delta: {}, finish_reason: "content_filter" }] }]))]).fault)
  })

  it("takes an end that says no reason for one: a whole body, and [DONE]", () => {
    const stops = (decoded: { readonly events: ReadonlyArray<InferenceEvent> }) =>
      decoded.events.flatMap((event) => (event._tag === "Finish" ? [event.reason] : []))
    for (const reason of [{}, { finish_reason: null }, { finish_reason: "" }]) {
      const bare = decodeAnswer(JSON.stringify({ choices: [{ message: { content: "x" }, ...reason }] }))
      assert.deepStrictEqual([bare.fault, stops(bare)], [null, ["stop"]])
    }
    assert.strictEqual(decodeAnswer('{"choices":[{"message":{}}]}').fault?.fault, "cut")
    const said = sse([{ choices: [{ delta: { content: "x" } }] }])
    assert.strictEqual(decode([bytes(said)]).fault, "cut")
    const done = decode([bytes(`${said}data: [DONE]\n\n`)])
    assert.deepStrictEqual([done.fault, stops(done)], [null, ["stop"]])
  })

  it("says that an answer ended by its tool calls, whatever the provider calls it", () => {
    const call = { function: { name: "f", arguments: "{}" } }
    const whole = decodeAnswer(JSON.stringify({ choices: [{ message: { tool_calls: [call] }, finish_reason: "stop" }] }))
    const streamed = decode([
      bytes(sse([{ choices: [{ index: 0, delta: { tool_calls: [{ index: 0, ...call }] }, finish_reason: "stop" }] }]))
    ])
    for (const { events } of [whole, streamed]) assert.deepInclude(events.at(-1), { _tag: "Finish", reason: "tool_calls" })
  })

  it("takes no figure below zero or beyond what can be, and none that is no number, for a count", () => {
    const choices = [{ message: { content: "x" }, finish_reason: "stop" }]
    for (const usage of [
      { prompt_tokens: "100", completion_tokens: -5 },
      { prompt_tokens: -1 },
      {},
      { prompt_tokens: 1e300, completion_tokens: 5 },
      { prompt_tokens: 5, completion_tokens: 1e13 },
      { prompt_tokens: 5, completion_tokens: -1 },
      { prompt_tokens: 5, completion_tokens: "5" }
    ]) {
      const { events } = decodeAnswer(JSON.stringify({ choices, usage }))
      assert.isFalse(events.some((event) => event._tag === "Usage"))
    }
  })

  it("takes nothing after [DONE]", () => {
    const late = `${whole}data: {"choices":[{"index":0,"delta":{"content":"late"}}]}\n\n`
    assert.deepStrictEqual(decode([bytes(late)]), decode([bytes(whole)]))
  })

  it("keeps the classes of tokens apart", () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 50,
      prompt_tokens_details: { cached_tokens: 30 },
      completion_tokens_details: { reasoning_tokens: 20 }
    }
    const decoded = decodeAnswer(JSON.stringify({ choices: [{ index: 0, message: { content: "x" }, finish_reason: "stop" }], usage }))
    assert.deepInclude(decoded.events.find((event) => event._tag === "Usage")?.usage, {
      input: 70,
      cachedRead: 30,
      output: 30,
      reasoning: 20
    })
  })

  it("shows a provider's words, never its credentials", () => {
    const error = mapError(
      "openai",
      401,
      { "retry-after": "2" },
      '{"error":{"message":"Incorrect API key provided: sk-proj-abcdef123456","code":"invalid_api_key"}}',
      0
    )
    const { reason } = error
    assert.isTrue(reason._tag === "ProviderStatus" && reason.retryAfterMs === 2_000 && !reason.message.includes("abcdef"))
    const dated = mapError("openai", 503, { "retry-after": "Thu, 01 Jan 1970 00:01:00 GMT" }, "<html>", 0)
    assert.isTrue(dated.reason._tag === "ProviderStatus" && dated.reason.retryAfterMs === 60_000)
  })
})
