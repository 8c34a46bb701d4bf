/**
 * Everything a provider can do wrong, seen from outside: whole and streamed, by one provider and by two. The caller gets a
 * right answer or a right error, pays for what it got, and the request row tells what happened.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import type { Script } from "../../bench/mock/Script.ts"
import { pico } from "../support/house.ts"
import {
  creditsOf,
  entriesOf,
  eventually,
  jsonCall,
  newCustomer,
  type RunningServer,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

/** What has to come of a request. `tried`: provider and error of each attempt, `1` or `2` alone where it answered. */
interface Expected {
  readonly status: number
  readonly code?: string
  readonly tried: string
  /** A stream that ends in an error instead of a finish reason. */
  readonly broken?: true
  readonly retryAfter?: string
  /** Of a caller's own mistake: nothing was refunded, as nothing was owed. */
  readonly rejected?: true
  readonly finish?: string
}

type Modes = Readonly<Record<"whole" | "streamed", Expected>>

interface Row {
  readonly name: string
  /** By turns: the first provider's scripts. */
  readonly first: ReadonlyArray<Script>
  /** Where a whole answer goes wrong in another way than a stream. */
  readonly firstWhole?: ReadonlyArray<Script>
  readonly second?: ReadonlyArray<Script>
  readonly alone: Modes | Expected
  readonly both: Modes | Expected
}

const ok = (tried: string, more: Partial<Expected> = {}): Expected => ({ status: 200, tried, ...more })
const fails = (status: number, code: string, tried: string, more: Partial<Expected> = {}): Expected => ({ status, code, tried, ...more })
const always = 100
const persistent = (script: Script): ReadonlyArray<Script> => [{ ...script, times: always }]
const refusal = (code: string, message: string): Script => ({
  status: 400,
  body: { error: { message, type: "invalid_request_error", code, param: "messages" } }
})
const midway = (script: Script, whole: Script, error: string, aloneWhole: Expected, bothWhole: Expected): Row => ({
  name: "",
  first: persistent({ ...script, chunks: 5 }),
  firstWhole: persistent(whole),
  alone: { whole: aloneWhole, streamed: ok(`1:${error}`, { broken: true }) },
  both: { whole: bothWhole, streamed: ok(`1:${error}`, { broken: true }) }
})

const BROKEN = "PROVIDER_ERROR"
const GONE = "PROVIDER_UNAVAILABLE"
const LATE = "PROVIDER_TIMEOUT"
const LIMITED = "PROVIDER_RATE_LIMITED"

const malformedWhole = [fails(502, BROKEN, "1:answer_malformed"), ok("1:answer_malformed 2")] as const

const rows: ReadonlyArray<Row> = [
  {
    name: "429 with Retry-After, once",
    first: [{ status: 429, headers: { "retry-after": "1" } }],
    alone: ok("1:status_429 1"),
    both: ok("1:status_429 1")
  },
  {
    name: "429 with a Retry-After that is too long to wait for",
    first: persistent({ status: 429, headers: { "retry-after": "77" } }),
    alone: fails(429, LIMITED, "1:status_429", { retryAfter: "77" }),
    both: fails(429, LIMITED, "1:status_429", { retryAfter: "77" })
  },
  {
    name: "429 without Retry-After, for ever",
    first: persistent({ status: 429 }),
    alone: fails(429, LIMITED, "1:status_429 1:status_429 1:status_429", { retryAfter: "1" }),
    both: fails(429, LIMITED, "1:status_429 1:status_429 1:status_429", { retryAfter: "1" })
  },
  {
    name: "a reset before a byte, once",
    first: [{ reset: "head" }],
    alone: ok("1:connection_failed 1"),
    both: ok("1:connection_failed 1")
  },
  {
    name: "a reset before a byte, always",
    first: persistent({ reset: "head" }),
    alone: fails(503, GONE, "1:connection_failed 1:connection_failed"),
    both: ok("1:connection_failed 1:connection_failed 2")
  },
  { name: "500 once", first: [{ status: 500 }], alone: ok("1:status_500 1"), both: ok("1:status_500 2") },
  {
    name: "500 always",
    first: persistent({ status: 500 }),
    alone: fails(502, BROKEN, "1:status_500 1:status_500"),
    both: ok("1:status_500 2")
  },
  {
    name: "503 of everybody",
    first: persistent({ status: 503 }),
    second: persistent({ status: 503 }),
    alone: fails(503, GONE, "1:status_503 1:status_503", { retryAfter: "1" }),
    both: fails(503, GONE, "1:status_503 2:status_503 2:status_503", { retryAfter: "1" })
  },
  {
    name: "529 of an overloaded provider",
    first: persistent({ status: 529 }),
    alone: fails(503, GONE, "1:status_529 1:status_529", { retryAfter: "1" }),
    both: ok("1:status_529 2")
  },
  {
    name: "silence before the head",
    first: persistent({ hang: "head" }),
    alone: fails(504, LATE, "1:timeout_first_byte"),
    both: ok("1:timeout_first_byte 2")
  },
  {
    name: "silence before the first chunk",
    first: persistent({ hang: "first_chunk" }),
    alone: fails(504, LATE, "1:timeout_first_byte"),
    both: ok("1:timeout_first_byte 2")
  },
  { name: "a slow first token", first: persistent({ firstChunkDelayMs: 200, headDelayMs: 50 }), alone: ok("1"), both: ok("1") },
  { ...midway({ cut: true }, { cut: true }, "answer_cut", ...malformedWhole), name: "an answer cut midway" },
  {
    ...midway({ hang: "mid" }, { hang: "mid" }, "timeout_idle", fails(504, LATE, "1:timeout_first_byte"), ok("1:timeout_first_byte 2")),
    name: "an answer that stalls midway"
  },
  {
    ...midway(
      { reset: "mid" },
      { reset: "mid" },
      "connection_broken",
      fails(503, GONE, "1:connection_broken"),
      ok("1:connection_broken 2")
    ),
    name: "a reset midway"
  },
  {
    ...midway({ malformed: true }, { malformed: true }, "answer_malformed", ...malformedWhole),
    name: "a malformed event, or truncated JSON"
  },
  {
    ...midway(
      { errorEvent: true },
      { raw: '{"error":{"message":"overloaded"}}', contentType: "application/json" },
      "answer_reported",
      fails(502, BROKEN, "1:answer_reported"),
      ok("1:answer_reported 2")
    ),
    name: "an error inside a 200"
  },
  {
    name: "a prompt longer than the model's context",
    first: persistent(refusal("context_length_exceeded", "This model's maximum context length is 128000 tokens.")),
    alone: fails(400, "context_length_exceeded", "1:status_400", { rejected: true }),
    both: fails(400, "context_length_exceeded", "1:status_400", { rejected: true })
  },
  {
    name: "a prompt that the provider's filter refuses",
    first: persistent(refusal("content_filter", "The prompt was filtered due to our content management policy.")),
    alone: fails(400, "content_filter", "1:status_400", { rejected: true }),
    both: fails(400, "content_filter", "1:status_400", { rejected: true })
  },
  {
    name: "an answer that the provider's filter stops",
    first: persistent({ finish: "content_filter" }),
    alone: ok("1", { finish: "content_filter" }),
    both: ok("1", { finish: "content_filter" })
  },
  {
    name: "an empty answer",
    first: persistent({ empty: true }),
    alone: fails(502, BROKEN, "1:answer_empty"),
    both: ok("1:answer_empty 2")
  },
  {
    name: "an HTML page with status 200",
    first: persistent({ raw: "<html><body>Welcome to nginx!</body></html>" }),
    alone: {
      whole: fails(502, BROKEN, "1:answer_malformed"),
      streamed: fails(502, BROKEN, "1:answer_empty")
    },
    both: { whole: ok("1:answer_malformed 2"), streamed: ok("1:answer_empty 2") }
  },
  { name: "the right bytes under a wrong content type", first: persistent({ contentType: "text/plain" }), alone: ok("1"), both: ok("1") },
  { name: "events after [DONE]", first: persistent({ afterDone: true }), alone: ok("1"), both: ok("1") },
  { name: "no [DONE] after the finish reason", first: persistent({ noDone: true }), alone: ok("1"), both: ok("1") }
]

interface Attempt {
  readonly provider: string
  readonly model: string
  readonly error: string | null
}

interface RequestRow {
  readonly attempts: ReadonlyArray<Attempt>
  readonly outcome: string
  readonly provider: string | null
  readonly cost_usd: string
  readonly usage_source: string
  readonly tokens: { readonly input: number; readonly output: number }
}

interface Answered {
  readonly status: number
  readonly code: string | null
  readonly retryAfter: string | null
  readonly text: string
  readonly finishes: ReadonlyArray<string>
  readonly errors: number
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number } | null
}

interface Chunk {
  readonly choices?: ReadonlyArray<{
    readonly delta?: { readonly content?: string | null }
    readonly message?: { readonly content: string }
    readonly finish_reason: string | null
  }>
  readonly usage?: Answered["usage"]
  readonly error?: { readonly code: string }
}

/** A body or the events of a stream, as a caller adds them up. */
const understand = (status: number, headers: Headers, body: string): Answered => {
  const streamed = headers.get("content-type")?.startsWith("text/event-stream") === true
  const events = streamed ? body.split("\n\n").flatMap((line) => (line.startsWith("data: {") ? [line.slice(6)] : [])) : [body]
  const chunks = events.map((event): Chunk => JSON.parse(event))
  if (streamed) assert.strictEqual(body.split("data: [DONE]").length, 2)
  const choices = chunks.flatMap((chunk) => chunk.choices ?? [])
  return {
    status,
    code: chunks.find((chunk) => chunk.error !== undefined)?.error?.code ?? null,
    retryAfter: headers.get("retry-after"),
    text: choices.map((choice) => choice.delta?.content ?? choice.message?.content ?? "").join(""),
    finishes: choices.flatMap((choice) => (choice.finish_reason === null ? [] : [choice.finish_reason])),
    errors: chunks.filter((chunk) => chunk.error !== undefined).length,
    usage: chunks.find((chunk) => chunk.usage !== undefined && chunk.usage !== null)?.usage ?? null
  }
}

const WHOLE_TEXT = "word0 word1 word2 word3 word4 "

describe.concurrent("what providers do wrong", () => {
  let mock: MockProvider
  let server: RunningServer
  const directory = temporaryDirectory()
  /** In the order in which they are tried. */
  const closed = { model: "openai/gpt-4o", providers: ["openai", "openrouter"], prices: [2_500_000n, 10_000_000n] } as const
  const open = { model: "meta-llama/llama-3.3-70b-instruct", providers: ["together", "groq"], prices: [590_000n, 790_000n] } as const

  beforeAll(async () => {
    mock = await startMockProvider()
    const keys = ["openai", "openrouter", "together", "groq"].flatMap((slug) => {
      const name = slug.toUpperCase()
      return [
        [`${name}_API_KEY`, `sk-${slug}-key`],
        [`${name}_BASE_URL`, mock.url]
      ]
    })
    server = await startServer({
      DATA_DIR: directory.path,
      ...Object.fromEntries(keys),
      PROVIDER_FIRST_BYTE_TIMEOUT_MS: "800",
      PROVIDER_IDLE_TIMEOUT_MS: "800",
      BREAKER_FAILURES: "1000"
    })
  })
  afterAll(async () => {
    await server?.stop()
    await mock?.close()
    directory.remove()
  })

  let asked = 0

  /** Asks once, each provider following its own scripts; the answer, the books and the row. */
  const ask = async (
    of: typeof closed | typeof open,
    scripts: readonly [ReadonlyArray<Script>, ReadonlyArray<Script>],
    more: Readonly<Record<string, unknown>>
  ) => {
    const customer = await newCustomer(server, { balanceUsd: "10" })
    const user = `asked-${asked++}`
    const scripted = scripts.flatMap((list, at) =>
      list.map((script, turn) => ({ ...script, apiKey: `sk-${of.providers[at]}-key`, name: `${user}-${at}-${turn}` }))
    )
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
      body: JSON.stringify({
        model: of.model,
        messages: [{ role: "user", content: "hello" }],
        stream_options: { include_usage: true },
        user,
        mock: scripted,
        // What happens here to the first would move it back otherwise.
        provider: { order: of.providers },
        ...more
      })
    })
    const answered = understand(response.status, response.headers, await response.text())
    const row = (await jsonCall<{ data: ReadonlyArray<RequestRow> }>(server.url, customer.key, "GET", "/v1/requests?limit=1")).body.data[0]
    const entries = (await entriesOf(server, customer.key)).filter((entry) => entry.kind === "charge" || entry.kind === "refund")
    const credits = await creditsOf(server, customer.key)
    assert.isDefined(row)
    const calls = mock.calls().filter((call) => call.body["user"] === user)
    return { answered, row, entries, credits, calls }
  }

  const tried = (of: { readonly providers: ReadonlyArray<string> }, row: RequestRow) =>
    row.attempts.map(({ error, provider }) => `${of.providers.indexOf(provider) + 1}${error === null ? "" : `:${error}`}`).join(" ")

  /** Nothing is owed: no charge, nothing held, the balance as it was. */
  const assertFree = ({ credits, entries, row }: Awaited<ReturnType<typeof ask>>, outcome: string) => {
    assert.deepStrictEqual(
      entries.map((entry) => [entry.kind, pico(entry.amount_usd)]),
      outcome === "refunded" ? [["refund", 0n]] : []
    )
    assert.strictEqual(row.outcome, outcome)
    assert.strictEqual(pico(row.cost_usd), 0n)
    assert.strictEqual(pico(credits.available_usd), pico("10"))
    assert.strictEqual(pico(credits.held_usd), 0n)
  }

  const assertCharged = ({ credits, entries, row }: Awaited<ReturnType<typeof ask>>, provider: string, amount: bigint) => {
    assert.deepStrictEqual(
      entries.map((entry) => [entry.kind, entry.provider, pico(entry.amount_usd)]),
      [["charge", provider, -amount]]
    )
    assert.strictEqual(row.outcome, "ok")
    assert.strictEqual(row.provider, provider)
    assert.strictEqual(pico(row.cost_usd), amount)
    assert.strictEqual(pico(credits.available_usd), pico("10") - amount)
    assert.strictEqual(pico(credits.held_usd), 0n)
  }

  for (const row of rows) {
    for (const stream of [false, true]) {
      for (const among of ["alone", "both"] as const) {
        it(`${row.name}: ${stream ? "streamed" : "whole"}, ${among === "alone" ? "one provider" : "two providers"}`, async () => {
          const wanted = row[among]
          const expected = "status" in wanted ? wanted : wanted[stream ? "streamed" : "whole"]
          const first = stream ? row.first : (row.firstWhole ?? row.first)
          const only = among === "alone" ? { provider: { only: [closed.providers[0]] } } : {}
          const result = await ask(closed, [first, row.second ?? []], { stream, ...only })
          const { answered } = result
          assert.strictEqual(answered.status, expected.status)
          assert.strictEqual(tried(closed, result.row), expected.tried)
          assert.strictEqual(result.calls.length, expected.tried.split(" ").length)
          if (expected.broken === true) {
            assert.strictEqual(answered.text, "word0 word1 ")
            assert.deepStrictEqual(answered.finishes, [])
            assert.strictEqual(answered.errors, 1)
            return assertFree(result, "refunded")
          }
          if (expected.status === 200) {
            assert.strictEqual(answered.text, WHOLE_TEXT)
            assert.deepStrictEqual(answered.finishes, [expected.finish ?? "stop"])
            assert.strictEqual(answered.errors, 0)
            assert.deepInclude(answered.usage, { prompt_tokens: 10, completion_tokens: 5 })
            const provider = closed.providers[expected.tried.endsWith("2") ? 1 : 0]
            return assertCharged(result, provider, 10n * closed.prices[0] + 5n * closed.prices[1])
          }
          assert.strictEqual(answered.code, expected.code)
          if (expected.retryAfter !== undefined) assert.strictEqual(answered.retryAfter, expected.retryAfter)
          assertFree(result, expected.rejected === true ? "rejected" : "refunded")
        })
      }
    }
  }

  const deaths: ReadonlyArray<readonly [string, Script, string]> = [
    ["is cut", { cut: true }, "answer_cut"],
    ["stalls", { hang: "mid" }, "timeout_idle"],
    ["is reset", { reset: "mid" }, "connection_broken"],
    ["has a malformed event", { malformed: true }, "answer_malformed"],
    ["has an error event", { errorEvent: true }, "answer_reported"]
  ]
  const openOrder = { provider: { order: open.providers, allow_fallbacks: false } }

  for (const [name, script, error] of deaths) {
    it(`a stream that ${name} is whole for its caller where the model can go on, and charged once at who finished it`, async () => {
      const result = await ask(open, [persistent(script), []], { stream: true, ...openOrder })
      assert.strictEqual(result.answered.text, WHOLE_TEXT)
      assert.deepStrictEqual(result.answered.finishes, ["stop"])
      assert.strictEqual(result.answered.errors, 0)
      assert.strictEqual(tried(open, result.row), `1:${error} 2`)
      assert.deepInclude(result.calls[1]?.body["messages"], { role: "assistant", content: "word0 word1" })
      // The prompt is 10; two words were sent, three tokens by their characters; the rest is a space and three words.
      assert.deepInclude(result.answered.usage, { prompt_tokens: 10, completion_tokens: 7 })
      assert.deepInclude(result.row, { usage_source: "estimated" })
      assertCharged(result, "groq", 10n * open.prices[0] + 7n * open.prices[1])
    })
  }

  it("a rescuer that begins the text anew is spliced; what it repeated is not charged", async () => {
    const result = await ask(open, [persistent({ cut: true }), persistent({ restarts: true })], { stream: true, ...openOrder })
    assert.strictEqual(result.answered.text, WHOLE_TEXT)
    assert.deepStrictEqual(result.answered.finishes, ["stop"])
    assertCharged(result, "groq", 10n * open.prices[0] + 5n * open.prices[1])
  })

  it("a rescue that fails too ends in-band, refunded", async () => {
    const result = await ask(open, [persistent({ cut: true }), persistent({ status: 503 })], { stream: true, ...openOrder })
    assert.strictEqual(result.answered.errors, 1)
    assert.deepStrictEqual(result.answered.finishes, [])
    assert.strictEqual(tried(open, result.row), "1:answer_cut 2:status_503")
    assertFree(result, "refunded")
  })

  it("what remains of max_tokens bounds the rest", async () => {
    const result = await ask(open, [persistent({ cut: true }), []], { stream: true, max_tokens: 50, ...openOrder })
    assert.strictEqual(result.calls[0]?.body["max_tokens"], 50)
    assert.strictEqual(result.calls[1]?.body["max_tokens"], 47)
    assert.strictEqual(result.answered.text, WHOLE_TEXT)
  })

  it("a prompt that one model cannot take is answered by a fallback model, which the answer names", async () => {
    const tooLong = { ...refusal("context_length_exceeded", "maximum context length"), model: "gpt-4o" }
    const result = await ask(closed, [persistent(tooLong), []], { models: ["openai/gpt-4o-mini"] })
    assert.strictEqual(result.answered.text, WHOLE_TEXT)
    assert.deepStrictEqual(
      result.row.attempts.map((attempt) => [attempt.model, attempt.error]),
      [
        ["openai/gpt-4o", "status_400"],
        ["openai/gpt-4o-mini", null]
      ]
    )
  })

  it("CM-14.2 a caller who leaves midway pays for the input and what was produced, estimated; the row says so", async () => {
    const customer = await newCustomer(server, { balanceUsd: "10" })
    const controller = new AbortController()
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
      body: JSON.stringify({
        model: closed.model,
        messages: [{ role: "user", content: "hello" }],
        stream: true,
        provider: { order: closed.providers },
        mock: { hang: "mid", after: 4, chunks: 8 }
      }),
      signal: controller.signal
    })
    const reader = response.body?.getReader()
    let text = ""
    while (!text.includes("word3")) text += new TextDecoder().decode((await reader?.read())?.value)
    controller.abort()
    await eventually(async () => {
      const rows = await jsonCall<{ data: ReadonlyArray<RequestRow> }>(server.url, customer.key, "GET", "/v1/requests?limit=1")
      const amount = 2n * closed.prices[0] + 6n * closed.prices[1]
      assert.deepInclude(rows.body.data[0], { outcome: "cancelled", usage_source: "estimated" })
      assert.deepInclude(rows.body.data[0]?.tokens, { input: 2, output: 6 })
      const charges = (await entriesOf(server, customer.key)).filter((entry) => entry.kind === "charge")
      assert.deepStrictEqual(
        charges.map((entry) => pico(entry.amount_usd)),
        [-amount]
      )
      assert.strictEqual(pico((await creditsOf(server, customer.key)).available_usd), pico("10") - amount)
    })
  })

  it("CM-14.2 figures that cannot be are charged by an estimate, and the row says so", async () => {
    for (const usage of [
      { prompt_tokens: 1e300, completion_tokens: 5 },
      { prompt_tokens: 10, completion_tokens: -5 }
    ]) {
      for (const stream of [false, true]) {
        const result = await ask(closed, [persistent({ usage }), []], { stream })
        assert.strictEqual(result.row.usage_source, "estimated")
        assert.deepInclude(result.row.tokens, { input: 2, output: 8 })
        assertCharged(result, "openai", 2n * closed.prices[0] + 8n * closed.prices[1])
      }
    }
  })

  it("CM-14.2 a provider that gives no figures is charged by an estimate, and the row says so", async () => {
    for (const stream of [false, true]) {
      const result = await ask(closed, [persistent({ noUsage: true }), []], { stream })
      assert.strictEqual(result.row.usage_source, "estimated")
      assert.deepInclude(result.row.tokens, { input: 2, output: 8 })
      assertCharged(result, "openai", 2n * closed.prices[0] + 8n * closed.prices[1])
    }
  })
})
