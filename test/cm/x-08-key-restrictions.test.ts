/**
 * What a key may be restricted to, and how soon a change of it holds: over HTTP, on three replicas of which one hears
 * nothing from the others.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { freshDatabase, runSql } from "../support/database.ts"
import {
  type Customer,
  eventually,
  jsonCall,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

interface Answer {
  readonly id: string
  readonly key: string
  readonly last4: string
  readonly name: string
  readonly scopes: ReadonlyArray<string>
  readonly requests_used: number
  readonly cache: string | null
  readonly limits: Readonly<Record<string, unknown>>
  readonly data: ReadonlyArray<Record<string, unknown>>
  readonly next_cursor: string | null
  readonly error?: { readonly code: string; readonly message: string; readonly param: string | null }
}

const echo = { model: "sandbox/echo", messages: [{ role: "user", content: "hello" }], max_tokens: 5 }

describe("keys", () => {
  const directory = temporaryDirectory()
  let database: string
  let first: RunningServer
  let second: RunningServer
  /** Shares the database with the others and nothing else. */
  let alone: RunningServer
  let user: Customer
  beforeAll(async () => {
    database = await freshDatabase(inject("databaseUrl"))
    const settings = (name: string, redis?: string) => ({
      ...serviceSettings(database, redis),
      DATA_DIR: `${directory.path}/${name}`,
      TRUST_PROXY: "1",
      IP_LIMIT_PER_MINUTE: "off"
    })
    first = await startServer(settings("first", inject("redisUrl")))
    ;[second, alone] = await Promise.all([startServer(settings("second", inject("redisUrl"))), startServer(settings("alone"))])
    user = await newCustomer(first)
  })
  afterAll(async () => {
    await Promise.all([first?.stop(), second?.stop(), alone?.stop()])
    directory.remove()
  })

  const call = (key: string, method: string, path: string, body?: unknown, server = first) =>
    jsonCall<Answer>(server.url, key, method, path, body)
  let names = 0
  /** Made by the operator, since an account makes ten keys an hour by itself. */
  const newKey = async (more: object = {}, of = user) => {
    const made = await first.admin<Answer>("POST", `/admin/users/${of.id}/keys`, { name: `key ${++names}`, ...more })
    assert.strictEqual(made.status, 201, JSON.stringify(made.body))
    return made.body
  }
  const chat = async (key: string, headers: Record<string, string> = {}, server = first) => {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
      body: JSON.stringify(echo)
    })
    const body: Answer = JSON.parse(await response.text())
    return { status: response.status, code: body.error?.code ?? null }
  }
  const statuses = async (key: string, server: RunningServer) => (await chat(key, {}, server)).status

  it("X-8 a revoked key stops at once where it was revoked, and within a second on every replica, with Redis and without", async () => {
    const { id, key } = await newKey()
    for (const server of [first, second, alone]) assert.strictEqual(await statuses(key, server), 200)
    const revokedAt = Date.now()
    assert.strictEqual((await call(user.key, "DELETE", `/v1/keys/${id}`)).status, 200)
    assert.deepStrictEqual(await chat(key), { status: 401, code: "API_KEY_REVOKED" })
    await eventually(async () => assert.strictEqual(await statuses(key, second), 401), 1_000)
    await eventually(async () => assert.strictEqual(await statuses(key, alone), 401), 1_000 - (Date.now() - revokedAt))
  })

  it("X-8 what changes of a key or its account holds on every replica", async () => {
    const { id, key } = await newKey()
    for (const server of [second, alone]) assert.strictEqual(await statuses(key, server), 200)
    await call(user.key, "PATCH", `/v1/keys/${id}`, { ip_allowlist: ["203.0.113.0/24"] })
    for (const server of [second, alone]) await eventually(async () => assert.strictEqual(await statuses(key, server), 403), 1_000)
    await call(user.key, "PATCH", `/v1/keys/${id}`, { ip_allowlist: [] })
    for (const server of [second, alone]) await eventually(async () => assert.strictEqual(await statuses(key, server), 200), 1_000)
    const person = await newCustomer(first)
    for (const server of [second, alone]) assert.strictEqual(await statuses(person.key, server), 200)
    await first.admin("PUT", `/admin/users/${person.id}/limits`, { rpm: 0 })
    for (const server of [second, alone]) await eventually(async () => assert.strictEqual(await statuses(person.key, server), 429), 1_000)
  })

  it("X-8 a key may be bound to addresses and to sites", async () => {
    const office = await newKey({ ip_allowlist: ["203.0.113.7", "10.0.0.0/8", "2001:db8::/32"] })
    const from = (ip: string) => chat(office.key, { "x-forwarded-for": ip })
    for (const ip of ["203.0.113.7", "10.9.8.7", "::ffff:10.1.2.3", "2001:db8::5"]) assert.strictEqual((await from(ip)).status, 200, ip)
    for (const ip of ["203.0.113.8", "11.0.0.1", "2001:db9::5"]) {
      assert.deepStrictEqual(await from(ip), { status: 403, code: "IP_RESTRICTED" }, ip)
    }
    const mapped = await newKey({ ip_allowlist: ["::ffff:203.0.113.0/120"] })
    for (const [ip, status] of [
      ["203.0.113.9", 200],
      ["::ffff:203.0.113.9", 200],
      ["203.0.114.9", 403]
    ] as const) {
      assert.strictEqual((await chat(mapped.key, { "x-forwarded-for": ip })).status, status, ip)
    }
    const site = await newKey({ domain_allowlist: ["Example.com"] })
    for (const headers of [{ origin: "https://app.example.com" }, { referer: "https://example.com/page" }]) {
      assert.strictEqual((await chat(site.key, headers)).status, 200)
    }
    for (const headers of [{}, { origin: "https://evil-example.com" }, { origin: "null", referer: "https://example.com.evil.org" }]) {
      assert.deepStrictEqual(await chat(site.key, headers), { status: 403, code: "DOMAIN_RESTRICTED" })
    }
  })

  it("X-8 a key ends when it expires", async () => {
    const { id, key } = await newKey({ expires_at: new Date(Date.now() + 3_600_000).toISOString() })
    assert.strictEqual((await chat(key)).status, 200)
    await runSql(
      database,
      `UPDATE api_keys SET expires_at = clock_timestamp() + interval '300 ms', changed_at = clock_timestamp() WHERE id = '${id}'`
    )
    await eventually(async () => assert.deepStrictEqual(await chat(key), { status: 401, code: "API_KEY_EXPIRED" }), 3_000)
    const wrong = [{ expires_at: "yesterday" }, { expires_at: "2020-01-01T00:00:00Z" }]
    for (const body of wrong) assert.strictEqual((await call(user.key, "PATCH", `/v1/keys/${id}`, body)).status, 400)
  })

  it("X-8 a key with a cap makes that many requests in all, over every replica, and no more", async () => {
    const capped = await newKey({ max_requests: 40 })
    const asked = await Promise.all(Array.from({ length: 60 }, (_, i) => chat(capped.key, {}, [first, second, alone][i % 3])))
    const served = asked.filter(({ status }) => status === 200).length
    assert.isTrue(asked.every(({ code, status }) => status === 200 || (status === 429 && code === "KEY_REQUESTS_USED_UP")))
    // What a replica took and did not use it gives back; then the rest can be used, and nothing beyond.
    let more = 0
    await eventually(async () => {
      for (const server of [first, second, alone]) if ((await chat(capped.key, {}, server)).status === 200) more++
      assert.strictEqual(served + more, 40)
    })
    for (const server of [first, second, alone]) assert.strictEqual(await statuses(capped.key, server), 429)
    const row = (await call(user.key, "GET", "/v1/keys")).body.data.find(({ id }) => id === capped.id)
    assert.deepInclude(row, { max_requests: 40, requests_used: 40 })
    // A higher cap opens it again, none at all for good.
    await call(user.key, "PATCH", `/v1/keys/${capped.id}`, { max_requests: 41 })
    assert.deepStrictEqual([await statuses(capped.key, first), await statuses(capped.key, first)], [200, 429])
    await call(user.key, "PATCH", `/v1/keys/${capped.id}`, { max_requests: null })
    assert.deepStrictEqual([await statuses(capped.key, first), await statuses(capped.key, first)], [200, 200])
  })

  it("X-8 a key does what its scopes say", async () => {
    const inference = await newKey({ scopes: ["inference"] })
    const reader = await newKey({ scopes: ["read"] })
    const writer = await newKey({ scopes: ["read", "write"] })
    const may = async (key: string) => ({
      ask: (await chat(key)).status,
      look: (await call(key, "GET", "/v1/credits")).status,
      change: (await call(key, "PATCH", `/v1/keys/${writer.id}`, { cache: "off" })).status
    })
    assert.deepStrictEqual(await may(inference.key), { ask: 200, look: 403, change: 403 })
    assert.deepStrictEqual(await may(reader.key), { ask: 403, look: 200, change: 403 })
    assert.deepStrictEqual(await may(writer.key), { ask: 403, look: 200, change: 200 })
    assert.deepStrictEqual(await may(user.key), { ask: 200, look: 200, change: 200 })
    // It gives no more than it has, neither to others nor to itself.
    assert.deepStrictEqual((await call(writer.key, "POST", "/v1/keys", { name: "more", scopes: ["*"] })).status, 403)
    assert.deepStrictEqual(
      (await call(writer.key, "PATCH", `/v1/keys/${writer.id}`, { scopes: ["read", "write", "inference"] })).status,
      403
    )
    const child = await call(writer.key, "POST", "/v1/keys", { name: "child" })
    assert.deepStrictEqual(child.body.scopes, ["read", "write"])
    for (const scopes of [[], ["everything"], "read"]) {
      assert.strictEqual((await call(user.key, "POST", "/v1/keys", { name: "x", scopes })).status, 400)
    }
  })

  it("a key's settings are changed one by one; its name is unique among those in use", async () => {
    const { id, last4 } = await newKey({ name: "production", limits: { rpm: 5, burst: 2 } })
    assert.strictEqual((await call(user.key, "POST", "/v1/keys", { name: " production " })).body.error?.code, "KEY_NAME_TAKEN")
    const changed = await call(user.key, "PATCH", `/v1/keys/${id}`, { name: "prod", limits: { rpm: null, concurrency: 3 }, cache: "on" })
    assert.deepInclude(changed.body, {
      id,
      name: "prod",
      last4,
      cache: "on",
      limits: { rpm: null, burst: 2, concurrency: 3 },
      scopes: ["*"]
    })
    assert.deepInclude((await call(user.key, "PATCH", `/v1/keys/${id}`, { cache: null })).body, { name: "prod", cache: null })
    const wrong = [
      { name: " " },
      { ip_allowlist: ["10.0.0.0/64"] },
      { domain_allowlist: ["https://a.b"] },
      { limits: { rpm: -1 } },
      { max_requests: 1.5 },
      { cache: "maybe" }
    ]
    for (const body of wrong) assert.strictEqual((await call(user.key, "PATCH", `/v1/keys/${id}`, body)).status, 400, JSON.stringify(body))
    const stranger = await newCustomer(first)
    assert.strictEqual((await call(stranger.key, "PATCH", `/v1/keys/${id}`, { name: "mine" })).status, 404)
    assert.strictEqual((await call(stranger.key, "DELETE", `/v1/keys/${id}`)).status, 404)
    await call(user.key, "DELETE", `/v1/keys/${id}`)
    assert.strictEqual((await call(user.key, "PATCH", `/v1/keys/${id}`, { name: "again" })).status, 404)
    await newKey({ name: "prod" })
  })

  it("an account makes ten keys an hour; its list is paged", async () => {
    const person = await newCustomer(first)
    for (let i = 0; i < 10; i++) assert.strictEqual((await call(person.key, "POST", "/v1/keys", { name: `n${i}` })).status, 201)
    const refused = await call(person.key, "POST", "/v1/keys", { name: "n10" })
    assert.deepStrictEqual([refused.status, refused.body.error?.code], [429, "TOO_MANY_ATTEMPTS"])
    assert.isAbove(Number(refused.headers.get("retry-after")), 3_400)
    const seen: Array<unknown> = []
    let cursor = ""
    for (;;) {
      const page = await call(person.key, "GET", `/v1/keys?limit=4${cursor}`)
      seen.push(...page.body.data.map((row) => row["name"]))
      if (page.body.next_cursor === null) break
      cursor = `&cursor=${page.body.next_cursor}`
    }
    assert.deepStrictEqual(seen, ["n9", "n8", "n7", "n6", "n5", "n4", "n3", "n2", "n1", "n0", "primary"])
  })
})
