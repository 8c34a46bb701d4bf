/**
 * The catalog over HTTP, without a key.
 */
import { assert, describe, it } from "@effect/vitest"
import OpenAI from "openai"
import { house } from "../support/house.ts"
import { jsonCall, newCustomer } from "../support/server.ts"

interface ModelRow {
  readonly id: string
  readonly object: string
  readonly owned_by: string
  readonly context_length: number
  readonly name: string
  readonly provider_slug: string
  readonly pricing: Readonly<Record<string, string | null>>
  readonly providers: ReadonlyArray<{ readonly slug: string; readonly native_id: string }>
}

describe("the catalog over HTTP", () => {
  const here = house({
    OPENROUTER_API_KEY: "sk-openrouter",
    OPENROUTER_BASE_URL: "http://127.0.0.1:9/v1",
    FIREWORKS_API_KEY: "fw",
    FIREWORKS_BASE_URL: "http://127.0.0.1:9/v1"
  })
  const get = <A>(path: string) => jsonCall<A>(here.server.url, null, "GET", path)

  it("CM-9.1.1 every listed model has its fields, in OpenAI's shape, through the official client", async () => {
    const client = new OpenAI({ baseURL: `${here.server.url}/v1`, apiKey: "none", maxRetries: 0 })
    const seen: Array<string> = []
    for await (const model of client.models.list()) {
      seen.push(model.id)
      assert.strictEqual(model.object, "model")
      assert.strictEqual(model.owned_by, model.id.split("/")[0])
    }
    assert.include(seen, "openai/gpt-4o")
    assert.notInclude(seen, "anthropic/no-such-model")
    assert.strictEqual(new Set(seen).size, seen.length)
    const { body } = await get<{ data: ReadonlyArray<ModelRow>; next_cursor: string | null }>("/v1/models")
    assert.isNull(body.next_cursor)
    for (const row of body.data) {
      assert.isAbove(row.context_length, 0, row.id)
      assert.isNotEmpty(row.name, row.id)
      assert.isNotEmpty(row.providers, row.id)
      assert.strictEqual(row.provider_slug, row.providers[0]?.slug, row.id)
      // What is not paid by tokens has another price in their place.
      const unit = ["prompt", "image", "audio_second"].map((name) => row.pricing[name] ?? "").find((price) => price !== "")
      assert.match(unit ?? "", /^\d+\.\d+$/, row.id)
      assert.containsAllKeys(row.pricing, ["prompt", "completion"])
    }
  })

  it("one model by its id, with `:free`, encoded, by an alias, and by a provider's own id with several slashes", async () => {
    const of = async (path: string) => (await get<ModelRow>(`/v1/models/${path}`)).body.id
    assert.strictEqual(await of("openai/gpt-4o"), "openai/gpt-4o")
    assert.strictEqual(await of("openai%2Fgpt-4o"), "openai/gpt-4o")
    assert.strictEqual(await of("gpt-4o"), "openai/gpt-4o")
    assert.strictEqual(await of("R1"), "deepseek/deepseek-r1")
    assert.strictEqual(await of("accounts/fireworks/models/llama-v3p3-70b-instruct"), "meta-llama/llama-3.3-70b-instruct")
    assert.strictEqual(await of("meta-llama/Llama-3.3-70B-Instruct-Turbo"), "meta-llama/llama-3.3-70b-instruct")
    const free = (await get<{ data: ReadonlyArray<ModelRow> }>("/v1/models?q=:free")).body.data[0]
    assert.isDefined(free)
    assert.strictEqual(await of(free.id), free.id)
    assert.strictEqual(await of(encodeURIComponent(free.id)), free.id)
    const client = new OpenAI({ baseURL: `${here.server.url}/v1`, apiKey: "none", maxRetries: 0 })
    assert.strictEqual((await client.models.retrieve("openai/gpt-4o")).id, "openai/gpt-4o")
    for (const unknown of ["nobody/nothing", "nothing", "a/b/c/d"]) {
      const missing = await get<{ error: { code: string } }>(`/v1/models/${unknown}`)
      assert.strictEqual(missing.status, 404, unknown)
      assert.strictEqual(missing.body.error.code, "model_not_found")
    }
  })

  it("X-28 pages, bounds of a page, and models held against each other", async () => {
    const first = await get<{ data: ReadonlyArray<ModelRow>; next_cursor: string }>("/v1/models?limit=3")
    const second = await get<{ data: ReadonlyArray<ModelRow> }>(`/v1/models?limit=3&cursor=${first.body.next_cursor}`)
    const whole = await get<{ data: ReadonlyArray<ModelRow> }>("/v1/models")
    assert.deepStrictEqual([...first.body.data, ...second.body.data], whole.body.data.slice(0, 6))
    const { next_cursor: cursor } = first.body
    const altered = `${cursor.slice(0, -4)}AAAA`
    for (const bad of [
      "limit=0",
      "limit=1001",
      "limit=x",
      "view=some",
      "sort=beauty",
      `q=${"x".repeat(201)}`,
      "cursor=3",
      "cursor=~",
      `cursor=${altered}`,
      `cursor=${"A".repeat(5_000)}`,
      `cursor=${cursor}&sort=price`
    ]) {
      const { body, status } = await get<{ error: { param: string; message: string } }>(`/v1/models?${bad}`)
      assert.strictEqual(status, 400, bad)
      if (bad.startsWith("cursor")) assert.strictEqual(body.error.param, "cursor", `${bad.slice(0, 40)} ${body.error.message}`)
    }
    const seen: Array<string> = []
    let next: string | null = ""
    while (next !== null) {
      const page: { body: { data: ReadonlyArray<ModelRow>; next_cursor: string | null } } = await get(
        `/v1/models?view=all&sort=price&limit=97${next === "" ? "" : `&cursor=${next}`}`
      )
      seen.push(...page.body.data.map((row) => `${row.id} ${row.providers[0]?.slug}`))
      next = page.body.next_cursor
    }
    const every = await get<{ data: ReadonlyArray<ModelRow> }>("/v1/models?view=all")
    assert.sameMembers(
      seen,
      every.body.data.map((row) => `${row.id} ${row.providers[0]?.slug}`)
    )
    const both = await get<{ data: ReadonlyArray<ModelRow> }>("/v1/models/compare?ids=gpt-4o,r1")
    assert.deepStrictEqual(
      both.body.data.map((row) => row.id),
      ["openai/gpt-4o", "deepseek/deepseek-r1"]
    )
    assert.strictEqual((await get("/v1/models/compare?ids=gpt-4o")).status, 400)
    assert.strictEqual((await get("/v1/models/compare?ids=gpt-4o,nothing")).status, 404)
  })

  it("X-28 the most used and the quickest models, as everybody's calls have it; no key needed, and nobody's name in it", async () => {
    type Ranked = ModelRow & {
      readonly trending?: { readonly rank: number; readonly share: number }
      readonly latency?: { readonly provider: string; readonly p50_ms: number }
    }
    const lowLatency = () => get<{ data: ReadonlyArray<Ranked>; next_cursor: string | null }>("/v1/models/low-latency")
    assert.deepStrictEqual((await lowLatency()).body.data, [])
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const ask = (model: string) =>
      jsonCall(here.server.url, customer.key, "POST", "/v1/chat/completions", {
        model,
        max_tokens: 5,
        messages: [{ role: "user", content: "hello" }]
      })
    // The mock waits before each answer of the one.
    here.mock.script({ times: 4, headDelayMs: 200 })
    for (let i = 0; i < 4; i++) assert.strictEqual((await ask("openai/gpt-4o")).status, 200)
    for (let i = 0; i < 3; i++) assert.strictEqual((await ask("openai/gpt-4o-mini")).status, 200)
    const trending = await get<{ data: ReadonlyArray<Ranked>; next_cursor: string | null }>("/v1/models/trending?limit=1")
    assert.strictEqual(trending.status, 200)
    assert.deepStrictEqual([trending.body.data.map((row) => row.id), trending.body.next_cursor], [["openai/gpt-4o"], "1"])
    assert.deepInclude(trending.body.data[0]?.trending, { rank: 1, share: 0.571 })
    assert.isNotEmpty(trending.body.data[0]?.providers)
    const next = await get<{ data: ReadonlyArray<Ranked>; next_cursor: string | null }>("/v1/models/trending?limit=5&cursor=1")
    assert.deepStrictEqual([next.body.data.map((row) => row.id), next.body.next_cursor], [["openai/gpt-4o-mini"], null])
    const quickest = (await lowLatency()).body.data
    assert.deepStrictEqual(
      quickest.map((row) => row.id),
      ["openai/gpt-4o-mini", "openai/gpt-4o"]
    )
    assert.strictEqual(quickest[0]?.latency?.provider, "openai")
    assert.isAtLeast(quickest[1]?.latency?.p50_ms ?? 0, 190)
    for (const view of ["trending", "low-latency"]) assert.strictEqual((await get(`/v1/models/${view}?limit=0`)).status, 400)
  })

  it("providers and circuits are lists with pages too", async () => {
    for (const path of ["/v1/providers", "/admin/breakers"]) {
      type Page = { readonly data: ReadonlyArray<Record<string, unknown>>; readonly next_cursor: string | null }
      const all = await here.server.admin<Page>("GET", path)
      assert.isNull(all.body.next_cursor)
      const seen: Array<Record<string, unknown>> = []
      let next: string | null = ""
      while (next !== null) {
        const page: { readonly body: Page } = await here.server.admin<Page>(
          "GET",
          `${path}?limit=20${next === "" ? "" : `&cursor=${next}`}`
        )
        assert.isAtMost(page.body.data.length, 20)
        seen.push(...page.body.data)
        next = page.body.next_cursor
      }
      assert.deepStrictEqual(seen, [...all.body.data])
      for (const bad of ["limit=0", "limit=2000", "cursor=nobody"]) {
        assert.strictEqual((await here.server.admin("GET", `${path}?${bad}`)).status, 400, `${path}?${bad}`)
      }
    }
  })

  it("a modality is one that models take or give, or both sides just so", async () => {
    const of = async (modality: string) =>
      (
        await get<{ data: ReadonlyArray<{ modality: string }> }>(`/v1/models?active=false&modality=${encodeURIComponent(modality)}`)
      ).body.data.map((row) => row.modality)
    assert.sameMembers([...new Set((await of("image")).map((modality) => modality.includes("image")))], [true])
    assert.includeMembers(await of("image"), ["text+image->text", "text->image"])
    assert.deepStrictEqual([...new Set(await of("text->image"))], ["text->image"])
    for (const modality of await of("embedding")) assert.isTrue(modality.endsWith("->embedding"), modality)
  })

  it("CM-9.3.1 asking for the catalog asks no provider", async () => {
    const before = here.mock.calls().length
    for (const path of ["/v1/models", "/v1/models?view=all", "/v1/models?q=gpt", "/v1/models/openai/gpt-4o", "/v1/providers"])
      await get(path)
    assert.strictEqual(here.mock.calls().length, before)
  })

  it("X-25 the operator reads the lists at once, of one provider or of all; nobody else may", async () => {
    const all = await here.server.admin<{ data: ReadonlyArray<Record<string, unknown>> }>("POST", "/admin/catalog/sync")
    assert.strictEqual(all.status, 200)
    const openai = all.body.data.find((row) => row["provider"] === "openai")
    assert.deepInclude(openai, { models: 1, unpriced: 1, error: null })
    const one = await here.server.admin<{ data: ReadonlyArray<Record<string, unknown>> }>("POST", "/admin/catalog/sync", {
      provider: "openai"
    })
    assert.deepStrictEqual(
      one.body.data.map((row) => [row["provider"], row["status"]]),
      [["openai", "unchanged"]]
    )
    assert.strictEqual((await here.server.admin("POST", "/admin/catalog/sync", { provider: "groq" })).status, 400)
    const customer = await newCustomer(here.server)
    assert.strictEqual((await jsonCall(here.server.url, customer.key, "POST", "/admin/catalog/sync")).status, 403)
    // What ships is as it was.
    const model = await get<ModelRow>("/v1/models/openai/gpt-4o")
    assert.deepInclude(model.body.pricing, { prompt: "0.0000025", completion: "0.00001" })
  })

  it("a router's choice is told in headers and in the request row; a mode that does not exist is a 400", async () => {
    const customer = await newCustomer(here.server, { balanceUsd: "10" })
    const ask = (model: string, more: object = {}) =>
      fetch(`${here.server.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
        body: JSON.stringify({
          model,
          max_tokens: 5,
          messages: [{ role: "user", content: "fix a typo" }],
          provider: { only: ["openai"] },
          ...more
        })
      })
    const routed = await ask("router:code:auto")
    assert.strictEqual(routed.status, 200)
    const body: { model: string } = JSON.parse(await routed.text())
    assert.strictEqual(routed.headers.get("x-sluice-model"), body.model)
    assert.deepStrictEqual(
      ["x-sluice-router", "x-sluice-router-task", "x-sluice-router-tier"].map((name) => routed.headers.get(name)),
      ["code:auto", "simple_code", "4"]
    )
    const streamed = await ask("router:general:quality", { stream: true })
    assert.strictEqual(streamed.headers.get("x-sluice-router"), "general:quality")
    assert.include(await streamed.text(), "[DONE]")
    const rows = await jsonCall<{
      data: ReadonlyArray<{ requested_model: string; model: string; routing: Record<string, unknown> | null }>
    }>(here.server.url, customer.key, "GET", "/v1/requests")
    const row = rows.body.data.find((candidate) => candidate.requested_model === "router:code:auto")
    assert.strictEqual(row?.model, body.model)
    assert.deepInclude(row?.routing, { router: "code", mode: "auto", model: body.model, task_category: "simple_code", tier: 4 })
    assert.strictEqual((await ask("router:general:invalid")).status, 400)
    assert.strictEqual((await ask("openai/gpt-4o")).headers.get("x-sluice-router"), null)
  })
})
