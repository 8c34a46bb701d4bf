/**
 * Roles, and what is written down of what they do and of what is refused.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { freshDatabase, runSql } from "../support/database.ts"
import { jsonCall, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"

interface Entry {
  readonly id: string
  readonly action: string
  readonly actor: string
  readonly account_id: string | null
  readonly reason: string | null
  readonly ip: string | null
  readonly request_id: string | null
  readonly details: Readonly<Record<string, unknown>>
  readonly created_at: string
}
interface List {
  readonly data: ReadonlyArray<Entry>
  readonly next_cursor: string | null
}

describe("roles and the audit log", () => {
  const directory = temporaryDirectory()
  let server: RunningServer
  let database: string
  const settings = () => ({ ...serviceSettings(database), DATA_DIR: directory.path, IP_LIMIT_PER_MINUTE: "off" })
  beforeAll(async () => {
    database = await freshDatabase(inject("databaseUrl"))
    server = await startServer(settings())
  })
  afterAll(async () => {
    await server?.stop()
    directory.remove()
  })

  let users = 0
  const newUser = async (plan = "dev") => {
    const made = await server.admin<{ user: { id: string; role: string }; api_key: string }>("POST", "/admin/users", {
      email: `u${++users}@example.com`,
      plan
    })
    return { id: made.body.user.id, role: made.body.user.role, key: made.body.api_key }
  }
  const call = <A = { error?: { code: string } }>(key: string | null, method: string, path: string, body?: unknown) =>
    jsonCall<A>(server.url, key, method, path, body)
  const audit = async (query: string) => (await server.admin<List>("GET", `/admin/audit?${query}`)).body
  const setRole = (id: string, role: string, reason?: string) => server.admin("PUT", `/admin/users/${id}/role`, { role, reason })

  it("CM-13.8 a customer on an operator's route gets 403 and leaves one record UNAUTHORIZED_ADMIN_ACCESS", async () => {
    const user = await newUser()
    const refused = await call(user.key, "PUT", `/admin/users/${user.id}/plan?x=1`, { plan: "enterprise" })
    assert.deepStrictEqual([refused.status, refused.body.error?.code], [403, "INSUFFICIENT_PERMISSIONS"])
    const { data } = await audit(`action=UNAUTHORIZED_ADMIN_ACCESS&account=${user.id}`)
    assert.strictEqual(data.length, 1)
    assert.deepInclude(data[0], { actor: user.id, account_id: user.id, ip: "127.0.0.1" })
    assert.deepInclude(data[0]?.details, { method: "PUT", path: `/admin/users/${user.id}/plan`, role: "dev" })
    assert.strictEqual(data[0]?.request_id, refused.headers.get("x-sluice-request-id"))
    const routes = [
      ["GET", "/admin/users"],
      ["GET", "/admin/audit"],
      ["GET", "/admin/breakers"],
      ["POST", "/admin/keys/rotate"],
      ["GET", "/admin/ledger/check"],
      ["PUT", `/admin/users/${user.id}/role`]
    ] as const
    for (const [method, path] of routes) assert.strictEqual((await call(user.key, method, path)).status, 403, path)
    assert.strictEqual((await audit(`action=UNAUTHORIZED_ADMIN_ACCESS&account=${user.id}`)).data.length, 1 + routes.length)
  })

  it("a wrong admin key is refused and written down, without the key; no key at all is only refused", async () => {
    const before = (await audit("action=INVALID_ADMIN_KEY_ATTEMPT")).data.length
    assert.strictEqual((await call("not-the-admin-key", "GET", "/admin/users")).status, 401)
    assert.strictEqual((await call(`gw_dev_${"x".repeat(43)}`, "GET", "/admin/users")).status, 401)
    assert.strictEqual((await call(null, "GET", "/admin/users")).status, 401)
    const { data } = await audit("action=INVALID_ADMIN_KEY_ATTEMPT")
    assert.strictEqual(data.length, before + 2)
    assert.deepInclude(data[0], { actor: "unknown", account_id: null })
    assert.notInclude(JSON.stringify(data), "not-the-admin-key")
  })

  it("a change of role is written down: the old, the new, who, why and when", async () => {
    const user = await newUser()
    const changed = await server.admin<{ role: string }>("PUT", `/admin/users/${user.id}/role`, { role: "team", reason: "leads a team" })
    assert.deepInclude(changed.body, { role: "team" })
    const [entry] = (await audit(`action=ROLE_CHANGED&account=${user.id}`)).data
    assert.deepInclude(entry, { actor: "operator", reason: "leads a team", details: { old_role: "dev", new_role: "team" } })
    assert.isBelow(Math.abs(Date.now() - Date.parse(entry?.created_at ?? "")), 60_000)
    for (const role of ["owner", "", null]) {
      assert.strictEqual((await server.admin("PUT", `/admin/users/${user.id}/role`, { role })).status, 400)
    }
    assert.strictEqual((await setRole("nobody", "dev")).status, 404)
  })

  it("a role given by hand outlives a change of plan, one that came with a plan goes with it", async () => {
    const [byHand, byPlan] = [await newUser(), await newUser()]
    await setRole(byHand.id, "free")
    for (const { id } of [byHand, byPlan]) await server.admin("PUT", `/admin/users/${id}/plan`, { plan: "team" })
    const roles = await Promise.all(
      [byHand, byPlan].map(async ({ id }) => (await server.admin<{ role: string }>("GET", `/admin/users/${id}`)).body.role)
    )
    assert.deepStrictEqual(roles, ["free", "team"])
  })

  it("the role free asks models and looks at its account, and makes no keys; a trial does", async () => {
    const [user, trial] = [await newUser(), await newUser("trial")]
    const echo = { model: "sandbox/echo", messages: [{ role: "user", content: "hello" }], max_tokens: 5 }
    const { id } = (await call<{ data: ReadonlyArray<{ id: string }> }>(user.key, "GET", "/v1/keys")).body.data[0] ?? { id: "" }
    await setRole(user.id, "free")
    for (const path of ["/v1/me", "/v1/credits", "/v1/credits/entries", "/v1/requests", "/v1/keys"]) {
      assert.strictEqual((await call(user.key, "GET", path)).status, 200, path)
    }
    assert.strictEqual((await call(user.key, "POST", "/v1/chat/completions", echo)).status, 200)
    assert.strictEqual((await call(user.key, "POST", "/v1/keys", { name: "x" })).status, 403)
    assert.strictEqual((await call(user.key, "PATCH", `/v1/keys/${id}`, { name: "x" })).status, 403)
    assert.strictEqual((await call(user.key, "DELETE", `/v1/keys/${id}`)).status, 403)
    assert.strictEqual((await call(user.key, "GET", "/v1/webhooks")).status, 403)
    assert.strictEqual((await call(trial.key, "POST", "/v1/keys", { name: "x" })).status, 201)
  })

  it("a user with the role admin uses the operator's routes by key and session, under a name of its own", async () => {
    const [user, other] = [await newUser(), await newUser()]
    assert.strictEqual((await call(user.key, "GET", "/admin/users")).status, 403)
    await setRole(user.id, "admin", "on call")
    assert.strictEqual((await call(user.key, "GET", "/admin/users")).status, 200)
    assert.strictEqual((await call(user.key, "PUT", `/admin/users/${other.id}/limits`, { rpm: 9 })).status, 200)
    assert.deepInclude((await audit(`action=LIMITS_CHANGED&account=${other.id}`)).data[0], {
      actor: user.id,
      details: { limits: { rpm: 9 } }
    })
    // A key that is not made for it does not.
    const narrow = await call<{ key: string }>(user.key, "POST", "/v1/keys", { name: "narrow", scopes: ["read", "write", "inference"] })
    assert.strictEqual((await call(narrow.body.key, "GET", "/admin/users")).status, 403)
    await setRole(user.id, "dev")
    assert.strictEqual((await call(user.key, "GET", "/admin/users")).status, 403)
  })

  it("what the operator does with money, plans, limits, breakers and keys is written down", async () => {
    const user = await newUser()
    await server.admin("POST", `/admin/users/${user.id}/credits`, { amount_usd: "12.50", reference: "invoice 1" })
    await server.admin("PUT", `/admin/users/${user.id}/plan`, { plan: "team" })
    await server.admin("PUT", `/admin/users/${user.id}/limits`, { rpm: 3 })
    await server.admin("POST", "/admin/breakers/openai/reset")
    const made = await server.admin<{ id: string; key: string }>("POST", `/admin/users/${user.id}/keys`, { name: "ops" })
    await server.admin("DELETE", `/admin/users/${user.id}/keys/${made.body.id}`)
    const { data } = await audit(`account=${user.id}`)
    assert.deepStrictEqual(
      data.map(({ action }) => action),
      ["KEY_REVOKED", "KEY_CREATED", "LIMITS_CHANGED", "PLAN_CHANGED", "CREDITS_ADJUSTED", "USER_CREATED"]
    )
    assert.deepInclude(data.find(({ action }) => action === "CREDITS_ADJUSTED")?.details, { amount_usd: "12.50", reference: "invoice 1" })
    assert.deepInclude(data.find(({ action }) => action === "PLAN_CHANGED")?.details, { old_plan: "dev", new_plan: "team" })
    assert.notInclude(JSON.stringify(data), made.body.key)
    assert.strictEqual((await audit("action=BREAKER_RESET")).data[0]?.details["provider"], "openai")
  })

  it("the list is paged, newest first; nothing in it can be changed", async () => {
    const user = await newUser()
    for (const rpm of [1, 2, 3, 4, 5]) await server.admin("PUT", `/admin/users/${user.id}/limits`, { rpm })
    const seen: Array<unknown> = []
    for (let cursor = ""; ; ) {
      const page = await audit(`account=${user.id}&action=LIMITS_CHANGED&limit=2${cursor}`)
      seen.push(...page.data.map(({ details }) => details["limits"]))
      if (page.next_cursor === null) break
      cursor = `&cursor=${page.next_cursor}`
    }
    assert.deepStrictEqual(
      seen,
      [5, 4, 3, 2, 1].map((rpm) => ({ rpm }))
    )
    for (const change of ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"]) {
      const failed = await runSql(database, change).then(
        () => null,
        (error: unknown) => String(error)
      )
      assert.isNotNull(failed, change)
    }
  })

  it("a record that was not written yet is written before the server ends", async () => {
    const user = await newUser()
    // Refused and stopped at once: the record has had no time.
    await call(user.key, "GET", "/admin/users")
    assert.strictEqual(await server.stop(), 0)
    const rows = await runSql(database, `SELECT action FROM audit_log WHERE account = '${user.id}' ORDER BY id`)
    assert.deepStrictEqual(rows, [{ action: "USER_CREATED" }, { action: "UNAUTHORIZED_ADMIN_ACCESS" }])
    server = await startServer(settings())
  })
})
