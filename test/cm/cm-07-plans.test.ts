import { afterAll, assert, beforeAll, beforeEach, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { plans } from "../../schemas/Plan.ts"
import { freshDatabase, runSql } from "../support/database.ts"
import { creditsOf, eventually, jsonCall, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"

interface TrialUser {
  readonly id: string
  readonly plan: string
  readonly status: string
  readonly tier: string
  readonly created_at: string
  readonly trial: {
    readonly ends_at: string
    readonly tokens_left: number
    readonly requests_left: number
    readonly credit_left_usd: string
  } | null
}

describe("plans and trials", () => {
  let mock: MockProvider
  let server: RunningServer
  let database: string
  let users = 0
  const directory = temporaryDirectory()
  beforeAll(async () => {
    mock = await startMockProvider()
    database = await freshDatabase(inject("databaseUrl"))
    server = await startServer({
      ...serviceSettings(database),
      DATA_DIR: directory.path,
      OPENAI_API_KEY: "k",
      OPENAI_BASE_URL: mock.url,
      OPENROUTER_API_KEY: "k",
      OPENROUTER_BASE_URL: mock.url
    })
  })
  beforeEach(() => mock.reset())
  afterAll(async () => {
    await server?.stop()
    await mock?.close()
    directory.remove()
  })

  const newUser = async (more: object = {}) => {
    const made = await server.admin<{ user: TrialUser; api_key: string; referral_code: string }>("POST", "/admin/users", {
      email: `trial${users++}@example.com`,
      ...more
    })
    assert.strictEqual(made.status, 201, JSON.stringify(made.body))
    return { ...made.body.user, key: made.body.api_key, referralCode: made.body.referral_code }
  }
  const ask = (key: string, model = "gpt-4o", more: object = {}) =>
    jsonCall<{ error?: { code: string; message: string } }>(server.url, key, "POST", "/v1/chat/completions", {
      model,
      max_tokens: 10,
      messages: [{ role: "user", content: "hello" }],
      ...more
    })
  const change = (id: string, set: string) => runSql(database, `UPDATE users SET ${set}, changed_at = clock_timestamp() WHERE id = '${id}'`)
  const me = async (key: string) => (await jsonCall<TrialUser>(server.url, key, "GET", "/v1/me")).body

  it("CM-7.1 a new user's balance is exactly 5.00 USD", async () => {
    const user = await newUser()
    assert.deepInclude(await creditsOf(server, user.key), { purchased_usd: "5.00", available_usd: "5.00" })
  })

  it("CM-7.2 the trial ends 72 hours after the user was made", async () => {
    const user = await newUser()
    assert.deepInclude(user, { plan: "trial", status: "trial" })
    const length = Date.parse(user.trial?.ends_at ?? "") - Date.parse(user.created_at)
    assert.isBelow(Math.abs(length - 72 * 3_600_000), 2_000)
    assert.deepInclude(user.trial, { tokens_left: 1_000_000, requests_left: 10_000, credit_left_usd: "5.00" })
  })

  it("CM-7.3 a trial user with 1,000,000 tokens used is refused", async () => {
    const user = await newUser()
    await change(user.id, "trial_tokens_left = 12")
    // The last tokens are given out whole; then there are none.
    mock.script({ times: 3, usage: { prompt_tokens: 4, completion_tokens: 8, total_tokens: 12 } })
    assert.strictEqual((await ask(user.key)).status, 200)
    const refused = await ask(user.key)
    assert.deepStrictEqual([refused.status, refused.body.error?.code], [402, "TRIAL_LIMIT_REACHED"])
    assert.include(refused.body.error?.message, "tokens")
    assert.strictEqual(mock.calls().length, 1)
    assert.strictEqual((await me(user.key)).trial?.tokens_left, 0)
  })

  it("CM-7.4 a trial user with 10,000 requests made is refused", async () => {
    const user = await newUser()
    await change(user.id, "trial_requests_left = 2")
    const statuses = await Promise.all(Array.from({ length: 5 }, async () => (await ask(user.key)).status))
    assert.deepStrictEqual(statuses.sort(), [200, 200, 402, 402, 402])
    assert.include((await ask(user.key)).body.error?.message, "requests")
    assert.strictEqual((await me(user.key)).trial?.requests_left, 0)
  })

  it("what a trial used is counted also where the server was started anew", async () => {
    const user = await newUser()
    mock.script({ usage: { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 } })
    assert.strictEqual((await ask(user.key)).status, 200)
    await eventually(async () => {
      const [row] = await runSql(
        database,
        `SELECT trial_tokens_left::text AS t, trial_requests_left::text AS r FROM users WHERE id = '${user.id}'`
      )
      assert.deepStrictEqual(row, { t: "999980", r: "9999" })
    })
  })

  it("CM-7.5 an expired trial on a standard model gives 402, before any provider is asked", async () => {
    const user = await newUser()
    await change(user.id, "trial_ends_at = clock_timestamp() - interval '1 second'")
    await eventually(async () => {
      const { body, status } = await ask(user.key)
      assert.deepStrictEqual([status, body.error?.code], [402, "TRIAL_EXPIRED"])
    })
    const calls = mock.calls().length
    assert.strictEqual((await ask(user.key, "gpt-4o", { stream: true })).status, 402)
    assert.strictEqual(mock.calls().length, calls)
  })

  it("CM-7.6 the same user may call a catalogued free model", async () => {
    const user = await newUser()
    await change(user.id, "trial_ends_at = clock_timestamp() - interval '1 second', trial_tokens_left = 0")
    await eventually(async () => assert.strictEqual((await ask(user.key)).status, 402))
    const models = await jsonCall<{ data: ReadonlyArray<{ id: string; free: boolean }> }>(server.url, null, "GET", "/v1/models?limit=1000")
    const free = models.body.data.find((model) => model.free)
    assert.isDefined(free)
    const { headers, status } = await ask(user.key, free?.id)
    assert.strictEqual(status, 200)
    assert.strictEqual(Number(headers.get("x-sluice-cost-usd")), 0)
  })

  it("CM-7.7 a trial user within time and limits may call standard models", async () => {
    const user = await newUser()
    for (const model of ["gpt-4o", "gpt-4o-mini"]) assert.strictEqual((await ask(user.key, model)).status, 200)
  })

  it("CM-7.8 there are exactly four plans, and the operator can set each", async () => {
    assert.deepStrictEqual(Object.keys(plans).sort(), ["dev", "enterprise", "team", "trial"])
    const user = await newUser()
    for (const plan of Object.keys(plans))
      assert.deepInclude((await server.admin("PUT", `/admin/users/${user.id}/plan`, { plan })).body, { plan })
    assert.strictEqual((await server.admin("PUT", `/admin/users/${user.id}/plan`, { plan: "max" })).status, 400)
  })

  it("CM-7.9 a team may send more requests a minute than a developer", async () => {
    const limitOf = async (plan: string) => Number((await ask((await newUser({ plan })).key)).headers.get("x-ratelimit-limit"))
    assert.isAbove(await limitOf("team"), await limitOf("dev"))
  })

  it("a partner's code sets the terms of the trial, in any case; an unknown one is refused", async () => {
    const user = await newUser({ partner_code: "RedBeard" })
    const days = (Date.parse(user.trial?.ends_at ?? "") - Date.parse(user.created_at)) / 86_400_000
    assert.strictEqual(Math.round(days * 100) / 100, 14)
    assert.deepInclude(user, { tier: "pro" })
    assert.deepInclude(user.trial, { tokens_left: 1_000_000, requests_left: 10_000, credit_left_usd: "20.00" })
    await server.admin("PUT", `/admin/users/${user.id}/limits`, { tokens_per_minute: "none", tokens_per_day: "none" })
    // 5 USD a day: a hold of more is refused, whatever the balance.
    const { body, status } = await ask(user.key, "gpt-4o", { max_tokens: 16_000, n: 40 })
    assert.deepStrictEqual([status, body.error?.code], [429, "DAILY_QUOTA_EXCEEDED"])
    const refused = await server.admin("POST", "/admin/users", { email: "other@example.com", partner_code: "BLUEBEARD" })
    assert.strictEqual(refused.status, 400)
    // Another partner is another row.
    await runSql(database, "INSERT INTO partners VALUES ('BLUEBEARD', 'max', 30, 5, 6, 1000000000000, NULL)")
    const other = await newUser({ partner_code: "bluebeard" })
    assert.deepInclude(other.trial, { tokens_left: 5, requests_left: 6, credit_left_usd: "1.00" })
  })

  it("a referral code brings ten users and no more", async () => {
    const { referralCode } = await newUser()
    assert.match(referralCode, /^[0-9A-Z]{8}$/)
    for (let i = 0; i < 10; i++) await newUser({ referral_code: referralCode.toLowerCase() })
    const refused = await server.admin("POST", "/admin/users", { email: "eleventh@example.com", referral_code: referralCode })
    assert.strictEqual(refused.status, 400)
    assert.strictEqual((await server.admin("POST", "/admin/users", { email: "x@example.com", referral_code: "ZZZZZZZZ" })).status, 400)
  })
})
