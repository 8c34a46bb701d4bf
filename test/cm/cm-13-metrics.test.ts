/**
 * The metrics of the running server, read as strictly as Prometheus does, and more.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { type Family, parse, valueOf } from "../support/prometheus.ts"
import { creditsOf, eventually, jsonCall, newCustomer, openAi } from "../support/server.ts"

const hello = [{ role: "user" as const, content: "hello" }]

const home = house({ BREAKER_FAILURES: "3", BREAKER_RECOVERY_MS: "600000" })

const scrape = async (): Promise<ReadonlyMap<string, Family>> => {
  const response = await fetch(`${home.server.url}/metrics`)
  assert.strictEqual(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
  return parse(await response.text())
}

/** What a family grew by while something happened; what hangs off the end of a request may come a moment after its answer. */
const growth = async (run: () => Promise<unknown>, check: (grown: (name: string, labels?: Record<string, string>) => number) => void) => {
  const before = await scrape()
  await run()
  await eventually(async () => {
    const after = await scrape()
    check((name, labels) => valueOf(after, name, labels) - valueOf(before, name, labels))
  })
}

describe("metrics", () => {
  let key = ""
  const chat = (body: Record<string, unknown> = {}) =>
    jsonCall(home.server.url, key, "POST", "/v1/chat/completions", { model: "gpt-4o", messages: hello, ...body })
  const gpt = { provider: "openai", model: "openai/gpt-4o" }

  beforeAll(async () => {
    key = (await newCustomer(home.server, { balanceUsd: "10" })).key
  })

  it("CM-13.1 counts inference requests by provider, model and status, and refused ones as nobody's", async () => {
    await growth(
      async () => {
        await chat()
        await chat()
        await chat({ model: "nobody/knows-this" })
      },
      (grown) => {
        assert.strictEqual(grown("model_inference_requests_total", { ...gpt, status: "ok" }), 2)
        assert.strictEqual(grown("model_inference_requests_total", { provider: "none", model: "other", status: "rejected" }), 1)
        assert.strictEqual(grown("model_inference_requests_total"), 3)
        assert.strictEqual(grown("sluice_model_inference_requests_total"), 3)
      }
    )
    assert.notInclude(await (await fetch(`${home.server.url}/metrics`)).text(), "knows-this")
  })

  it("CM-13.2 observes the duration of each call once", async () => {
    home.mock.script({ headDelayMs: 120 })
    await growth(chat, (grown) => {
      assert.strictEqual(grown("model_inference_duration_seconds_count", gpt), 1)
      assert.isAtLeast(grown("model_inference_duration_seconds_sum", gpt), 0.119)
      assert.strictEqual(grown("model_inference_duration_seconds_bucket", { ...gpt, le: "0.1" }), 0)
      assert.strictEqual(grown("model_inference_duration_seconds_bucket", { ...gpt, le: "60" }), 1)
    })
  })

  it("CM-13.3 counts the tokens that the provider counted, read and written", async () => {
    home.mock.script({
      usage: { prompt_tokens: 1_000, completion_tokens: 40, total_tokens: 1_040, prompt_tokens_details: { cached_tokens: 600 } }
    })
    await growth(chat, (grown) => {
      assert.strictEqual(grown("tokens_used_total", { ...gpt, token_type: "input" }), 1_000)
      assert.strictEqual(grown("tokens_used_total", { ...gpt, token_type: "output" }), 40)
      assert.strictEqual(grown("sluice_token_count_source_total", { ...gpt, source: "provider" }), 1)
    })
  })

  it("CM-13.4 counts what was taken from the account, as the ledger has it", async () => {
    const before = Number((await creditsOf(home.server, key)).available_usd)
    home.mock.script({ usage: { prompt_tokens: 10_000, completion_tokens: 1_000, total_tokens: 11_000 } })
    await growth(chat, (grown) => {
      assert.closeTo(grown("credits_used_total", gpt), 0.035, 1e-9)
      assert.closeTo(grown("sluice_api_cost_usd_total", gpt), 0.035, 1e-9)
      const charged = { status: "success", endpoint: "/v1/chat/completions", is_streaming: "false" }
      assert.strictEqual(grown("sluice_credit_deduction_total", charged), 1)
    })
    assert.closeTo(before - Number((await creditsOf(home.server, key)).available_usd), 0.035, 1e-9)
  })

  it("CM-13.5 observes the first chunk of each stream once, and of nothing else", async () => {
    home.mock.script({ firstChunkDelayMs: 110, chunks: 5, chunkDelayMs: 20 })
    await growth(
      async () => {
        const stream = await openAi(home.server, key).chat.completions.create({ model: "gpt-4o", messages: hello, stream: true })
        for await (const _ of stream) {
          // Read to the end.
        }
        await chat()
      },
      (grown) => {
        assert.strictEqual(grown("time_to_first_chunk_seconds_count", gpt), 1)
        assert.isAtLeast(grown("time_to_first_chunk_seconds_sum", gpt), 0.109)
        assert.isBelow(grown("time_to_first_chunk_seconds_sum", gpt), grown("model_inference_duration_seconds_sum", gpt))
        assert.strictEqual(grown("model_inference_requests_total", gpt), 2)
      }
    )
  })

  it("counts requests over HTTP by route, whatever the address, and those under way", async () => {
    const route = { method: "GET", endpoint: "/v1/requests/{id}" }
    await growth(
      async () => {
        await jsonCall(home.server.url, key, "GET", "/v1/requests/first?x=1")
        await jsonCall(home.server.url, key, "GET", "/v1/requests/second")
        await jsonCall(home.server.url, key, "GET", "/no/such/place")
        await chat()
      },
      (grown) => {
        assert.strictEqual(grown("http_requests_total", { ...route, status_code: "404", status_class: "4xx" }), 2)
        assert.strictEqual(grown("http_request_duration_seconds_count", route), 2)
        assert.strictEqual(grown("http_requests_total", { endpoint: "unmatched", status_code: "404" }), 1)
        assert.strictEqual(grown("http_requests_total", { method: "POST", endpoint: "/v1/chat/completions", status_code: "200" }), 1)
        assert.strictEqual(grown("concurrency_active_requests"), 0)
      }
    )
    home.mock.script({ hang: "head" })
    const before = await scrape()
    const leave = new AbortController()
    const left = fetch(`${home.server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-4o", messages: hello }),
      signal: leave.signal
    }).catch(() => null)
    const underWay = { method: "POST", endpoint: "/v1/chat/completions" }
    await eventually(async () => {
      const now = await scrape()
      assert.strictEqual(valueOf(now, "http_requests_in_progress", underWay), 1)
      assert.strictEqual(valueOf(now, "concurrency_active_requests"), 1)
    })
    leave.abort()
    await left
    await eventually(async () => {
      const now = await scrape()
      assert.strictEqual(valueOf(now, "http_requests_in_progress", underWay), 0)
      const gone = { ...underWay, status_code: "499" }
      assert.strictEqual(valueOf(now, "http_requests_total", gone) - valueOf(before, "http_requests_total", gone), 1)
    })
  })

  it("counts what a provider's fault gave back, and the circuit that it opened", async () => {
    const other = (await newCustomer(home.server, { balanceUsd: "10" })).key
    home.mock.script({ status: 503, times: 20, protocol: "anthropic" })
    const claude = () =>
      jsonCall(home.server.url, other, "POST", "/v1/chat/completions", {
        model: "claude-sonnet-4",
        provider: { only: ["anthropic"] },
        messages: hello,
        max_tokens: 1_000
      })
    await growth(
      async () => {
        for (let i = 0; i < 4; i++) await claude()
      },
      (grown) => {
        assert.isAtLeast(grown("sluice_credit_refunds_total", { reason: "status_503" }), 2)
        assert.isAbove(grown("sluice_credit_refunds_amount_usd_total", { reason: "status_503" }), 0)
        assert.isAtLeast(grown("circuit_breaker_failures_total", { provider: "anthropic", state: "closed" }), 3)
        const opened = { provider: "anthropic", from_state: "closed", to_state: "open" }
        assert.strictEqual(grown("circuit_breaker_state_transitions_total", opened), 1)
        assert.isAtLeast(grown("circuit_breaker_rejected_requests_total", { provider: "anthropic" }), 1)
      }
    )
    const now = await scrape()
    assert.strictEqual(valueOf(now, "circuit_breaker_current_state", { provider: "anthropic", state: "open" }), 1)
    assert.strictEqual(valueOf(now, "circuit_breaker_current_state", { provider: "anthropic", state: "closed" }), 0)
    assert.isAbove(valueOf(now, "circuit_breaker_successes_total", { provider: "openai", state: "closed" }), 0)
  })

  it("counts and times statements by table and operation, and writes of charges among them", async () => {
    await growth(chat, (grown) => {
      for (const labels of [
        { table: "requests_write", operation: "select" },
        { table: "ledger_commit", operation: "select" }
      ]) {
        assert.isAbove(grown("database_queries_total", labels), 0, labels.table)
        assert.isAbove(grown("database_query_duration_seconds_count", labels), 0)
        assert.isAbove(grown("sluice_database_query_duration_seconds_sum", labels), 0)
      }
    })
  })

  it("makes no span where nobody traces: a provider is told of no trace, also when the caller has one", async () => {
    await fetch(`${home.server.url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      },
      body: JSON.stringify({ model: "gpt-4o", messages: hello })
    })
    assert.strictEqual(home.mock.calls().length, 1)
    assert.notProperty(home.mock.calls()[0]?.headers, "traceparent")
  })

  it("tells each family once, under the customary names and the gateway's own", async () => {
    const families = await scrape()
    const customary = [...families.keys()].filter((name) => !name.startsWith("sluice_"))
    assert.isAbove(customary.length, 12)
    // What was never counted is told of all the same.
    const never = ["velocity_mode_activations_total", "provider_slow_requests_total", "concurrency_rejected_total"]
    for (const name of never) assert.deepInclude(families.get(name), { type: "counter", samples: [] })
    assert.deepInclude(families.get("sluice_velocity_mode_duration_seconds"), { type: "histogram", samples: [] })
    for (const name of customary) assert.deepStrictEqual(families.get(`sluice_${name}`)?.samples.length, families.get(name)?.samples.length)
  })
})
