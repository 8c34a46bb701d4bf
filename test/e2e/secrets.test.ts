/**
 * After everything was used: no secret stands in a dump of the database, nor in what the server wrote.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase, runSql } from "../support/database.ts"
import { type Issuer, startIssuer } from "../support/issuer.ts"
import { ADMIN_KEY, jsonCall, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"

const PASSWORD = "correct horse battery staple"
const WRONG_PASSWORD = "a password that is wrong"
const OTHER_ADMIN_KEY = "a-guess-of-the-admin-key-that-is-wrong"
const PROVIDER_KEY = "sk-provider-key-of-the-dump-test"
const STRIPE_SECRET = "whsec_stripe_secret_of_the_dump_test"
const METRICS_TOKEN = "metrics-token-of-the-dump-test"

interface SignedIn {
  readonly user: { readonly id: string }
  readonly api_key: string
  readonly session: { readonly token: string }
}

describe("secrets", () => {
  const directory = temporaryDirectory()
  let mock: MockProvider
  let issuer: Issuer
  let server: RunningServer
  let database: string
  beforeAll(async () => {
    mock = await startMockProvider()
    issuer = await startIssuer("dump")
    database = await freshDatabase(inject("databaseUrl"))
    server = await startServer({
      ...serviceSettings(database, inject("redisUrl")),
      DATA_DIR: directory.path,
      LOG_LEVEL: "Trace",
      LOG_FORMAT: "json",
      OPENAI_API_KEY: PROVIDER_KEY,
      OPENAI_BASE_URL: mock.url,
      STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
      METRICS_TOKEN,
      OIDC_ISSUERS: `${issuer.url}=dump`,
      WEBHOOK_ALLOWED_NETWORKS: "127.0.0.0/8"
    })
  })
  afterAll(async () => {
    await server?.stop()
    await Promise.all([mock?.close(), issuer?.close()])
    directory.remove()
  })

  /** Every row of every table, as text. */
  const dump = async (): Promise<string> => {
    const tables = await runSql(database, "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'")
    const parts = await Promise.all(
      tables.map(async (table) => {
        const name = "name" in table ? String(table.name) : ""
        return JSON.stringify(await runSql(database, `SELECT to_jsonb(t)::text AS row FROM "${name}" t`))
      })
    )
    assert.isAbove(parts.length, 15)
    return parts.join("\n")
  }

  it("no plain key, session, password, provider's key or webhook's secret is kept or logged", async () => {
    const call = <A = Record<string, unknown>>(key: string | null, method: string, path: string, body?: unknown) =>
      jsonCall<A>(server.url, key, method, path, body)
    const registration = { email: "dump@example.com", password: PASSWORD }
    const mine = (await call<SignedIn>(null, "POST", "/auth/register", registration)).body
    await call(null, "POST", "/auth/register", registration)
    const login = (await call<SignedIn>(null, "POST", "/auth/login", registration)).body
    await call(null, "POST", "/auth/login", { ...registration, password: WRONG_PASSWORD })
    await call(null, "POST", "/auth/login", { ...registration, email: "nobody@example.com" })
    const idToken = await issuer.sign({ sub: "dump", email: "dump2@example.com", email_verified: true })
    const identified = (await call<SignedIn>(null, "POST", "/auth/identity", { id_token: idToken })).body
    const forged = await issuer.forge({ sub: "dump" })
    assert.strictEqual((await call(null, "POST", "/auth/identity", { id_token: forged })).status, 401)

    const made = (await call<{ id: string; key: string }>(mine.api_key, "POST", "/v1/keys", { name: "second" })).body
    const byAdmin = (await server.admin<SignedIn>("POST", "/admin/users", { email: "dump3@example.com", plan: "dev" })).body
    const adminKey = (await server.admin<{ key: string }>("POST", `/admin/users/${mine.user.id}/keys`, { name: "third" })).body
    await server.admin("PUT", `/admin/users/${mine.user.id}/plan`, { plan: "dev" })
    const hook = await call<{ secret: string }>(mine.api_key, "POST", "/v1/webhooks", {
      url: `${mock.url}/hook`,
      events: ["credits.added"]
    })
    assert.strictEqual(hook.status, 201, JSON.stringify(hook.body))
    await server.admin("POST", `/admin/users/${mine.user.id}/credits`, { amount_usd: "5", reference: "dump" })
    await server.admin("POST", "/admin/keys/rotate", {})
    for (const model of ["gpt-4o", "sandbox/echo", "no/such-model"]) {
      await call(made.key, "POST", "/v1/chat/completions", { model, max_tokens: 5, messages: [{ role: "user", content: "hi" }] })
    }
    const guess = `gw_dev_${"Guess".repeat(8)}abc`
    for (const key of [guess, made.key, OTHER_ADMIN_KEY, login.session.token]) await call(key, "GET", "/admin/users")
    await call(guess, "GET", "/v1/me")
    await call(mine.api_key, "DELETE", `/v1/keys/${made.id}`)
    await call(made.key, "GET", "/v1/me")
    assert.strictEqual((await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } })).status, 200)
    await fetch(`${server.url}/api/stripe/webhook`, { method: "POST", headers: { "stripe-signature": "t=1,v1=no" }, body: "{}" })
    await fetch(`${server.url}/v1/me?key=${mine.api_key}`)
    await call(identified.session.token, "POST", "/auth/logout")
    const settings = serviceSettings(database)
    await server.stop()

    const secrets: Readonly<Record<string, string>> = {
      "the first key": mine.api_key,
      "a made key": made.key,
      "a key made by the operator": adminKey.key,
      "an operator's user's key": byAdmin.api_key,
      "an identity's key": identified.api_key,
      "a guessed key": guess,
      "the first session": mine.session.token,
      "a session": login.session.token,
      "an ended session": identified.session.token,
      "the password": PASSWORD,
      "a wrong password": WRONG_PASSWORD,
      "the admin key": ADMIN_KEY,
      "a wrong admin key": OTHER_ADMIN_KEY,
      "the encryption key": settings["KEY_ENCRYPTION_KEY"] ?? "",
      "the hash secret": settings["KEY_HASH_SECRET"] ?? "",
      "the provider's key": PROVIDER_KEY,
      "the Stripe secret": STRIPE_SECRET,
      "the metrics token": METRICS_TOKEN,
      "the webhook's secret": hook.body.secret,
      "an identity token": idToken,
      "a forged identity token": forged
    }
    const places = { "the database": await dump(), "the log": server.output() }
    assert.include(places["the database"], mine.user.id)
    assert.include(places["the log"], "UNAUTHORIZED_ADMIN_ACCESS")
    const found = Object.entries(secrets).flatMap(([what, secret]) => {
      assert.isAbove(secret.length, 15, what)
      // Without its well-known beginning too, as somebody might cut it.
      const bare = secret.replace(/^(gw_[a-z]+_|gws_|whsec_)/, "")
      return Object.entries(places).flatMap(([where, text]) =>
        text.includes(bare) || text.includes(Buffer.from(secret).toString("base64").replace(/=+$/, "")) ? [`${what} in ${where}`] : []
      )
    })
    assert.deepStrictEqual(found, [])
  }, 60_000)
})

describe("secrets that were changed", () => {
  const directory = temporaryDirectory()
  afterAll(() => directory.remove())

  const OTHERS = {
    KEY_HASH_SECRET: "another-secret-for-hashing-keys-in-tests",
    KEY_ENCRYPTION_KEY: Buffer.alloc(32, 9).toString("base64url")
  }

  it("are told of at the start, until a key was made under them; the same ones are not", async () => {
    const database = await freshDatabase(inject("databaseUrl"))
    const settings = { ...serviceSettings(database), DATA_DIR: directory.path, LOG_LEVEL: "Warn" }
    const started = async (changed: Readonly<Record<string, string>>, use: (server: RunningServer) => Promise<unknown>) => {
      const server = await startServer({ ...settings, ...changed })
      try {
        await use(server)
      } finally {
        await server.stop()
      }
      return server.output().match(/(?:hashed with|encrypted under) another KEY_\w+/g) ?? []
    }
    const makeUser = (email: string) => (server: RunningServer) => server.admin("POST", "/admin/users", { email })
    const nothing = async () => {}
    assert.deepStrictEqual(await started({}, makeUser("before@example.com")), [])
    assert.deepStrictEqual(await started({}, nothing), [])
    const { KEY_HASH_SECRET } = OTHERS
    assert.deepStrictEqual(await started({ KEY_HASH_SECRET }, nothing), ["hashed with another KEY_HASH_SECRET"])
    assert.deepStrictEqual(await started(OTHERS, makeUser("after@example.com")), ["encrypted under another KEY_ENCRYPTION_KEY"])
    assert.deepStrictEqual(await started(OTHERS, nothing), [])
  }, 60_000)
})
