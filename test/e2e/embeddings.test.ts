import { assert, describe, it } from "@effect/vitest"
import type { Script } from "../../bench/mock/Script.ts"
import { house } from "../support/house.ts"
import { assertCharged, assertUncharged, lastRequest, type Refusal } from "../support/media.ts"
import { type Customer, jsonCall, newCustomer, openAi } from "../support/server.ts"

const our = house((url) => ({
  BREAKER_FAILURES: "1000",
  OPENROUTER_API_KEY: "or-openrouter",
  OPENROUTER_BASE_URL: url
}))
const rich = () => newCustomer(our.server, { balanceUsd: "1" })

interface Vectors {
  readonly object: string
  readonly model: string
  readonly data: ReadonlyArray<{ readonly object: string; readonly index: number; readonly embedding: ReadonlyArray<number> | string }>
  readonly usage: { readonly prompt_tokens: number; readonly total_tokens: number }
}

const embed = (customer: Customer, more: object = {}) =>
  jsonCall<Vectors & Refusal>(our.server.url, customer.key, "POST", "/v1/embeddings", {
    model: "text-embedding-3-small",
    input: "hello",
    ...more
  })

describe("embeddings", () => {
  it("through the official client, which asks for base64 and decodes it", async () => {
    const customer = await rich()
    const { data, response } = await openAi(our.server, customer.key)
      .embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"], dimensions: 4, user: "u-1" })
      .withResponse()
    assert.deepStrictEqual(
      data.data.map(({ embedding, index }) => [index, embedding]),
      [
        [0, [0, 0.25, 0.5, 0.75]],
        [1, [1, 1.25, 1.5, 1.75]]
      ]
    )
    assert.deepStrictEqual(data.usage, { prompt_tokens: 10, total_tokens: 10 })
    assert.strictEqual(data.model, "openai/text-embedding-3-small")
    assert.strictEqual(response.headers.get("x-sluice-provider"), "openai")
    assert.strictEqual(response.headers.get("x-sluice-cache"), "bypass")
    await assertCharged(our.server, customer, response.headers, "0.0000002", "1")
    assert.deepStrictEqual(our.mock.calls()[0]?.body, {
      model: "text-embedding-3-small",
      input: ["one", "two"],
      dimensions: 4,
      user: "u-1",
      encoding_format: "base64"
    })
    assert.deepInclude(await lastRequest(our.server, customer), { outcome: "ok", usage_source: "provider", cost_usd: "0.0000002" })
  })

  it("answers numbers where numbers are asked for and base64 where base64 is, whatever the provider gives", async () => {
    const customer = await rich()
    const numbers = await embed(customer, { dimensions: 2 })
    assert.deepStrictEqual(numbers.body.data, [{ object: "embedding", index: 0, embedding: [0, 0.25] }])
    our.mock.script({ ignoresEncoding: true })
    const text = await embed(customer, { dimensions: 2, encoding_format: "base64" })
    assert.strictEqual(text.body.data[0]?.embedding, Buffer.from(new Float32Array([0, 0.25]).buffer).toString("base64"))
    await embed(customer, { encoding_format: "float" })
    assert.strictEqual(our.mock.calls().at(-1)?.body["encoding_format"], "float")
  })

  const inputs: ReadonlyArray<readonly [string, unknown, number, number]> = [
    ["a text", "x".repeat(400), 1, 100],
    ["texts", ["x".repeat(40), "x".repeat(44)], 2, 21],
    ["tokens", [1, 2, 3], 1, 3],
    ["arrays of tokens", [[1, 2, 3], [4]], 2, 4]
  ]
  for (const [title, input, vectors, tokens] of inputs) {
    it(`takes ${title}; where the provider counts nothing, ${tokens} tokens are charged`, async () => {
      const customer = await rich()
      our.mock.script({ noUsage: true })
      const { body, headers } = await embed(customer, { input })
      assert.strictEqual(body.data.length, vectors)
      assert.strictEqual(body.usage.total_tokens, tokens)
      await assertCharged(our.server, customer, headers, `0.${String(tokens * 2).padStart(8, "0")}`, "1")
      assert.deepInclude(await lastRequest(our.server, customer), { usage_source: "estimated" })
      assert.deepStrictEqual(our.mock.calls()[0]?.body["input"], input)
    })
  }

  it("without the money for the input: 402, and no provider hears of it", async () => {
    const poor = await newCustomer(our.server, { balanceUsd: "0.000001999999" })
    const { body, status } = await embed(poor, { input: "x".repeat(400) })
    assert.strictEqual(status, 402)
    assert.strictEqual(body.error.code, "INSUFFICIENT_CREDITS")
    assert.strictEqual(our.mock.calls().length, 0)
    const exact = await newCustomer(our.server, { balanceUsd: "0.000002" })
    assert.strictEqual((await embed(exact, { input: "x".repeat(400) })).status, 200)
  })

  it("the next provider answers when the first fails, and a fallback model when both do", async () => {
    const customer = await rich()
    our.mock.script({ status: 503, apiKey: "sk-openai" })
    const { headers } = await embed(customer)
    assert.strictEqual(headers.get("x-sluice-provider"), "openrouter")
    assert.strictEqual(our.mock.calls()[1]?.body["model"], "openai/text-embedding-3-small")
    await assertCharged(our.server, customer, headers, "0.0000001", "1")
    our.mock.script({ status: 404, times: 2 })
    const other = await embed(customer, { models: ["text-embedding-3-large", "gpt-4o"] })
    assert.strictEqual(other.headers.get("x-sluice-model"), "openai/text-embedding-3-large")
    assert.notProperty(our.mock.calls().at(-1)?.body, "models")
  })

  const faults: ReadonlyArray<readonly [string, Script, number]> = [
    ["a 5xx", { status: 500, times: 3 }, 502],
    ["silence", { hang: "head", times: 2 }, 504],
    ["no vectors", { empty: true, times: 2 }, 502],
    ["an answer that is no JSON", { malformed: true, times: 2 }, 502]
  ]
  for (const [title, script, expected] of faults) {
    it(`${title} of every provider is refunded and answered ${expected}`, async () => {
      const customer = await rich()
      our.mock.script(script)
      assert.strictEqual((await embed(customer)).status, expected)
      await assertUncharged(our.server, customer, "1", "refund")
    })
  }

  const mistakes: ReadonlyArray<readonly [string, object, number, RegExp, string]> = [
    ["no input", { input: undefined }, 400, /`input` is missing/, "input"],
    ["an empty text", { input: "" }, 400, /none of it empty/, "input"],
    ["an empty array", { input: [] }, 400, /none of it empty/, "input"],
    ["texts and tokens mixed", { input: ["a", [1]] }, 400, /`input` must be/, "input"],
    ["an object", { input: { text: "a" } }, 400, /`input` must be/, "input"],
    ["too many texts", { input: Array.from({ length: 2_049 }, () => "a") }, 400, /more than 2048/, "input"],
    ["dimensions of 0", { dimensions: 0 }, 400, /`dimensions`/, "dimensions"],
    ["another encoding", { encoding_format: "hex" }, 400, /float, base64/, "encoding_format"],
    ["a chat model", { model: "gpt-4o" }, 400, /`openai\/gpt-4o` cannot do embeddings.*chat/, "model"],
    ["an unknown model", { model: "nothing" }, 404, /does not exist/, "model"]
  ]
  for (const [title, more, expected, message, param] of mistakes) {
    it(`refuses ${title} with ${expected} and says why`, async () => {
      const customer = await rich()
      const { body, status } = await embed(customer, more)
      assert.strictEqual(status, expected)
      assert.match(body.error.message, message)
      assert.strictEqual(body.error.param, param)
      assert.strictEqual(our.mock.calls().length, 0)
    })
  }

  it("a model for embeddings does not chat", async () => {
    const customer = await rich()
    const refused = await jsonCall<Refusal>(our.server.url, customer.key, "POST", "/v1/chat/completions", {
      model: "text-embedding-3-small",
      messages: [{ role: "user", content: "hello" }]
    })
    assert.strictEqual(refused.status, 400)
    assert.match(refused.body.error.message, /cannot do chat.*\/v1\/embeddings/)
  })

  it("a repetition comes out of the response cache, free, and is charged once", async () => {
    const customer = await rich()
    const ask = async () => {
      const response = await fetch(`${our.server.url}/v1/embeddings`, {
        method: "POST",
        headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json", "x-sluice-cache": "on" },
        body: JSON.stringify({ model: "text-embedding-3-small", input: "again", dimensions: 2 })
      })
      const body: Vectors = JSON.parse(await response.text())
      return { headers: response.headers, body }
    }
    const first = await ask()
    const again = await ask()
    assert.strictEqual(first.headers.get("x-sluice-cache"), "miss")
    assert.strictEqual(again.headers.get("x-sluice-cache"), "hit")
    assert.strictEqual(again.headers.get("x-sluice-cost-usd"), "0.00")
    assert.deepStrictEqual(again.body.data, first.body.data)
    assert.strictEqual(our.mock.calls().length, 1)
    await assertCharged(our.server, customer, first.headers, "0.0000001", "1")
  })

  it("counts the tokens of embeddings among the key's tokens a minute", async () => {
    const customer = await newCustomer(our.server, { limits: { tokens_per_minute: 100 } })
    our.mock.script({ usage: { prompt_tokens: 90, total_tokens: 90 } })
    assert.strictEqual((await embed(customer)).status, 200)
    const limited = await embed(customer, { input: "x".repeat(80) })
    assert.strictEqual(limited.status, 429)
    assert.isNotNull(limited.headers.get("retry-after"))
  })
})

describe("Google's models", () => {
  it("embed through OpenAI's client, charged by an estimate as nobody counts", async () => {
    const customer = await rich()
    const { data, response } = await openAi(our.server, customer.key)
      .embeddings.create({ model: "gemini-embedding-001", input: ["x".repeat(40), "y".repeat(40)], dimensions: 2 })
      .withResponse()
    assert.deepStrictEqual(
      data.data.map(({ embedding }) => embedding),
      [
        [0, 0.25],
        [1, 1.25]
      ]
    )
    assert.strictEqual(response.headers.get("x-sluice-provider"), "google-ai-studio")
    await assertCharged(our.server, customer, response.headers, "0.000003", "1")
    assert.match(our.mock.calls()[0]?.path ?? "", /\/models\/gemini-embedding-001:batchEmbedContents$/)
  })

  it("take no tokens: 400 that names the field, and nobody is asked", async () => {
    const customer = await rich()
    const { body, status } = await embed(customer, { model: "gemini-embedding-001", input: [1, 2, 3] })
    assert.strictEqual(status, 400)
    assert.strictEqual(body.error.param, "input")
    assert.strictEqual(our.mock.calls().length, 0)
    await assertUncharged(our.server, customer, "1", null)
  })

  it("draw: Imagen by prediction", async () => {
    const customer = await rich()
    const { data, response } = await openAi(our.server, customer.key)
      .images.generate({ model: "google/imagen-4.0-generate-001", prompt: "a house", n: 2 })
      .withResponse()
    assert.strictEqual(data.data?.length, 2)
    await assertCharged(our.server, customer, response.headers, "0.08", "1")
    assert.match(our.mock.calls()[0]?.path ?? "", /imagen-4\.0-generate-001:predict$/)
  })
})

describe("the sandbox", () => {
  it("embeds, draws and hears without any provider, priced", async () => {
    const customer = await rich()
    const client = openAi(our.server, customer.key)
    const near = await client.embeddings.create({ model: "sandbox/embed", input: ["a small house", "a small horse", "zebra 42"] })
    const [a = [], b = [], c = []] = near.data.map(({ embedding }) => embedding)
    const cosine = (x: ReadonlyArray<number>, y: ReadonlyArray<number>) => x.reduce((sum, value, at) => sum + value * (y[at] ?? 0), 0)
    assert.closeTo(cosine(a, a), 1, 1e-5)
    assert.isAbove(cosine(a, b), cosine(a, c))
    const image = await client.images.generate({ model: "sandbox/image", prompt: "a dot", n: 2 }).withResponse()
    assert.match(image.data.data?.[1]?.b64_json ?? "", /^iVBOR/)
    assert.strictEqual(image.response.headers.get("x-sluice-cost-usd"), "0.02")
    const heard = await client.audio.transcriptions
      .create({ model: "sandbox/transcribe", file: new File([new Uint8Array(9)], "a.mp3") })
      .withResponse()
    assert.strictEqual(heard.data.text, "the quick brown fox jumps over")
    assert.strictEqual(heard.response.headers.get("x-sluice-cost-usd"), "0.0006")
  })

  it("refuses more numbers than it can give without harm", async () => {
    const { body, status } = await embed(await rich(), { model: "sandbox/embed", input: ["a", "b"], dimensions: 65_536 / 2 })
    assert.strictEqual(status, 200)
    assert.strictEqual(body.data[1]?.embedding.length, 32_768)
    const many = Array.from({ length: 100 }, () => "a")
    const refused = await embed(await rich(), { model: "sandbox/embed", input: many, dimensions: 65_536 })
    assert.strictEqual(refused.status, 400)
    assert.match(refused.body.error.message, /at most 1000000 numbers/)
  })

  it("is listed with unit prices", async () => {
    const { body } = await jsonCall<{ data: ReadonlyArray<{ id: string; modality: string; pricing: object }> }>(
      our.server.url,
      null,
      "GET",
      "/v1/models"
    )
    const priced = (id: string) => body.data.find((model) => model.id === id)?.pricing
    assert.deepInclude(priced("openai/text-embedding-3-small"), { prompt: "0.00000002" })
    assert.deepInclude(priced("openai/dall-e-3"), { image: "0.04" })
    assert.deepInclude(priced("openai/whisper-1"), { audio_second: "0.0001" })
    assert.deepInclude(priced("sandbox/image"), { image: "0.01" })
  })
})
