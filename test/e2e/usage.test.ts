/**
 * Requests and usage as a customer reads them from the running server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Csv } from "effect/encoding"
import { safeCell } from "../../src/http/UsageTable.ts"
import { house, pico } from "../support/house.ts"
import { type Customer, entriesOf, jsonCall, newCustomer, openAi } from "../support/server.ts"

interface Sums {
  readonly requests: number
  readonly errors: number
  readonly error_rate: number
  readonly tokens: { readonly input: number; readonly output: number; readonly total: number }
  readonly cost_usd: string
  readonly latency_ms: { readonly p50: number; readonly p95: number; readonly p99: number }
  readonly time_to_first_chunk_ms: { readonly p50: number | null }
}
type Group = Sums & { readonly model?: string | null; readonly key?: string; readonly day?: string; readonly hour?: string }
interface Report {
  readonly data: ReadonlyArray<Group>
  readonly from: string
  readonly to: string
  readonly total: Sums
}
interface Row {
  readonly id: string
  readonly model: string | null
  readonly provider: string | null
  readonly status: number
  readonly outcome: string
  readonly cost_usd: string
  readonly latency_ms: number
  readonly time_to_first_chunk_ms: number | null
  readonly stream: boolean
  readonly requested_model: string
  readonly attempts: ReadonlyArray<{ readonly status: number | null }>
}

const home = house()
const call = <A>(customer: Customer, path: string) => jsonCall<A>(home.server.url, customer.key, "GET", path)
const usage = async (customer: Customer, query: string) => {
  const answer = await call<Report>(customer, `/v1/usage?${query}`)
  assert.strictEqual(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

const ask = (customer: Customer, model: string, more: object = {}) =>
  jsonCall<Record<string, unknown>>(home.server.url, customer.key, "POST", "/v1/chat/completions", {
    model,
    messages: [{ role: "user", content: "some words" }],
    max_tokens: 20,
    ...more
  })

describe("usage", () => {
  it("X-33 requests, tokens, cost and error rate by model, by key and by day agree with the rows and the book", async () => {
    const customer = await newCustomer(home.server)
    for (let i = 0; i < 3; i++) assert.strictEqual((await ask(customer, "sandbox/lorem")).status, 200)
    assert.strictEqual((await ask(customer, "sandbox/echo")).status, 200)
    assert.strictEqual((await ask(customer, "nobody/nothing")).status, 404)
    const made = await jsonCall<{ id: string; key: string }>(home.server.url, customer.key, "POST", "/v1/keys", { name: "second" })
    assert.strictEqual((await ask({ ...customer, key: made.body.key }, "sandbox/lorem")).status, 200)

    const rows = (await call<{ data: ReadonlyArray<Row> }>(customer, "/v1/requests")).body.data
    assert.strictEqual(rows.length, 6)
    const byModel = await usage(customer, "group_by=model")
    assert.sameMembers(
      byModel.data.map((group) => group.model),
      ["sandbox/lorem", "sandbox/echo", null]
    )
    const lorem = byModel.data.find((group) => group.model === "sandbox/lorem")
    assert.strictEqual(lorem?.requests, 4)
    assert.strictEqual(lorem?.tokens.output, 80)
    const charged = (await entriesOf(home.server, customer.key)).filter((entry) => entry.kind === "charge")
    const sum = (amounts: ReadonlyArray<string>) => amounts.reduce((total, amount) => total + pico(amount), 0n)
    assert.strictEqual(pico(byModel.total.cost_usd), -sum(charged.map((entry) => entry.amount_usd)))
    assert.strictEqual(pico(byModel.total.cost_usd), sum(rows.map((row) => row.cost_usd)))
    assert.deepStrictEqual([byModel.total.requests, byModel.total.errors, byModel.total.error_rate], [6, 1, 0.166667])
    const byKey = await usage(customer, "group_by=key")
    assert.deepStrictEqual(byKey.data.find((group) => group.key === made.body.id)?.requests, 1)
    assert.strictEqual((await usage(customer, `group_by=model&key=${made.body.id}`)).total.requests, 1)
    const today = new Date().toISOString().slice(0, 10)
    const byDay = await usage(customer, `group_by=day&from=${today}&to=${today}`)
    assert.strictEqual(byDay.from, `${today}T00:00:00.000Z`)
    assert.strictEqual(sum(byDay.data.map((group) => group.cost_usd)), pico(byDay.total.cost_usd))
    // Nobody sees another's.
    assert.strictEqual((await usage(await newCustomer(home.server), "group_by=day")).total.requests, 0)
  })

  it("X-35 latency and time to first chunk of each model, by hour and by day", async () => {
    const customer = await newCustomer(home.server)
    const client = openAi(home.server, customer.key)
    home.mock.script({ headDelayMs: 120 })
    for (let i = 0; i < 3; i++) {
      const stream = await client.chat.completions.create({
        model: "openai/gpt-4o-mini",
        messages: [{ role: "user", content: "hi" }],
        stream: true
      })
      for await (const chunk of stream) assert.isDefined(chunk.id)
    }
    assert.strictEqual((await ask(customer, "sandbox/echo")).status, 200)
    const rows = (await call<{ data: ReadonlyArray<Row> }>(customer, "/v1/requests?model=openai/gpt-4o-mini")).body.data
    const slowest = Math.max(...rows.map((row) => row.latency_ms))
    assert.isAtLeast(slowest, 120)
    const report = await usage(customer, "group_by=model,hour")
    const group = report.data.find((each) => each.model === "openai/gpt-4o-mini")
    assert.match(group?.hour ?? "", /^\d{4}-\d\d-\d\dT\d\d:00:00Z$/)
    assert.isNumber(group?.time_to_first_chunk_ms.p50)
    const { p50 = 0, p95 = 0, p99 = 0 } = group?.latency_ms ?? {}
    assert.isAtMost(p50, p95)
    assert.isAtMost(p95, p99)
    assert.closeTo(p99, slowest, slowest * 0.1)
    assert.isNull(report.data.find((each) => each.model === "sandbox/echo")?.time_to_first_chunk_ms.p50 ?? null)
  })

  it("X-36 the same as CSV and as JSON, with cells that no spreadsheet runs", async () => {
    const customer = await newCustomer(home.server)
    await ask(customer, "sandbox/lorem")
    await ask(customer, "sandbox/echo")
    const report = await usage(customer, "group_by=model,day")
    const answer = await fetch(`${home.server.url}/v1/usage?group_by=model,day&format=csv`, {
      headers: { authorization: `Bearer ${customer.key}` }
    })
    assert.match(answer.headers.get("content-type") ?? "", /^text\/csv/)
    assert.match(answer.headers.get("content-disposition") ?? "", /attachment; filename="usage.csv"/)
    const table = await Effect.runPromise(
      Stream.runCollect(Stream.pipeThroughChannel(Stream.make(await answer.text()), Csv.decodeString({ headers: true })))
    )
    assert.deepStrictEqual(
      table.map((row) => [row["model"], row["day"], row["requests"], row["cost_usd"], row["total_tokens"]]),
      report.data.map((row) => [row.model, row.day, String(row.requests), row.cost_usd, String(row.tokens.total)])
    )
    for (const formula of ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]) assert.strictEqual(safeCell(formula), `'${formula}`)
    assert.strictEqual(safeCell("org/model=1"), "org/model=1")
  })

  it("requests are told with the status that they were answered with, and narrowed by it", async () => {
    const customer = await newCustomer(home.server, { balanceUsd: "0" })
    assert.strictEqual((await ask(customer, "sandbox/lorem")).status, 402)
    assert.strictEqual((await ask(customer, "nobody/nothing")).status, 404)
    home.mock.script({ status: 400 })
    const payer = await newCustomer(home.server)
    const refused = await ask(payer, "openai/gpt-4o-mini")
    const rows = (await call<{ data: ReadonlyArray<Row> }>(customer, "/v1/requests")).body.data
    assert.deepStrictEqual(
      rows.map((row) => [row.requested_model, row.status, row.outcome]),
      [
        ["nobody/nothing", 404, "rejected"],
        ["sandbox/lorem", 402, "rejected"]
      ]
    )
    const narrowed = (await call<{ data: ReadonlyArray<Row> }>(customer, "/v1/requests?status=402&outcome=rejected")).body.data
    assert.deepStrictEqual(
      narrowed.map((row) => row.id),
      [rows[1]?.id]
    )
    const one = await call<Row>(customer, `/v1/requests/${rows[0]?.id}`)
    assert.deepStrictEqual(one.body, rows[0])
    const [row] = (await call<{ data: ReadonlyArray<Row> }>(payer, "/v1/requests")).body.data
    assert.strictEqual(row?.status, refused.status)
    assert.strictEqual((await call(payer, `/v1/requests/${rows[0]?.id}`)).status, 404)
  })

  it("what is asked for wrongly is a 400 that says what and why", async () => {
    const customer = await newCustomer(home.server)
    const wrong = {
      "/v1/usage?group_by=colour": "group_by",
      "/v1/usage?from=yesterday": "from",
      "/v1/usage?from=2026-02-30": "from",
      "/v1/usage?to=2026-13-01": "to",
      "/v1/usage?from=2026-02-01&to=2026-01-01": "from",
      "/v1/usage?from=2020-01-01&to=2026-01-01": "from",
      "/v1/usage?group_by=hour&from=2026-01-01&to=2026-03-01": "from",
      "/v1/usage?format=xml": "format",
      "/v1/requests?status=teapot": "status",
      "/v1/requests?outcome=fine": "outcome",
      "/v1/requests?from=1": "from",
      "/v1/requests?limit=0": "limit"
    }
    for (const [path, param] of Object.entries(wrong)) {
      const answer = await call<{ error: { param: string; message: string } }>(customer, path)
      assert.strictEqual(answer.status, 400, path)
      assert.strictEqual(answer.body.error.param, param, path)
    }
    for (const query of ["from=2026-01-01T00:00:00%2B02:00&to=2026-01-31", "from=2026-01-01T10:00", "group_by=hour", ""]) {
      assert.strictEqual((await call(customer, `/v1/usage?${query}`)).status, 200, query)
    }
  })
})
