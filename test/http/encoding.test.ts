/**
 * Answers in the public protocols: whole and streamed say the same, whatever batches the events come in.
 */
import { assert, describe, it } from "@effect/vitest"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import { none, type Usage } from "../../schemas/Usage.ts"
import * as AnthropicEdge from "../../src/http/AnthropicEdge.ts"
import * as ApiError from "../../src/http/ApiError.ts"
import * as ChatEdge from "../../src/http/OpenAiChatEdge.ts"
import * as ResponsesEdge from "../../src/http/OpenAiResponsesEdge.ts"
import type { AnswerFacts, ProtocolEdge } from "../../src/http/ProtocolEdge.ts"
import { ToolCallOrder } from "../../src/http/ToolCallOrder.ts"
import { request } from "../support/scripted.ts"

const usage: Usage = { ...none, input: 7, cachedRead: 5, cacheWrite: 3, output: 4, reasoning: 2, source: "provider" }

const facts: AnswerFacts = {
  requestId: "01a211f0-01d1-75a5-9843-b7c881d1cd9b",
  createdAt: 1_700_000_000,
  model: "org/model",
  request: request({ includeUsage: true, body: { model: "m", logprobs: true } }),
  usage: () => usage
}

const text = (value: string): InferenceEvent => ({ _tag: "Text", choice: 0, text: value })
const thought = (value: string, signature?: string): InferenceEvent => ({
  _tag: "Reasoning",
  choice: 0,
  text: value,
  ...(signature === undefined ? {} : { signature })
})
const start = (index: number): InferenceEvent => ({ _tag: "ToolCallStart", choice: 0, index, id: `call_${index}`, name: `tool${index}` })
const args = (index: number, value: string): InferenceEvent => ({ _tag: "ToolCallArguments", choice: 0, index, text: value })
const finish = (reason: "stop" | "tool_calls" | "content_filter" | "length"): InferenceEvent => ({ _tag: "Finish", choice: 0, reason })

/** Everything at once: thoughts of every kind, text, calls begun before the first has its arguments, one without any. */
const rich: ReadonlyArray<InferenceEvent> = [
  thought("let "),
  thought("me"),
  thought("", "sig-a"),
  { _tag: "Reasoning", choice: 0, text: "", redacted: "sealed" },
  thought("again", "sig-b"),
  text("Hello "),
  text("you"),
  start(0),
  start(1),
  start(2),
  args(0, '{"city":'),
  args(2, '{"n":'),
  args(0, '"Paris"}'),
  args(2, "1}"),
  { _tag: "Usage", usage },
  finish("tool_calls")
]

/** Every way to cut into runs of one size. */
const cuts = (events: ReadonlyArray<InferenceEvent>): ReadonlyArray<ReadonlyArray<ReadonlyArray<InferenceEvent>>> =>
  [1, 2, 3, 5, events.length].map((size) =>
    Array.from({ length: Math.ceil(events.length / size) }, (_, i) => events.slice(i * size, (i + 1) * size))
  )

const streamOf = (edge: ProtocolEdge, batches: ReadonlyArray<ReadonlyArray<InferenceEvent>>): ReadonlyArray<Record<string, unknown>> => {
  const encoder = edge.encodeStream(facts)
  const all = batches.map((batch) => encoder.encode(batch)).join("") + encoder.end()
  assert.isTrue(all.endsWith("\n\n"))
  return all
    .split("\n\n")
    .filter((event) => event !== "" && event !== "data: [DONE]")
    .map((event) => JSON.parse(event.slice(event.indexOf("data: ") + 6)))
}

const wholeOf = (edge: ProtocolEdge, events: ReadonlyArray<InferenceEvent>) => JSON.parse(edge.encodeAnswer(events, facts).body)

describe("the Anthropic protocol", () => {
  /** What a client makes of a stream. */
  const assemble = (events: ReadonlyArray<Record<string, unknown>>) => {
    const blocks: Array<Record<string, unknown>> = []
    let json = ""
    for (const event of events) {
      const { content_block: block, delta, index } = JSON.parse(JSON.stringify(event))
      if (event["type"] === "content_block_start") {
        assert.strictEqual(index, blocks.length)
        blocks.push(block)
        json = ""
      } else if (event["type"] === "content_block_delta") {
        assert.strictEqual(index, blocks.length - 1)
        const open = blocks[index] ?? {}
        if (delta.type === "input_json_delta") json += delta.partial_json
        else if (delta.type === "signature_delta") open["signature"] = delta.signature
        else open[delta.type === "text_delta" ? "text" : "thinking"] += delta.text ?? delta.thinking
      } else if (event["type"] === "content_block_stop" && json !== "") Object.assign(blocks[index] ?? {}, { input: JSON.parse(json) })
    }
    return blocks
  }

  it("streams what it says whole, however the events are cut", () => {
    const whole = wholeOf(AnthropicEdge.edge, rich)
    assert.deepStrictEqual(
      whole.content.map((block: { type: string }) => block.type),
      ["thinking", "redacted_thinking", "thinking", "text", "tool_use", "tool_use", "tool_use"]
    )
    assert.deepInclude(whole.usage, { input_tokens: 7, cache_read_input_tokens: 5, cache_creation_input_tokens: 3, output_tokens: 6 })
    for (const batches of cuts(rich)) {
      const events = streamOf(AnthropicEdge.edge, batches)
      const byId = (blocks: ReadonlyArray<Record<string, unknown>>) =>
        [...blocks].sort((a, b) => String(a["id"] ?? "").localeCompare(String(b["id"] ?? "")))
      assert.deepStrictEqual(byId(assemble(events)), byId(whole.content))
      assert.deepStrictEqual(
        events.slice(-2).map((event) => event["type"]),
        ["message_delta", "message_stop"]
      )
      assert.strictEqual(events.filter((event) => event["type"] === "message_start").length, 1)
    }
  })

  it("a refusal is text that ends with the reason refusal and the safety field", () => {
    const refusal: ReadonlyArray<InferenceEvent> = [{ _tag: "Refusal", choice: 0, text: "No." }, finish("content_filter")]
    const safety = { blocked: true, categories: ["refusal"] }
    assert.deepInclude(wholeOf(AnthropicEdge.edge, refusal), { stop_reason: "refusal", safety })
    const delta = streamOf(AnthropicEdge.edge, [refusal]).find((event) => event["type"] === "message_delta")?.["delta"]
    assert.deepInclude(JSON.parse(JSON.stringify(delta)), { stop_reason: "refusal", safety })
  })

  it("an error ends a stream without a normal end", () => {
    const encoder = AnthropicEdge.edge.encodeStream(facts)
    encoder.encode([text("a")])
    assert.match(
      encoder.error(ApiError.make(502, "PROVIDER_ERROR", "It broke.")),
      /^event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"It broke."\},"request_id":"[^"]+"\}\n\n$/
    )
  })
})

describe("the responses protocol", () => {
  it("streams what it says whole, however the events are cut", () => {
    const sameOutput = (output: ReadonlyArray<Record<string, unknown>>) => output.map(({ id, ...item }) => JSON.stringify(item)).sort()
    const whole = wholeOf(ResponsesEdge.edge, rich)
    for (const batches of cuts(rich)) {
      const events = streamOf(ResponsesEdge.edge, batches)
      const { response: last } = JSON.parse(JSON.stringify(events.at(-1)))
      assert.deepStrictEqual(sameOutput(last.output), sameOutput(whole.output))
      assert.deepInclude(last, { status: "completed", usage: whole.usage })
      assert.deepStrictEqual(
        events.map((event) => event["sequence_number"]),
        events.map((_, index) => index)
      )
      const done = events.flatMap((event) => (event["type"] === "response.output_item.done" ? [event["item"]] : []))
      assert.deepStrictEqual(done, last.output)
    }
  })

  it("a refusal is a part of its own kind", () => {
    const refusal: ReadonlyArray<InferenceEvent> = [text("Well. "), { _tag: "Refusal", choice: 0, text: "No." }, finish("stop")]
    const whole = wholeOf(ResponsesEdge.edge, refusal)
    assert.deepStrictEqual(
      whole.output[0].content.map((part: { type: string }) => part.type),
      ["output_text", "refusal"]
    )
    const types = streamOf(ResponsesEdge.edge, [refusal]).map((event) => event["type"])
    for (const type of ["response.refusal.delta", "response.refusal.done"]) assert.include(types, type)
  })
})

describe("the chat protocol", () => {
  it("streams the thoughts with what their provider wants back, as the whole answer has them", () => {
    const whole = wholeOf(ChatEdge.edge, rich)
    const details = [
      { type: "reasoning.text", index: 0, text: "let me", signature: "sig-a" },
      { type: "reasoning.encrypted", index: 1, data: "sealed" },
      { type: "reasoning.text", index: 2, text: "again", signature: "sig-b" }
    ]
    assert.deepStrictEqual(whole.choices[0].message.reasoning_details, details)
    for (const batches of cuts(rich)) {
      const chunks = streamOf(ChatEdge.edge, batches).map((chunk) => JSON.parse(JSON.stringify(chunk)))
      const deltas = chunks.flatMap((chunk) => (chunk.choices.length === 0 ? [] : [chunk.choices[0].delta]))
      assert.deepStrictEqual(
        deltas.flatMap((delta) => delta.reasoning_details ?? []),
        details
      )
      assert.strictEqual(deltas.map((delta) => delta.reasoning_content ?? "").join(""), whole.choices[0].message.reasoning_content)
      assert.strictEqual(deltas.map((delta) => delta.content ?? "").join(""), "Hello you")
      assert.strictEqual(chunks.filter((chunk) => chunk.usage != null).length, 1)
      assert.strictEqual(chunks.filter((chunk) => chunk.choices[0]?.finish_reason === "tool_calls").length, 1)
    }
  })

  it("CM-10.1.9 says once that a provider gave no log probabilities, and is silent where it gave some", () => {
    const given: ReadonlyArray<InferenceEvent> = [
      { _tag: "Text", choice: 0, text: "a", logprobs: { content: [{ token: "a", logprob: -0.1 }] } },
      finish("stop")
    ]
    assert.isUndefined(wholeOf(ChatEdge.edge, given).notes)
    assert.notInclude(JSON.stringify(streamOf(ChatEdge.edge, [given])), "notes")
    assert.strictEqual(wholeOf(ChatEdge.edge, [text("a"), finish("stop")]).notes.length, 1)
  })
})

describe("the order of tool calls", () => {
  it("each is written from its start to its end, nothing is lost, and late pieces of a closed one are dropped", () => {
    for (const batches of cuts(rich)) {
      const order = new ToolCallOrder()
      const out = batches.flatMap((batch) => order.push(batch))
      const indexes = out.flatMap((event) => ("index" in event ? [event.index] : []))
      assert.deepStrictEqual(indexes.filter((index, at) => index !== indexes[at - 1]).length, 3, indexes.join())
      assert.strictEqual(out.length, rich.length)
    }
    const order = new ToolCallOrder()
    const late = order.push([start(0), args(0, "{}"), start(1), args(1, "{}"), args(0, " "), finish("tool_calls")])
    assert.strictEqual(late.length, 5)
  })

  it("pieces pass at once as long as calls do not mix", () => {
    const order = new ToolCallOrder()
    for (const event of [text("a"), start(0), args(0, '{"a":1}'), start(1), args(1, "{"), text("b")].slice(0, 5)) {
      assert.deepStrictEqual(order.push([event]), [event])
    }
  })
})
