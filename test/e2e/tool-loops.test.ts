/**
 * A model calls a tool, gets the result and answers: each public protocol over a host of each provider protocol, by the
 * makers' own SDKs.
 */
import Anthropic from "@anthropic-ai/sdk"
import { assert, describe, it } from "@effect/vitest"
import type OpenAI from "openai"
import type { Script } from "../../bench/mock/Script.ts"
import { house } from "../support/house.ts"
import { newCustomer, openAi } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })

const hosts = [
  { model: "openai/gpt-4o", protocol: "openai" },
  { model: "anthropic/claude-sonnet-4", protocol: "anthropic" },
  { model: "google/gemini-2.5-flash", protocol: "gemini" }
] as const

let key: string | undefined
const keyOf = async () => (key ??= (await newCustomer(our.server, { balanceUsd: "20" })).key)

const calls: Script = {
  thinking: "let me look",
  toolCalls: [
    { name: "look", arguments: '{"at":"sea"}' },
    { name: "look", arguments: '{"at":"sky"}' }
  ]
}
const parameters = { type: "object", properties: { at: { type: "string" } }, required: ["at"] } as const

const secondCall = () => JSON.stringify(our.mock.calls()[1]?.body)

/** What the provider has to have been told, each in its own words. */
const told = (protocol: (typeof hosts)[number]["protocol"]): void => {
  const body = secondCall()
  for (const words of ["blue waves", "grey clouds", "sea", "sky"]) assert.include(body, words, protocol)
  if (protocol === "gemini") {
    assert.include(body, '"functionResponse"')
    assert.include(body, '"thoughtSignature":"c2ln"')
  } else if (protocol === "anthropic") {
    assert.include(body, '"tool_result"')
    // The thought comes back signed, before the calls.
    assert.match(body, /"thinking":"let me look","signature":"sig-1"[^[]*"tool_use"/)
    assert.notInclude(body, "gemini")
  } else {
    assert.include(body, '"role":"tool"')
    assert.notMatch(body, /reasoning_(content|details|signature)/)
  }
}

describe("tool loops", () => {
  for (const { model, protocol } of hosts) {
    it(`of the OpenAI SDK over a host that speaks ${protocol}`, async () => {
      our.mock.script(calls, { text: "Blue below, grey above." })
      const client = openAi(our.server, await keyOf())
      const tools: Array<OpenAI.Chat.ChatCompletionTool> = [{ type: "function", function: { name: "look", parameters } }]
      const messages: Array<OpenAI.Chat.ChatCompletionMessageParam> = [{ role: "user", content: "what is there?" }]
      const asked = { model, tools, max_tokens: 4_000, reasoning_effort: "low" } as const
      const first = await client.chat.completions.create({ ...asked, messages })
      const message = first.choices[0]?.message
      assert.strictEqual(message?.tool_calls?.length, 2)
      if (message === undefined) return
      messages.push(message)
      const results = ["blue waves", "grey clouds"]
      message.tool_calls?.forEach((call, i) => messages.push({ role: "tool", tool_call_id: call.id, content: results[i] ?? "" }))
      const second = await client.chat.completions.create({ ...asked, messages })
      assert.strictEqual(second.choices[0]?.message.content, "Blue below, grey above.")
      told(protocol)
    })

    it(`of the Anthropic SDK over a host that speaks ${protocol}`, async () => {
      our.mock.script(calls, { text: "Blue below, grey above." })
      const client = new Anthropic({ baseURL: our.server.url, apiKey: await keyOf(), maxRetries: 0 })
      const tools: Array<Anthropic.Tool> = [{ name: "look", input_schema: { ...parameters, required: ["at"] } }]
      const messages: Array<Anthropic.MessageParam> = [{ role: "user", content: "what is there?" }]
      const asked = { model, tools, max_tokens: 4_000, thinking: { type: "enabled", budget_tokens: 1_024 } } as const
      const first = await client.messages.stream({ ...asked, messages }).finalMessage()
      assert.strictEqual(first.stop_reason, "tool_use")
      messages.push({ role: "assistant", content: first.content })
      const results = ["blue waves", "grey clouds"]
      const used = first.content.filter((block) => block.type === "tool_use")
      assert.strictEqual(used.length, 2)
      messages.push({
        role: "user",
        content: used.map((block, i) => ({ type: "tool_result", tool_use_id: block.id, content: results[i] ?? "" }))
      })
      const second = await client.messages.create({ ...asked, messages })
      assert.deepStrictEqual(
        second.content.filter((block) => block.type === "text").map((block) => block.text),
        ["Blue below, grey above."]
      )
      told(protocol)
    })
  }
})
