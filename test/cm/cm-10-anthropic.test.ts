import { assert, beforeAll, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { newCustomer } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })

let key = ""

beforeAll(async () => {
  key = (await newCustomer(our.server, { balanceUsd: "10" })).key
})

const post = async (body: object): Promise<string> => {
  const response = await fetch(`${our.server.url}/v1/messages`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": "application/json", "anthropic-version": "2023-06-01" },
    body: JSON.stringify({ max_tokens: 100, messages: [{ role: "user", content: "hello" }], ...body })
  })
  return response.text()
}

interface Event {
  readonly type: string
  readonly index?: number
  readonly message?: { readonly usage: { readonly input_tokens: number } }
  readonly content_block?: { readonly type: string }
  readonly delta?: { readonly type?: string; readonly partial_json?: string; readonly stop_reason?: string }
  readonly usage?: { readonly output_tokens: number }
}

/** The events of a stream; the name of each is the type in its data. */
const eventsOf = async (body: object): Promise<ReadonlyArray<Event>> =>
  (await post({ ...body, stream: true }))
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => {
      const [name = "", data = ""] = event.split("\n")
      const parsed: Event = JSON.parse(data.slice("data: ".length))
      assert.strictEqual(name, `event: ${parsed.type}`)
      return parsed
    })

/** Types in order, repetitions of a delta once. */
const shapeOf = (events: ReadonlyArray<Event>): ReadonlyArray<string> =>
  events
    .map((event) => (event.type === "content_block_delta" ? `delta ${event.index} ${event.delta?.type}` : event.type))
    .filter((type, at, all) => type !== all[at - 1])

for (const model of ["claude-sonnet-4.5", "gpt-4o", "gemini-2.5-flash-lite"]) {
  describe(`the Anthropic protocol with ${model}`, () => {
    it("CM-10.2.1 has typed blocks of content, a type, a role and a stop reason", async () => {
      our.mock.script({ text: "Hello" })
      const answer = JSON.parse(await post({ model }))
      assert.deepInclude(answer, { type: "message", role: "assistant", stop_reason: "end_turn" })
      assert.deepInclude(answer.content[0], { type: "text", text: "Hello" })
      assert.strictEqual(answer.content.length, 1)
    })

    it("CM-10.2.2 has usage with the tokens of input and output", async () => {
      const { usage } = JSON.parse(await post({ model }))
      assert.strictEqual(usage.input_tokens, 10)
      assert.strictEqual(usage.output_tokens, 5)
    })

    it("CM-10.2.3 streams named events in order, with usage at the start and at the end", async () => {
      our.mock.script({ text: "Hello to you", chunks: 3 })
      const events = await eventsOf({ model })
      assert.deepStrictEqual(shapeOf(events), [
        "message_start",
        "content_block_start",
        "delta 0 text_delta",
        "content_block_stop",
        "message_delta",
        "message_stop"
      ])
      assert.isAbove(events[0]?.message?.usage.input_tokens ?? 0, 0)
      const last = events.find((event) => event.type === "message_delta")
      assert.strictEqual(last?.delta?.stop_reason, "end_turn")
      assert.isAbove(last?.usage?.output_tokens ?? 0, 0)
    })

    it("CM-10.2.3 streams each tool use as a block of its own index with its input in pieces", async () => {
      const inputs = ['{"city":"Paris"}', '{"city":"Rome"}']
      our.mock.script({ toolCalls: inputs.map((text) => ({ name: "weather", arguments: text })) })
      const events = await eventsOf({ model, tools: [{ name: "weather", input_schema: { type: "object" } }] })
      assert.deepStrictEqual(shapeOf(events), [
        "message_start",
        "content_block_start",
        "delta 0 input_json_delta",
        "content_block_stop",
        "content_block_start",
        "delta 1 input_json_delta",
        "content_block_stop",
        "message_delta",
        "message_stop"
      ])
      for (const [index, input] of inputs.entries()) {
        const pieces = events.filter((event) => event.index === index).map((event) => event.delta?.partial_json ?? "")
        assert.strictEqual(pieces.join(""), input)
      }
      assert.strictEqual(events.find((event) => event.type === "message_delta")?.delta?.stop_reason, "tool_use")
    })
  })
}
