/**
 * What can be tried without any provider's key: the sandbox, over each protocol.
 */
import { assert, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { type Customer, jsonCall, newCustomer } from "../support/server.ts"

const our = house()
let customer: Customer | undefined

interface Choice {
  readonly index: number
  readonly message: { readonly content: string }
  readonly finish_reason: string
}

const ask = async <A>(path: string, body: object) => {
  customer ??= await newCustomer(our.server)
  return jsonCall<A>(our.server.url, customer.key, "POST", path, body)
}

const chat = async (body: object) => {
  const { body: answer, headers } = await ask<{ choices: ReadonlyArray<Choice>; usage: { completion_tokens: number } }>(
    "/v1/chat/completions",
    { model: "sandbox/echo", messages: [{ role: "user", content: "one two three four" }], ...body }
  )
  const said = answer.choices.map(({ finish_reason, message }) => [message.content, finish_reason])
  return { said, tokens: answer.usage.completion_tokens, cost: headers.get("x-sluice-cost-usd") }
}

describe("the sandbox", () => {
  it("echoes the last user message, whole or as far as asked, once for each choice", async () => {
    assert.deepStrictEqual((await chat({})).said, [["one two three four", "stop"]])
    assert.deepStrictEqual((await chat({ max_tokens: 2 })).said, [["one two", "length"]])
    const twice = await chat({ max_tokens: 2, n: 2 })
    assert.deepStrictEqual(twice.said, [
      ["one two", "length"],
      ["one two", "length"]
    ])
    assert.strictEqual(twice.tokens, 4)
    assert.deepStrictEqual((await chat({ model: "sandbox/lorem", max_tokens: 3 })).said, [["lorem ipsum dolor", "length"]])
  })

  it("echoes the user's words also where a tool's result follows them, in each protocol", async () => {
    const call = { id: "call_1", type: "function", function: { name: "f", arguments: "{}" } }
    const messages = [
      { role: "user", content: "hello" },
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", tool_call_id: "call_1", content: "42" }
    ]
    assert.deepStrictEqual((await chat({ messages })).said, [["hello", "stop"]])
    assert.deepStrictEqual((await chat({ messages: [...messages, { role: "user", content: "again" }] })).said, [["again", "stop"]])
    const { body: response } = await ask<{ output: ReadonlyArray<{ content: ReadonlyArray<{ text: string }> }> }>("/v1/responses", {
      model: "sandbox/echo",
      input: [
        { role: "user", content: "hello" },
        { type: "function_call", call_id: "call_1", name: "f", arguments: "{}" },
        { type: "function_call_output", call_id: "call_1", output: "42" }
      ]
    })
    assert.strictEqual(response.output[0]?.content[0]?.text, "hello")
    const { body: message } = await ask<{ content: ReadonlyArray<{ text: string }> }>("/v1/messages", {
      model: "sandbox/echo",
      max_tokens: 50,
      messages: [
        { role: "user", content: "hello" },
        { role: "assistant", content: [{ type: "tool_use", id: "toolu_1", name: "f", input: {} }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content: "42" }] }
      ]
    })
    assert.strictEqual(message.content[0]?.text, "hello")
  })

  it("stops at the first of the sequences asked for, and is charged as far as it came", async () => {
    const stopped = await chat({ stop: ["four", "three"] })
    assert.deepStrictEqual(stopped.said, [["one two ", "stop"]])
    assert.isBelow(Number(stopped.cost), Number((await chat({})).cost))
    assert.deepStrictEqual((await chat({ stop: "o" })).said, [["", "stop"]])
    assert.deepStrictEqual((await chat({ stop: ["nowhere", ""] })).said, [["one two three four", "stop"]])
    const { body } = await ask<{ content: ReadonlyArray<{ text: string }>; stop_reason: string; stop_sequence: string }>("/v1/messages", {
      model: "sandbox/echo",
      max_tokens: 50,
      stop_sequences: [" three"],
      messages: [{ role: "user", content: "one two three four" }]
    })
    assert.deepStrictEqual([body.content[0]?.text, body.stop_reason, body.stop_sequence], ["one two", "stop_sequence", " three"])
  })
})
