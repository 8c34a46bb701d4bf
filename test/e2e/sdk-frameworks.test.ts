/**
 * The frameworks that people build on: the AI SDK (chat, responses, messages) and LangChain, against the running server.
 */
import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAI } from "@ai-sdk/openai"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { HumanMessage, ToolMessage } from "@langchain/core/messages"
import { tool as langChainTool } from "@langchain/core/tools"
import { ChatOpenAI } from "@langchain/openai"
import { generateText, jsonSchema, type LanguageModel, stepCountIs, streamText, tool } from "ai"
import { house } from "../support/house.ts"
import { newCustomer } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })

let key = ""

beforeAll(async () => {
  key = (await newCustomer(our.server, { balanceUsd: "10" })).key
})

const models = ["gpt-4o", "claude-sonnet-4.5", "gemini-2.5-flash-lite"]

const baseURL = () => `${our.server.url}/v1`
const openAi = () => createOpenAI({ baseURL: baseURL(), apiKey: key })

const protocols: Readonly<Record<string, (model: string) => LanguageModel>> = {
  chat: (model) => openAi().chat(model),
  responses: (model) => openAi().responses(model),
  messages: (model) => createAnthropic({ baseURL: baseURL(), apiKey: key })(model)
}

/** The responses protocol would otherwise refer to items that a server keeps. */
const providerOptions = { openai: { store: false } }

const citySchema = { type: "object" as const, properties: { city: { type: "string" as const } }, required: ["city"] }

const tools = {
  weather: tool({
    description: "The weather of a city",
    inputSchema: jsonSchema<{ city: string }>(citySchema),
    execute: async ({ city }) => `sunny in ${city}`
  })
}

for (const [protocol, of] of Object.entries(protocols)) {
  for (const model of models) {
    describe(`the AI SDK over ${protocol} with ${model}`, () => {
      it("X-56 generates and streams", async () => {
        our.mock.script({ text: "Good morning to you", times: 2 })
        const whole = await generateText({ model: of(model), prompt: "hello", maxOutputTokens: 1_000, maxRetries: 0 })
        const streamed = streamText({ model: of(model), prompt: "hello", maxOutputTokens: 1_000, maxRetries: 0 })
        let text = ""
        for await (const piece of streamed.textStream) text += piece
        assert.strictEqual(text, "Good morning to you")
        assert.strictEqual(whole.text, "Good morning to you")
        assert.strictEqual(whole.finishReason, "stop")
        assert.strictEqual(await streamed.finishReason, "stop")
        for (const usage of [whole.usage, await streamed.usage]) {
          assert.strictEqual(usage.inputTokens, 10)
          assert.isAbove(usage.outputTokens ?? 0, 0)
        }
      })

      it("calls tools in steps, whole and streamed", async () => {
        const call = { toolCalls: [{ name: "weather", arguments: '{"city":"Paris"}' }] }
        const asked = {
          model: of(model),
          prompt: "weather?",
          tools,
          stopWhen: stepCountIs(3),
          providerOptions,
          maxOutputTokens: 1_000,
          maxRetries: 0
        }
        our.mock.script(call, { text: "Sunny" }, call, { text: "Sunny" })
        const whole = await generateText(asked)
        const streamed = streamText(asked)
        assert.strictEqual(whole.text, "Sunny")
        assert.strictEqual(await streamed.text, "Sunny")
        for (const steps of [whole.steps, await streamed.steps]) {
          assert.deepStrictEqual(
            steps.map((step) => step.finishReason),
            ["tool-calls", "stop"]
          )
          assert.deepStrictEqual(
            steps[0]?.toolCalls.map(({ input, toolName }) => ({ toolName, input })),
            [{ toolName: "weather", input: { city: "Paris" } }]
          )
        }
        assert.strictEqual(our.mock.calls().length, 4)
        for (const at of [1, 3]) assert.include(JSON.stringify(our.mock.calls()[at]?.body), "sunny in Paris")
      })

      it("learns of a stream that breaks midway", async () => {
        our.mock.script({ cut: true, chunks: 6, times: 5 })
        const errors: Array<unknown> = []
        const streamed = streamText({
          model: of(model),
          prompt: "hello",
          maxOutputTokens: 1_000,
          maxRetries: 0,
          onError: ({ error }) => void errors.push(error)
        })
        await streamed.consumeStream()
        assert.strictEqual(errors.length, 1)
        assert.notStrictEqual(
          await streamed.finishReason.then(
            (reason) => reason,
            () => "failed"
          ),
          "stop"
        )
      })
    })
  }
}

describe("the AI SDK reads Claude's thoughts", () => {
  for (const [protocol, of] of Object.entries(protocols)) {
    if (protocol === "chat") continue
    it(`over ${protocol}, whole and streamed`, async () => {
      our.mock.script({ thinking: "Let me think", text: "Done", times: 2 })
      const asked = {
        model: of("claude-sonnet-4.5"),
        prompt: "hello",
        maxOutputTokens: 4_000,
        maxRetries: 0,
        providerOptions: {
          openai: { store: false, reasoningEffort: "low", forceReasoning: true },
          anthropic: { thinking: { type: "enabled" as const, budgetTokens: 1_024 } }
        }
      }
      assert.strictEqual((await generateText(asked)).reasoningText, "Let me think")
      assert.strictEqual(await streamText(asked).reasoningText, "Let me think")
    })
  }
})

for (const model of models) {
  describe(`LangChain with ${model}`, () => {
    const chat = (more: { useResponsesApi?: boolean } = {}) =>
      new ChatOpenAI({ model, apiKey: key, maxRetries: 0, configuration: { baseURL: baseURL() }, ...more })

    for (const useResponsesApi of [false, true]) {
      const over = useResponsesApi ? "responses" : "chat"
      it(`X-56 invokes and streams over ${over}`, async () => {
        our.mock.script({ text: "Good morning to you", times: 2 })
        const whole = await chat({ useResponsesApi }).invoke("hello")
        assert.strictEqual(whole.text, "Good morning to you")
        assert.deepInclude(JSON.parse(JSON.stringify(whole.usage_metadata ?? {})), { input_tokens: 10 })
        let text = ""
        for await (const chunk of await chat({ useResponsesApi }).stream("hello")) text += chunk.text
        assert.strictEqual(text, "Good morning to you")
      })

      it(`binds tools over ${over}`, async () => {
        const weather = langChainTool(async () => "sunny", { name: "weather", description: "The weather of a city", schema: citySchema })
        our.mock.script({ toolCalls: [{ name: "weather", arguments: '{"city":"Paris"}' }] }, { text: "Sunny" })
        const bound = chat({ useResponsesApi }).bindTools([weather])
        const question = new HumanMessage("weather?")
        const answer = await bound.invoke([question])
        assert.deepStrictEqual(
          answer.tool_calls?.map(({ args, name }) => ({ name, args })),
          [{ name: "weather", args: { city: "Paris" } }]
        )
        const result = new ToolMessage({ content: "sunny in Paris", tool_call_id: answer.tool_calls?.[0]?.id ?? "" })
        assert.strictEqual((await bound.invoke([question, answer, result])).text, "Sunny")
        assert.include(JSON.stringify(our.mock.calls()[1]?.body), "sunny in Paris")
      })
    }
  })
}
