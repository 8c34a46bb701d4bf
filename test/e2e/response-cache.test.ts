/**
 * The response cache through the running server: what is asked of a provider, what is charged, what is said.
 */
import { assert, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { freshDatabase } from "../support/database.ts"
import { house } from "../support/house.ts"
import {
  creditsOf,
  entriesOf,
  eventually,
  jsonCall,
  newCustomer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

interface Asked {
  readonly status: number
  readonly cache: string | null
  readonly cost: string | null
  readonly text: string
}

describe("the response cache over HTTP", () => {
  const here = house({ OPENROUTER_API_KEY: "sk-or", OPENROUTER_BASE_URL: "http://127.0.0.1:9/v1", CATALOG_SYNC_INTERVAL_MS: "0" })
  let asked = 0

  const ask = async (
    key: string,
    body: object,
    headers: Record<string, string> = { "x-sluice-cache": "on" },
    path = "/v1/chat/completions"
  ): Promise<Asked> => {
    const response = await fetch(here.server.url + path, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
      body: JSON.stringify({ model: "gpt-4o", max_tokens: 50, ...body })
    })
    const of = (name: string) => response.headers.get(name)
    return { status: response.status, cache: of("x-sluice-cache"), cost: of("x-sluice-cost-usd"), text: await response.text() }
  }
  const words = (content: string) => ({ messages: [{ role: "user", content }] })
  const fresh = () => words(`question ${asked++}`)
  const contentOf = (text: string): string => {
    const body: { choices: ReadonlyArray<{ message: { content: string } }> } = JSON.parse(text)
    return body.choices[0]?.message.content ?? ""
  }
  const streamedContent = (text: string): string =>
    text
      .split("\n\n")
      .flatMap((event) => (event.startsWith("data: {") ? [JSON.parse(event.slice(6))] : []))
      .map((chunk: { choices: ReadonlyArray<{ delta: { content?: string } }> }) => chunk.choices[0]?.delta.content ?? "")
      .join("")

  it("CM-8.1.1 the second asking is answered from the cache, free, and asks no provider", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const body = fresh()
    const first = await ask(customer.key, body)
    assert.deepStrictEqual([first.status, first.cache], [200, "miss"])
    const before = await creditsOf(here.server, customer.key)
    const second = await ask(customer.key, { max_tokens: 50, ...body })
    assert.deepStrictEqual([second.cache, second.cost], ["hit", "0.00"])
    assert.strictEqual(contentOf(second.text), contentOf(first.text))
    assert.lengthOf(here.mock.calls(), 1)
    assert.deepStrictEqual(await creditsOf(here.server, customer.key), before)
    assert.lengthOf(
      (await entriesOf(here.server, customer.key)).filter((entry) => entry.kind === "charge"),
      1
    )
    await eventually(async () => {
      const rows = await jsonCall<{ data: ReadonlyArray<{ outcome: string; cost_usd: string; attempts: ReadonlyArray<object> }> }>(
        here.server.url,
        customer.key,
        "GET",
        "/v1/requests?limit=1"
      )
      assert.deepInclude(rows.body.data[0], { outcome: "cached", cost_usd: "0.00", attempts: [] })
    })
  })

  it("without a word nothing is kept; off and no-store win; another account has its own", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const other = await newCustomer(here.server, { balanceUsd: "10" })
    const body = fresh()
    assert.strictEqual((await ask(customer.key, body, {})).cache, "bypass")
    assert.strictEqual((await ask(customer.key, body, { "x-sluice-cache": "off" })).cache, "bypass")
    assert.strictEqual((await ask(customer.key, body, { "x-sluice-cache": "on", "cache-control": "no-store" })).cache, "bypass")
    assert.strictEqual((await ask(customer.key, body)).cache, "miss")
    assert.strictEqual((await ask(customer.key, body)).cache, "hit")
    assert.strictEqual((await ask(other.key, body)).cache, "miss")
    assert.strictEqual((await ask(customer.key, { ...body, temperature: 1 })).cache, "miss")
    assert.strictEqual((await ask(customer.key, body, {})).cache, "bypass")
  })

  it("a key's own setting", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const made = await jsonCall<{ key: string }>(here.server.url, customer.key, "POST", "/v1/keys", { name: "keeps", cache: "on" })
    const body = fresh()
    assert.strictEqual((await ask(made.body.key, body, {})).cache, "miss")
    assert.strictEqual((await ask(made.body.key, body, {})).cache, "hit")
    assert.strictEqual((await ask(made.body.key, body, { "x-sluice-cache": "off" })).cache, "bypass")
  })

  it("a kept stream answers a unary request, and the other way round; streams come as streams", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const long = "Sluice keeps an answer as it was given. ".repeat(12)
    here.mock.script({ text: long, times: 1 })
    const body = fresh()
    const first = await ask(customer.key, { ...body, stream: true })
    assert.strictEqual(first.cache, "miss")
    const unary = await ask(customer.key, body)
    assert.strictEqual(unary.cache, "hit")
    assert.strictEqual(contentOf(unary.text), long)
    const again = await ask(customer.key, { ...body, stream: true, stream_options: { include_usage: true } })
    assert.strictEqual(again.cache, "hit")
    assert.strictEqual(streamedContent(again.text), long)
    assert.isAbove(again.text.split("\n\n").length, 5)
    assert.isTrue(again.text.trimEnd().endsWith("data: [DONE]"))
    assert.include(again.text, '"prompt_tokens"')
    const other = fresh()
    assert.strictEqual((await ask(customer.key, other)).cache, "miss")
    const replayed = await ask(customer.key, { ...other, stream: true })
    assert.strictEqual(replayed.cache, "hit")
    assert.include(replayed.text, '"finish_reason":"stop"')
  })

  it("what was cut, failed or filtered is not kept", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const provider = { only: ["openai"] }
    const filtered = { ...fresh(), provider }
    here.mock.script({ finish: "content_filter", times: 1 })
    assert.strictEqual((await ask(customer.key, filtered)).cache, "miss")
    assert.strictEqual((await ask(customer.key, filtered)).cache, "miss")
    const cut = { ...fresh(), provider, stream: true }
    here.mock.script({ cut: true, times: 1 })
    await ask(customer.key, cut)
    assert.strictEqual((await ask(customer.key, cut)).cache, "miss")
    const failed = { ...fresh(), provider }
    here.mock.script({ status: 400, times: 1 })
    assert.strictEqual((await ask(customer.key, failed)).status, 400)
    assert.strictEqual((await ask(customer.key, failed)).cache, "miss")
  })

  it("of many who ask for the same at once one asks the provider, and one is charged", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const body = fresh()
    here.mock.script({ headDelayMs: 150, times: 1 })
    const all = await Promise.all(Array.from({ length: 8 }, () => ask(customer.key, body)))
    assert.deepStrictEqual(all.map((one) => one.cache).toSorted(), ["hit", "hit", "hit", "hit", "hit", "hit", "hit", "miss"])
    assert.lengthOf(here.mock.calls(), 1)
    assert.lengthOf(
      (await entriesOf(here.server, customer.key)).filter((entry) => entry.kind === "charge"),
      1
    )
  })

  it("Anthropic's protocol has its own answers, and hits and misses are counted", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const body = fresh()
    assert.strictEqual((await ask(customer.key, body)).cache, "miss")
    assert.strictEqual((await ask(customer.key, body, { "x-sluice-cache": "on" }, "/v1/messages")).cache, "miss")
    const second = await ask(customer.key, body, { "x-sluice-cache": "on" }, "/v1/messages")
    assert.strictEqual(second.cache, "hit")
    assert.include(second.text, '"type":"message"')
    const metrics = await (await fetch(`${here.server.url}/metrics`)).text()
    assert.match(metrics, /sluice_cache_hits_total\{[^}]*cache_name="response"[^}]*\} [1-9]/)
    assert.match(metrics, /sluice_cache_misses_total\{[^}]*cache_name="response"[^}]*\} [1-9]/)
  })
})

describe("the response cache of two replicas", () => {
  it("what one keeps the other gives, over Redis", async () => {
    const directories = [temporaryDirectory(), temporaryDirectory()] as const
    const database = await freshDatabase(inject("databaseUrl"))
    const start = (directory: { readonly path: string }) =>
      startServer({
        ...serviceSettings(database, inject("redisUrl")),
        DATA_DIR: directory.path,
        RESPONSE_CACHE: "on",
        CATALOG_SYNC_INTERVAL_MS: "0"
      })
    const [one, other] = await Promise.all(directories.map(start))
    try {
      if (one === undefined || other === undefined) throw new Error("no servers")
      const customer = await newCustomer(one, { balanceUsd: "10" })
      const ask = async (url: string) => {
        const response = await fetch(`${url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
          body: JSON.stringify({ model: "sandbox/echo", messages: [{ role: "user", content: `shared ${database}` }] })
        })
        await response.text()
        return response.headers.get("x-sluice-cache")
      }
      assert.strictEqual(await ask(one.url), "miss")
      await eventually(async () => assert.strictEqual(await ask(other.url), "hit"))
    } finally {
      await Promise.all([one?.stop(), other?.stop()])
      for (const directory of directories) directory.remove()
    }
  })
})
