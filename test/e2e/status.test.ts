/**
 * Health as everybody, a customer and the operator see it at the running server: lists, incidents, the status page.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { type Receiver, startReceiver } from "../support/receiver.ts"
import { type Customer, eventually, jsonCall, newCustomer } from "../support/server.ts"

interface List<A> {
  readonly data: ReadonlyArray<A>
  readonly next_cursor: string | null
}
interface IncidentRow {
  readonly id: string
  readonly provider: string
  readonly model: string
  readonly severity: string
  readonly status: string
  readonly error?: string
}
interface Status {
  readonly status: string
  readonly open_incidents: number
  readonly models: { readonly total: number; readonly down: number; readonly healthy: number }
}

const MODEL = "openai/gpt-4o-mini"

describe("the status page", () => {
  const home = house({ BREAKER_FAILURES: "1000", IP_LIMIT_PER_MINUTE: "off", WEBHOOK_ALLOWED_NETWORKS: "127.0.0.0/8" })
  let customer: Customer
  let receiver: Receiver

  const open = async <A>(path: string) => {
    const answer = await jsonCall<A>(home.server.url, null, "GET", path)
    assert.strictEqual(answer.status, 200, JSON.stringify(answer.body))
    return answer.body
  }
  const ask = () =>
    jsonCall(home.server.url, customer.key, "POST", "/v1/chat/completions", {
      model: MODEL,
      messages: [{ role: "user", content: "hello" }]
    })
  const fail = async (times: number) => {
    home.mock.script({ status: 503, times: times * 2 })
    for (let i = 0; i < times; i++) await ask()
    home.mock.reset()
  }
  const incidents = async (query = "") => (await home.server.admin<List<IncidentRow>>("GET", `/admin/incidents${query}`)).body.data

  beforeAll(async () => {
    customer = await newCustomer(home.server, { balanceUsd: "10" })
    receiver = await startReceiver()
    const made = await jsonCall(home.server.url, customer.key, "POST", "/v1/webhooks", {
      url: `${receiver.url}/hook`,
      events: ["model.degraded"]
    })
    assert.strictEqual(made.status, 201)
  })
  afterAll(() => receiver?.close())

  it("X-53 nothing is known at first, and nobody needs a key", async () => {
    const status = await open<Status>("/v1/status")
    assert.deepInclude(status, { status: "unknown", open_incidents: 0 })
    assert.isAbove(status.models.total, 10)
    assert.deepInclude((await open<List<object>>("/v1/status/providers")).data[0], { slug: "openai", status: "unknown", uptime_24h: null })
    assert.deepStrictEqual((await open<List<object>>("/v1/status/incidents")).data, [])
    assert.deepInclude(await open<object>(`/v1/status/uptime/openai/${MODEL}`), { uptime: null, calls: 0, data: [] })
  })

  it("X-14 X-26 a model that fails is degraded, then down, with an incident that worsens and tells its event once", async () => {
    assert.strictEqual((await ask()).status, 200)
    const row = async () => (await open<{ health: string; providers: ReadonlyArray<{ health: string }> }>(`/v1/models/${MODEL}`)).health
    await eventually(async () => assert.strictEqual(await row(), "healthy"))
    await fail(2)
    // Each request asked twice.
    await eventually(async () => assert.strictEqual(await row(), "degraded"))
    await eventually(async () => assert.deepInclude((await incidents())[0], { model: MODEL, provider: "openai", severity: "medium" }))
    await fail(3)
    await eventually(async () => assert.strictEqual(await row(), "down"))
    await eventually(async () => assert.deepInclude((await incidents())[0], { severity: "critical", status: "open", error: "status_503" }))
    const provider = (await open<List<{ slug: string; health: string; breaker: string }>>("/v1/providers")).data.find(
      ({ slug }) => slug === "openai"
    )
    assert.deepInclude(provider, { health: "down", breaker: "closed" })
    const [event] = await receiver.at("/hook", 1)
    assert.deepInclude(event?.event, { type: "model.degraded" })
    assert.deepInclude(event?.event.data, { model: MODEL, provider: "openai", severity: "medium", incident_id: (await incidents())[0]?.id })
  })

  it("X-53 the page shows it to everybody, without how the provider failed", async () => {
    await eventually(async () => {
      const status = await open<Status>("/v1/status")
      assert.deepInclude(status, { status: "major_outage", open_incidents: 1 })
      assert.strictEqual(status.models.down, 1)
    }, 12_000)
    const models = await open<List<{ id: string; status: string; uptime_24h: number | null }>>("/v1/status/models?limit=1000")
    assert.deepInclude(
      models.data.find(({ id }) => id === MODEL),
      { status: "down" }
    )
    const [incident] = (await open<List<IncidentRow>>("/v1/status/incidents?status=open")).data
    assert.deepInclude(incident, { model: MODEL, severity: "critical" })
    assert.notProperty(incident, "error")
    const first = await open<List<{ id: string }>>("/v1/status/models?limit=2")
    const second = await open<List<{ id: string }>>(`/v1/status/models?limit=2&cursor=${first.next_cursor}`)
    assert.deepStrictEqual(
      [...first.data, ...second.data].map(({ id }) => id),
      models.data.slice(0, 4).map(({ id }) => id)
    )
  })

  it("X-14 X-40 it ends when the model recovers, and stays in the history", async () => {
    assert.strictEqual((await ask()).status, 200)
    await eventually(async () => assert.deepInclude((await incidents())[0], { status: "resolved", severity: "critical" }))
    assert.deepStrictEqual(await incidents("?status=open"), [])
    await eventually(async () => {
      const [shown] = (await open<List<IncidentRow>>(`/v1/status/incidents?model=${MODEL}`)).data
      assert.deepInclude(shown, { model: MODEL, status: "resolved" })
    }, 8_000)
    assert.strictEqual((await receiver.at("/hook", 1)).length, 1)
  })

  it("X-39 uptimes: over time of a model at a provider, and by provider, model and plan", async () => {
    const path = `/v1/status/uptime/openai/${MODEL}?interval=hour&days=3`
    const uptime = await open<{
      uptime: number
      calls: number
      failures: number
      interval: string
      provider: string
      model: string
      data: ReadonlyArray<{ at: string; uptime: number }>
    }>(path)
    assert.deepInclude(uptime, { calls: 12, failures: 10, interval: "hour", provider: "openai", model: MODEL })
    assert.closeTo(uptime.uptime, 2 / 12, 1e-5)
    assert.match(uptime.data[0]?.at ?? "", /^20\d\d-\d\d-\d\dT\d\d:00:00Z$/)
    for (const group of ["provider", "model", "plan"]) {
      const rows = await open<List<Record<string, unknown>>>(`/v1/status/uptime?group_by=${group}&days=2`)
      const name = { provider: "openai", model: MODEL, plan: "enterprise" }[group]
      const row = rows.data.find((candidate) => candidate[group] === name)
      assert.deepInclude(row, group === "plan" ? { calls: 7, failures: 5 } : { calls: 12, failures: 10 })
    }
  })

  it("X-13 X-19 the operator sees providers with their state and credit, and has a model probed", async () => {
    const providers = (await home.server.admin<List<Record<string, unknown>>>("GET", "/admin/providers")).body.data
    const row = (slug: string) => providers.find((provider) => provider["slug"] === slug)
    assert.deepInclude(row("openai"), { active: true, breaker: "closed", tells_balance: false, balance: null })
    assert.deepInclude(row("openrouter"), { active: false, tells_balance: true })
    const before = home.mock.calls().length
    const probed = await home.server.admin<List<Record<string, unknown>>>("POST", "/admin/health/probes", {
      model: "gpt-4o",
      provider: "openai"
    })
    assert.deepInclude(probed.body.data[0], {
      provider: "openai",
      model: "openai/gpt-4o",
      outcome: "success",
      tier: "on_demand",
      error: null
    })
    assert.strictEqual(home.mock.calls().length, before + 1)
    assert.deepInclude(home.mock.calls().at(-1)?.body, { model: "gpt-4o", messages: [{ role: "user", content: "ping" }] })
    home.mock.script({ status: 500 })
    const failed = await home.server.admin<List<Record<string, unknown>>>("POST", "/admin/health/probes", { model: "gpt-4o" })
    assert.deepInclude(failed.body.data[0], { outcome: "failure", error: "status_500" })
    assert.strictEqual((await home.server.admin("POST", "/admin/health/probes", { model: "no/such" })).status, 404)
    assert.strictEqual((await jsonCall(home.server.url, customer.key, "POST", "/admin/health/probes", { model: "gpt-4o" })).status, 403)
  })

  it("what is asked wrongly is refused, and incidents' details are the operator's", async () => {
    const status = async (path: string, key: string | null = null) => (await jsonCall(home.server.url, key, "GET", path)).status
    assert.strictEqual(await status("/v1/status/uptime/nobody/a/b"), 404)
    assert.strictEqual(await status("/v1/status/uptime/openai/a/b?interval=week"), 400)
    assert.strictEqual(await status("/v1/status/uptime/openai/a/b?days=0"), 400)
    assert.strictEqual(await status("/v1/status/uptime?group_by=account"), 400)
    assert.strictEqual(await status("/v1/status/incidents?limit=0"), 400)
    assert.strictEqual(await status("/admin/incidents", customer.key), 403)
    assert.strictEqual(await status("/admin/incidents"), 401)
  })
})
