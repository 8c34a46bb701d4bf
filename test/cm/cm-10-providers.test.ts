import { assert, describe, it } from "@effect/vitest"
import type { Script } from "../../bench/mock/Script.ts"
import { house } from "../support/house.ts"
import { entriesOf, eventually, jsonCall, newCustomer } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })

/** One model of a host of each protocol. */
const hosts = [
  { model: "openai/gpt-4o", protocol: "openai", length: "length", filter: "content_filter" },
  { model: "anthropic/claude-sonnet-4", protocol: "anthropic", length: "max_tokens", filter: "refusal" },
  { model: "google/gemini-2.5-flash", protocol: "gemini", length: "MAX_TOKENS", filter: "SAFETY" }
] as const

interface Answer {
  readonly id: string
  readonly model: string
  readonly choices: ReadonlyArray<{
    readonly finish_reason: string
    readonly logprobs: { readonly content: ReadonlyArray<object> } | null
    readonly safety?: { readonly blocked: boolean }
    readonly message: {
      readonly content: string | null
      readonly reasoning_content?: string
      readonly tool_calls?: ReadonlyArray<{
        readonly id: string
        readonly type: string
        readonly function: { readonly name: string; readonly arguments: string }
      }>
    }
  }>
  readonly notes?: ReadonlyArray<string>
  readonly error?: { readonly code: string; readonly param: string | null }
}

let key: string | undefined
const keyOf = async () => (key ??= (await newCustomer(our.server, { balanceUsd: "20" })).key)

const body = (model: string, more: object) => ({ model, messages: [{ role: "user", content: "hello" }], max_tokens: 50, ...more })

const ask = async (model: string, script: Script, more: object = {}) => {
  our.mock.script(script)
  return jsonCall<Answer>(our.server.url, await keyOf(), "POST", "/v1/chat/completions", body(model, more))
}

interface Chunk {
  readonly choices: ReadonlyArray<{
    readonly delta: { readonly content?: string }
    readonly finish_reason: string | null
    readonly notes?: ReadonlyArray<string>
  }>
}

const stream = async (model: string, script: Script, more: object = {}) => {
  our.mock.script(script)
  const response = await fetch(`${our.server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${await keyOf()}`, "content-type": "application/json" },
    body: JSON.stringify(body(model, { stream: true, ...more }))
  })
  const text = await response.text()
  const chunks = text.split("\n\n").flatMap((line): ReadonlyArray<Chunk> => (line.startsWith("data: {") ? [JSON.parse(line.slice(6))] : []))
  const said = chunks.flatMap((chunk) => chunk.choices ?? [])
  return {
    text,
    said,
    content: said.map((choice) => choice.delta.content ?? "").join(""),
    finishes: said.flatMap((choice) => choice.finish_reason ?? [])
  }
}

/** The form of a value: its keys and what kind each is, whatever it says. */
const shapeOf = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(shapeOf)
  if (typeof value !== "object" || value === null) return value === null ? "null" : typeof value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shapeOf(inner)]))
}

const each = async <A>(f: (host: (typeof hosts)[number]) => Promise<A>): Promise<ReadonlyArray<A>> => {
  const all: Array<A> = []
  for (const host of hosts) all.push(await f(host))
  return all
}

describe("hosts of every protocol", () => {
  it("CM-10.3.1 give the same shape of answer and the same finish reasons", async () => {
    const finishes = (script: (host: (typeof hosts)[number]) => Script) =>
      each(async (host) => {
        const whole = await ask(host.model, script(host))
        return [whole.body.choices[0]?.finish_reason, ...(await stream(host.model, script(host))).finishes]
      })
    const plain = await each((host) => ask(host.model, { text: "grüße 🌍", thinking: "hm" }))
    for (const answer of plain) {
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.body.choices[0]?.message.content, "grüße 🌍")
      assert.strictEqual(answer.body.choices[0]?.message.reasoning_content, "hm")
    }
    const [first, ...others] = plain.map(({ body }) => {
      const { reasoning_details: _, ...message } = { reasoning_details: null, ...body.choices[0]?.message }
      return shapeOf({ ...body, choices: body.choices.map((choice) => ({ ...choice, message })) })
    })
    for (const other of others) assert.deepStrictEqual(other, first)
    assert.deepStrictEqual(
      plain.map(({ body }) => body.model),
      hosts.map((host) => host.model)
    )
    for (const reasons of await finishes(() => ({}))) assert.deepStrictEqual(reasons, ["stop", "stop"])
    for (const reasons of await finishes((host) => ({ finish: host.length }))) assert.deepStrictEqual(reasons, ["length", "length"])
    for (const reasons of await finishes((host) => ({ finish: host.filter })))
      assert.deepStrictEqual(reasons, ["content_filter", "content_filter"])
  })

  it("CM-10.3.2 let no field of their own through", async () => {
    for (const { model } of hosts) {
      const whole = JSON.stringify((await ask(model, { extraFields: true })).body)
      const streamed = (await stream(model, { extraFields: true })).text
      for (const text of [whole, streamed])
        assert.notMatch(text, /x_host|node-7|timings|fp_mock|x_provider_note|msg_mock|mock-1|responseId/)
    }
  })

  it("CM-10.1.7 give JSON in JSON mode, fences taken off, or an error", async () => {
    const json = { response_format: { type: "json_object" } }
    for (const { model } of hosts) {
      assert.deepStrictEqual(
        JSON.parse((await ask(model, { text: '```json\n{"a":1}\n```' }, json)).body.choices[0]?.message.content ?? ""),
        { a: 1 }
      )
      assert.strictEqual((await ask(model, { text: "certainly!" }, json)).status, 502)
      assert.deepStrictEqual(JSON.parse((await stream(model, { text: '{"a":1}' }, json)).content), { a: 1 })
    }
  })

  it("CM-10.1.8 give tool calls in their form", async () => {
    const tools = [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }]
    const script: Script = {
      toolCalls: [
        { name: "look", arguments: '{"at":"sea"}' },
        { name: "look", arguments: "{}" }
      ]
    }
    for (const { model } of hosts) {
      const choice = (await ask(model, script, { tools })).body.choices[0]
      assert.strictEqual(choice?.finish_reason, "tool_calls", model)
      assert.deepStrictEqual(
        choice?.message.tool_calls?.map((call) => [call.type, call.function.name, JSON.parse(call.function.arguments)]),
        [
          ["function", "look", { at: "sea" }],
          ["function", "look", {}]
        ]
      )
      assert.strictEqual(new Set(choice?.message.tool_calls?.map((call) => call.id)).size, 2)
      assert.deepStrictEqual((await stream(model, script, { tools })).finishes, ["tool_calls"])
    }
  })

  it("CM-10.1.9 give log probabilities where they have them, and say it where they have none", async () => {
    const logprobs = { logprobs: true }
    for (const model of ["openai/gpt-4o", "google/gemini-2.5-flash"]) {
      assert.isNotEmpty((await ask(model, { text: "word0" }, logprobs)).body.choices[0]?.logprobs?.content, model)
    }
    const notes = ["`logprobs` is null: the provider of this answer gives no log probabilities."]
    for (const model of ["anthropic/claude-sonnet-4", "sandbox/echo"]) {
      const without = await ask(model, {}, { ...logprobs, top_logprobs: 3 })
      assert.strictEqual(without.status, 200, model)
      assert.isNull(without.body.choices[0]?.logprobs, model)
      assert.deepStrictEqual(without.body.notes, notes, model)
      const ends = (await stream(model, {}, logprobs)).said.filter((choice) => choice.finish_reason !== null)
      assert.deepStrictEqual(
        ends.map((choice) => choice.notes),
        [notes],
        model
      )
    }
  })

  it("CM-10.1.9 a host that refuses to give log probabilities is asked without them", async () => {
    const refusals: ReadonlyArray<readonly [model: string, status: number, message: string]> = [
      ["openai/gpt-4o", 400, "You are not allowed to request logprobs from this model"],
      ["openai/gpt-4o", 422, "Extra inputs are not permitted"],
      ["google/gemini-2.5-flash", 400, "Logprobs is not enabled for models/gemini-2.5-flash"]
    ]
    for (const [model, status, message] of refusals) {
      const refusal: Script = { status, body: { error: { message } } }
      const whole = await ask(model, refusal, { logprobs: true, top_logprobs: 3 })
      assert.strictEqual(whole.status, 200, message)
      assert.isNull(whole.body.choices[0]?.logprobs, message)
      assert.strictEqual(whole.body.notes?.length, 1, message)
      const streamed = await stream(model, refusal, { logprobs: true })
      assert.strictEqual(streamed.said.filter((choice) => choice.notes?.length === 1).length, 1, message)
      const asked = our.mock.calls().map((call) => /"(response|top_)?logprobs"/i.test(JSON.stringify(call.body)))
      assert.deepStrictEqual(asked, [true, false, true, false], message)
      our.mock.reset()
    }
  })

  it("CM-10.1.9 a host that refuses for another reason is asked once", async () => {
    const refusal: Script = { status: 400, body: { error: { message: "The image is too small." } } }
    assert.strictEqual((await ask("openai/gpt-4o", refusal, { logprobs: true })).status, 400)
    assert.strictEqual(our.mock.calls().length, 1)
  })

  it("a parameter that no host of a model can do costs nothing and touches no circuit", async () => {
    const customer = await newCustomer(our.server, { balanceUsd: "5" })
    const refused = await jsonCall<Answer>(
      our.server.url,
      customer.key,
      "POST",
      "/v1/chat/completions",
      body("anthropic/claude-sonnet-4", { seed: 1 })
    )
    assert.strictEqual(refused.status, 400)
    assert.strictEqual(our.mock.calls().length, 0)
    assert.deepStrictEqual(
      (await entriesOf(our.server, customer.key)).filter((entry) => entry.kind === "charge" || entry.kind === "refund"),
      []
    )
  })

  it("X-7 tell of a refusal in one form", async () => {
    for (const { filter, model } of hosts) {
      assert.deepInclude((await ask(model, { finish: filter })).body.choices[0]?.safety, { blocked: true }, model)
    }
  })

  const broken: ReadonlyArray<readonly [string, Script]> = [
    ["empty", { empty: true }],
    ["cut", { cut: true }],
    ["malformed", { malformed: true }],
    ["that reports an error", { errorEvent: true }],
    ["that stalls", { hang: "mid" }],
    ["whose connection breaks", { reset: "mid" }]
  ]
  for (const [name, script] of broken) {
    it(`a stream ${name} never looks whole, whoever sends it`, async () => {
      for (const { model } of hosts) {
        const { finishes, text } = await stream(model, script)
        assert.deepStrictEqual(finishes, [], model)
        assert.include(text, '"error"', model)
      }
    })
  }

  const framings = ["bytes", "crlf", "comments", "multiline"] as const
  for (const framing of framings) {
    it(`a stream framed as ${framing} says the same`, async () => {
      for (const { model } of hosts) {
        const { content, finishes } = await stream(model, { framing, text: "grüße 🌍 an alle" })
        assert.deepStrictEqual([content, finishes], ["grüße 🌍 an alle", ["stop"]], model)
      }
    })
  }

  it("are asked again no more when the caller has gone", async () => {
    for (const { model, protocol } of hosts) {
      our.mock.reset()
      our.mock.script({ chunks: 1_000, chunkDelayMs: 20 })
      const leave = new AbortController()
      const response = await fetch(`${our.server.url}/v1/chat/completions`, {
        method: "POST",
        signal: leave.signal,
        headers: { authorization: `Bearer ${await keyOf()}`, "content-type": "application/json" },
        body: JSON.stringify(body(model, { stream: true, max_tokens: 1_000 }))
      })
      await response.body?.getReader().read()
      leave.abort()
      const call = () => our.mock.calls()[0]
      await eventually(() => assert.isNumber(call()?.abortedAt, protocol))
      assert.strictEqual(our.mock.calls().length, 1)
    }
  })
})
