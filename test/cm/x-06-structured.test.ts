import { assert, describe, it } from "@effect/vitest"
import type { Script } from "../../bench/mock/Script.ts"
import { check } from "../../layers/SchemaValidator.ts"
import type { JsonObject } from "../../schemas/Json.ts"
import { house } from "../support/house.ts"
import { entriesOf, jsonCall, newCustomer } from "../support/server.ts"

const our = house({ BREAKER_FAILURES: "1000" })

const models = ["openai/gpt-4o", "anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash"]

const schema = {
  type: "object",
  properties: { items: { type: "array", items: { type: "object", properties: { n: { type: "integer", minimum: 1 } }, required: ["n"] } } },
  required: ["items"]
}
const right = '{"items":[{"n":1},{"n":2}]}'
const wrong = '{"items":[{"n":1},{"n":0}]}'

const asked = (model: string, more: object = {}) => ({
  model,
  max_tokens: 100,
  messages: [{ role: "user", content: "count" }],
  response_format: { type: "json_schema", json_schema: { name: "count", schema } },
  ...more
})

interface Answer {
  readonly choices: ReadonlyArray<{ readonly message: { readonly content: string } }>
  readonly error?: { readonly code: string; readonly message: string }
}

const customerWith = async (...scripts: ReadonlyArray<Script>) => {
  our.mock.reset()
  our.mock.script(...scripts)
  return (await newCustomer(our.server, { balanceUsd: "5" })).key
}

const ask = (key: string, body: object) => jsonCall<Answer>(our.server.url, key, "POST", "/v1/chat/completions", body)

const charges = async (key: string) => (await entriesOf(our.server, key)).filter((entry) => entry.kind === "charge").length

describe("answers of a JSON schema", () => {
  it("X-6 pass when they match, from every protocol", async () => {
    for (const model of models) {
      const key = await customerWith({ text: right })
      const { body, status } = await ask(key, asked(model))
      assert.strictEqual(status, 200, model)
      assert.deepStrictEqual(JSON.parse(body.choices[0]?.message.content ?? ""), JSON.parse(right))
      assert.strictEqual(our.mock.calls().length, 1)
    }
  })

  it("X-6 are asked for once more when they do not, the error named, and charged once", async () => {
    for (const model of models) {
      const key = await customerWith({ text: wrong }, { text: right })
      const { body, status } = await ask(key, asked(model))
      assert.strictEqual(status, 200, model)
      assert.deepStrictEqual(JSON.parse(body.choices[0]?.message.content ?? ""), JSON.parse(right))
      const again = JSON.stringify(our.mock.calls()[1]?.body)
      assert.include(again, "/items/1/n", model)
      assert.strictEqual(our.mock.calls().length, 2)
      assert.strictEqual(await charges(key), 1)
    }
  })

  it("X-6 are an error that names the failing path when they still do not, and cost nothing", async () => {
    for (const model of models) {
      const key = await customerWith({ text: wrong }, { text: '{"items":[{}]}' }, { text: right })
      const { body, status } = await ask(key, asked(model))
      assert.strictEqual(status, 502)
      assert.strictEqual(body.error?.code, "SCHEMA_MISMATCH")
      assert.include(body.error?.message, "`/items/0/n`", model)
      assert.strictEqual(our.mock.calls().length, 2)
      assert.strictEqual(await charges(key), 0)
    }
  })

  it("X-6 keep the first error when asking again fails", async () => {
    const key = await customerWith({ text: "no JSON at all" }, { status: 401 })
    const { body, status } = await ask(key, asked("openai/gpt-4o"))
    assert.deepStrictEqual([status, body.error?.code], [502, "SCHEMA_MISMATCH"])
    assert.include(body.error?.message, "not JSON")
  })

  it("X-6 in pieces: no finish reason before what was asked for is whole", async () => {
    for (const model of models) {
      const streamed = async (text: string) => {
        const key = await customerWith({ text })
        const response = await fetch(`${our.server.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
          body: JSON.stringify(asked(model, { stream: true }))
        })
        return { text: await response.text(), charged: await charges(key) }
      }
      const whole = await streamed(right)
      assert.include(whole.text, '"finish_reason":"stop"', model)
      const broken = await streamed(wrong)
      assert.notInclude(broken.text, '"finish_reason":"stop"')
      assert.include(broken.text, "/items/1/n")
      assert.deepStrictEqual([whole.charged, broken.charged], [1, 0])
    }
  })

  it("X-6 hold of a provider that promises to keep to a schema itself", async () => {
    const closed = { type: "object", properties: { items: { type: "array" } }, required: ["items"], additionalProperties: false }
    const strict = { response_format: { type: "json_schema", json_schema: { name: "count", strict: true, schema: closed } } }
    const broken = await customerWith({ text: "[]" }, { text: '{"items":1}' })
    const refused = await ask(broken, asked("openai/gpt-4o", strict))
    assert.deepStrictEqual([refused.status, refused.body.error?.code], [502, "SCHEMA_MISMATCH"])
    assert.include(refused.body.error?.message, "`/items`")
    const mended = await customerWith({ text: "[]" }, { text: '{"items":[]}' })
    assert.strictEqual((await ask(mended, asked("openai/gpt-4o", strict))).status, 200)
    assert.strictEqual(our.mock.calls().length, 2)
  })

  it("X-6 hold for callers of the Anthropic and the Responses protocol", async () => {
    const bodies = [
      [
        "/v1/messages",
        { max_tokens: 100, messages: [{ role: "user", content: "count" }], output_config: { format: { type: "json_schema", schema } } }
      ],
      ["/v1/responses", { input: "count", text: { format: { type: "json_schema", name: "count", schema } } }]
    ] as const
    for (const [path, body] of bodies) {
      for (const model of models) {
        const key = await customerWith({ text: wrong }, { text: right })
        const mended = await jsonCall(our.server.url, key, "POST", path, { model, ...body })
        assert.strictEqual(mended.status, 200, `${path} ${model}`)
        assert.include(JSON.stringify(our.mock.calls()[1]?.body), "/items/1/n")
        our.mock.script({ text: wrong, times: 2 })
        const failed = await jsonCall(our.server.url, key, "POST", path, { model, ...body })
        assert.strictEqual(failed.status, 502)
        assert.include(JSON.stringify(failed.body), "/items/1/n")
      }
    }
  })
})

describe("the check of a schema", () => {
  const rows: ReadonlyArray<readonly [string, JsonObject, unknown, string | null]> = [
    ["a type", { type: "string" }, 1, "/"],
    ["what fits", { type: "string" }, "x", null],
    ["a property that is missing", { type: "object", required: ["a"] }, {}, "/a"],
    ["one that may not be", { type: "object", additionalProperties: false, properties: {} }, { b: 1 }, "/b"],
    [
      "a reference",
      { $ref: "#/$defs/n", $defs: { n: { type: "object", properties: { next: { $ref: "#/$defs/n" } }, required: ["v"] } } },
      { v: 1, next: {} },
      "/next/v"
    ],
    ["an alternative", { anyOf: [{ type: "null" }, { type: "array", items: { type: "number" } }] }, [1, "2"], "/1"],
    [
      "a property called like a word of the language",
      { type: "object", properties: { pattern: { type: "string" }, uniqueItems: { type: "number" } } },
      { pattern: 1 },
      "/pattern"
    ],
    ["a pattern", { pattern: "^[a-z]+$" }, "A", "/"],
    ["a schema that refers nowhere", { $ref: "#/$defs/none" }, 1, "/"]
  ]
  for (const [name, schema, value, path] of rows) {
    it(`X-6 names where: ${name}`, () => assert.strictEqual(check(schema, JSON.parse(JSON.stringify(value)))?.path ?? null, path))
  }

  it("X-6 ends, whatever the schema and the value are made to cost", () => {
    const layers = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`l${i}`, { anyOf: [{ $ref: `#/$defs/l${i + 1}` }, { $ref: `#/$defs/l${i + 1}` }] }])
    )
    const bomb = { $ref: "#/$defs/l0", $defs: { ...layers, l40: { type: "string" } } }
    assert.include(check(bomb, 1)?.message, "too long")
    assert.isNotNull(check({ $ref: "#" }, 1))
    const startedAt = Date.now()
    assert.isNull(check({ pattern: "^(a+)+$" }, `${"a".repeat(40)}!`))
    assert.isNull(
      check(
        { uniqueItems: true },
        Array.from({ length: 50_000 }, (_, i) => i)
      )
    )
    assert.isBelow(Date.now() - startedAt, 5_000)
  })
})
