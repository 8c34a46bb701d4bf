/**
 * Registration, login and sessions, as they come over HTTP.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { freshDatabase, runSql } from "../support/database.ts"
import { jsonCall, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"

interface SignedIn {
  readonly user: {
    readonly id: string
    readonly email: string
    readonly tier: string
    readonly plan: string
    readonly status: string
    readonly created_at: string
    readonly trial: { readonly ends_at: string; readonly credit_left_usd: string } | null
  }
  readonly api_key: string
  readonly session: { readonly token: string; readonly expires_at: string }
  readonly error?: { readonly code: string; readonly message: string; readonly param: string | null }
}

const PASSWORD = "correct horse battery"

describe("signing in", () => {
  const directory = temporaryDirectory()
  let server: RunningServer
  let database: string
  beforeAll(async () => {
    database = await freshDatabase(inject("databaseUrl"))
    server = await startServer({ ...serviceSettings(database), DATA_DIR: directory.path, TRUST_PROXY: "1" })
  })
  afterAll(async () => {
    await server?.stop()
    directory.remove()
  })

  let addresses = 0
  const newAddress = () => `198.51.100.${++addresses}`
  let users = 0
  const newEmail = () => `person${++users}@example.com`

  const post = async (path: string, body: object, from = newAddress()) => {
    const response = await fetch(server.url + path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-forwarded-for": from },
      body: JSON.stringify(body)
    })
    const answer: SignedIn = JSON.parse(await response.text())
    return { status: response.status, body: answer, headers: response.headers }
  }
  const register = (more: object = {}, from?: string) => post("/auth/register", { email: newEmail(), password: PASSWORD, ...more }, from)
  const login = (email: string, password: string, from?: string) => post("/auth/login", { email, password }, from)
  const call = <A = SignedIn["user"]>(secret: string, method: string, path: string, body?: unknown) =>
    jsonCall<A>(server.url, secret, method, path, body)

  it("CM-12.1 the 11th login from one address within 15 minutes is refused, and says when to come again", async () => {
    const { body } = await register()
    const from = newAddress()
    for (let i = 0; i < 10; i++) {
      const answer = await login(body.user.email, i % 2 === 0 ? PASSWORD : "wrong password", from)
      assert.strictEqual(answer.status, i % 2 === 0 ? 200 : 401)
    }
    const refused = await login(body.user.email, PASSWORD, from)
    assert.deepStrictEqual([refused.status, refused.body.error?.code], [429, "TOO_MANY_ATTEMPTS"])
    const wait = Number(refused.headers.get("retry-after"))
    assert.isTrue(wait > 800 && wait <= 900, String(wait))
    assert.strictEqual((await login(body.user.email, PASSWORD)).status, 200)
  })

  it("CM-12.2 the 4th registration from one address within an hour is refused; what was never one does not count", async () => {
    const from = newAddress()
    const nonsense = [{ email: "nobody" }, { email: "a@mailinator.com" }, { password: "short" }]
    for (const wrong of nonsense) assert.strictEqual((await register(wrong, from)).status, 400)
    for (let i = 0; i < 3; i++) assert.strictEqual((await register({}, from)).status, 201)
    const refused = await register({}, from)
    assert.strictEqual(refused.status, 429)
    assert.isAbove(Number(refused.headers.get("retry-after")), 3_400)
    // The operator's way in is not limited.
    for (let i = 0; i < 5; i++) assert.strictEqual((await server.admin("POST", "/admin/users", { email: newEmail() })).status, 201)
  })

  it("CM-12.3 a new user's tier is basic, on a trial of three days and 5 USD", async () => {
    const { body, status } = await register({ email: "  New.Person@Example.COM " })
    assert.strictEqual(status, 201)
    assert.deepInclude(body.user, { email: "new.person@example.com", tier: "basic", plan: "trial", status: "trial" })
    assert.strictEqual(body.user.trial?.credit_left_usd, "5.00")
    const days = (Date.parse(body.user.trial?.ends_at ?? "") - Date.parse(body.user.created_at)) / 86_400_000
    assert.strictEqual(Math.round(days * 100) / 100, 3)
  })

  it("CM-12.4 registration makes one primary key, shown once", async () => {
    const { body } = await register()
    assert.match(body.api_key, /^gw_dev_[A-Za-z0-9_-]{43}$/)
    const keys = await call<{ data: ReadonlyArray<Record<string, unknown>> }>(body.api_key, "GET", "/v1/keys")
    assert.strictEqual(keys.body.data.length, 1)
    assert.deepInclude(keys.body.data[0], { name: "primary", last4: body.api_key.slice(-4), revoked_at: null, scopes: ["*"] })
    const rows = await runSql(database, `SELECT is_primary FROM api_keys WHERE user_id = '${body.user.id}'`)
    assert.deepStrictEqual(rows, [{ is_primary: true }])
    const again = await login(body.user.email, PASSWORD)
    assert.notProperty(again.body, "api_key")
    assert.notInclude(JSON.stringify([keys.body, again.body]), body.api_key)
    const echo = { model: "sandbox/echo", messages: [{ role: "user", content: "hello" }] }
    assert.strictEqual((await call(body.api_key, "POST", "/v1/chat/completions", echo)).status, 200)
  })

  it("CM-12.8 a partner's code, in any case and in either field, gives the partner's trial", async () => {
    for (const code of [{ partner_code: "RedBeard" }, { referral_code: " redbeard" }]) {
      const { body } = await register(code)
      const days = (Date.parse(body.user.trial?.ends_at ?? "") - Date.parse(body.user.created_at)) / 86_400_000
      assert.strictEqual(Math.round(days * 100) / 100, 14)
      assert.deepInclude(body.user, { tier: "pro" })
    }
    assert.strictEqual((await register({ partner_code: "nobodys" })).status, 400)
  })

  it("CM-12.9 a referral code is kept with the new user, and leads to whose it is", async () => {
    const friend = await server.admin<{ user: { id: string }; referral_code: string }>("POST", "/admin/users", { email: newEmail() })
    const brought = await register({ referral_code: friend.body.referral_code.toLowerCase() })
    const unknown = await register({ referral_code: "friend42" })
    const rows = await runSql(
      database,
      `SELECT referred_by, referred_by_code FROM users WHERE id IN ('${brought.body.user.id}', '${unknown.body.user.id}') ORDER BY id`
    )
    assert.deepStrictEqual(rows, [
      { referred_by: friend.body.user.id, referred_by_code: friend.body.referral_code },
      { referred_by: null, referred_by_code: "FRIEND42" }
    ])
  })

  it("CM-12.10 a disposable address, and one of a subdomain, is refused", async () => {
    for (const domain of ["mailinator.com", "a.b.mailinator.com", "YOPMAIL.com", "guerrillamail.com", "tempmail.com", "sharklasers.com"]) {
      const { body, status } = await register({ email: `someone@${domain}` })
      assert.deepStrictEqual([status, body.error?.code], [400, "DISPOSABLE_EMAIL"], domain)
    }
    assert.strictEqual((await register({ email: "someone@notmailinator.example.com" })).status, 201)
  })

  it("addresses and passwords that cannot be are refused", async () => {
    const emails = [
      "",
      "a",
      "a@",
      "@b.example",
      "a b@c.example",
      "a@b",
      "a@-b.example",
      "a@1.2.3.4",
      "a@@b.example",
      "x@no-address.invalid"
    ]
    for (const email of [...emails, "a@b.example/path", `${"a".repeat(65)}@b.example`, "a..b@c.example"]) {
      assert.deepInclude((await register({ email })).body.error, { param: "email" }, email)
    }
    for (const password of ["1234567", "x".repeat(201)])
      assert.deepInclude((await register({ password })).body.error, { param: "password" })
    assert.strictEqual((await register({ password: "12345678" })).status, 201)
    assert.strictEqual(
      (await register({ email: "wer@bücher.example", password: "🔑".repeat(200) })).body.user.email,
      "wer@xn--bcher-kva.example"
    )
  })

  it("an address that is taken is told without saying of whom; a wrong password and nobody's address look the same", async () => {
    const { body } = await register()
    const taken = await register({ email: body.user.email.toUpperCase() })
    assert.deepStrictEqual([taken.status, taken.body.error?.code], [409, "EMAIL_TAKEN"])
    const wrong = await login(body.user.email, "not the password")
    const nobody = await login("nobody-at-all@example.com", PASSWORD)
    assert.deepStrictEqual([wrong.status, wrong.body.error], [nobody.status, nobody.body.error])
    assert.strictEqual(wrong.status, 401)
    // Made by the operator: there is no password to log in with.
    const made = await server.admin<SignedIn>("POST", "/admin/users", { email: newEmail() })
    assert.strictEqual((await login(made.body.user.email, "")).status, 401)
  })

  it("nobody's address takes as long as a wrong password", async () => {
    const { body } = await register()
    const timeOf = async (email: string) => {
      const times: Array<number> = []
      for (let i = 0; i < 5; i++) {
        const began = performance.now()
        assert.strictEqual((await login(email, "not the password")).status, 401)
        times.push(performance.now() - began)
      }
      return Math.min(...times)
    }
    const [wrong, nobody] = [await timeOf(body.user.email), await timeOf("nobody-at-all@example.com")]
    // Without a hash the answer would be there in a tenth of the time.
    assert.isAbove(nobody, wrong * 0.4)
    assert.isAbove(wrong, nobody * 0.4)
  })

  it("a session is good for the account's own routes, until it is ended or has expired", async () => {
    const { body } = await register()
    const { session } = (await login(body.user.email, PASSWORD)).body
    assert.strictEqual((await call(session.token, "GET", "/v1/me")).body.id, body.user.id)
    for (const path of ["/v1/credits", "/v1/credits/entries", "/v1/requests", "/v1/keys"]) {
      assert.strictEqual((await call(session.token, "GET", path)).status, 200, path)
    }
    const made = await call<{ key: string }>(session.token, "POST", "/v1/keys", { name: "by session" })
    assert.strictEqual(made.status, 201)
    // A session asks no models.
    const echo = { model: "sandbox/echo", messages: [{ role: "user", content: "hello" }] }
    assert.strictEqual((await call(session.token, "POST", "/v1/chat/completions", echo)).status, 401)
    assert.strictEqual((await call(made.body.key, "POST", "/v1/chat/completions", echo)).status, 200)

    assert.strictEqual((await call(made.body.key, "POST", "/auth/logout")).status, 400)
    assert.strictEqual((await call(session.token, "POST", "/auth/logout")).status, 200)
    const ended = await call<SignedIn>(session.token, "GET", "/v1/me")
    assert.deepStrictEqual([ended.status, ended.body.error?.code], [401, "SESSION_ENDED"])
    assert.strictEqual((await call(body.session.token, "GET", "/v1/me")).status, 200)

    const expired = (await login(body.user.email, PASSWORD)).body.session
    assert.isAbove(Date.parse(expired.expires_at), Date.now() + 6 * 86_400_000)
    await runSql(database, `UPDATE sessions SET expires_at = clock_timestamp() - interval '1 second' WHERE user_id = '${body.user.id}'`)
    assert.strictEqual((await call<SignedIn>(expired.token, "GET", "/v1/me")).body.error?.code, "SESSION_ENDED")
  })

  it("many who log in at once keep nobody else waiting", async () => {
    const { body } = await register()
    const rush = Promise.all(Array.from({ length: 30 }, () => login(body.user.email, PASSWORD)))
    const times: Array<number> = []
    for (let i = 0; i < 20; i++) {
      const began = performance.now()
      assert.strictEqual((await fetch(`${server.url}/health/live`)).status, 200)
      times.push(performance.now() - began)
    }
    assert.isBelow(times.toSorted((a, b) => a - b)[10] ?? 0, 250)
    assert.isTrue((await rush).every(({ status }) => status === 200))
  })
})
