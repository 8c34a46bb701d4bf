/**
 * `sluice users` and `sluice keys` as an operator types them.
 */
import { spawnSync } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { inject } from "vitest"
import * as Fernet from "../../src/identity/Fernet.ts"
import { freshDatabase, runSql } from "../support/database.ts"
import { ADMIN_KEY, eventually, jsonCall, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

const sluice = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) => {
  const done = spawnSync(process.execPath, [join(root, "dist", "sluice.js"), ...args], {
    encoding: "utf8",
    env: { PATH: process.env["PATH"] ?? "", ...env }
  })
  return { code: done.status, out: done.stdout, err: done.stderr }
}
const ok = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>): string => {
  const done = sluice(env, ...args)
  assert.strictEqual(done.code, 0, `${args.join(" ")}\n${done.out}${done.err}`)
  return done.out
}

const ringKey = (fill: number) => Buffer.alloc(32, fill).toString("base64url")

describe("sluice users and sluice keys", () => {
  const directory = temporaryDirectory()
  let server: RunningServer
  let database: string
  let beside: Readonly<Record<string, string>>
  beforeAll(async () => {
    database = await freshDatabase(inject("databaseUrl"))
    const settings = { ...serviceSettings(database), DATA_DIR: directory.path, ADMIN_API_KEY: ADMIN_KEY }
    server = await startServer(settings)
    beside = settings
  })
  afterAll(async () => {
    await server?.stop()
    directory.remove()
  })
  const remote = { ADMIN_API_KEY: ADMIN_KEY }
  const status = async (key: string) => (await jsonCall(server.url, key, "GET", "/v1/me")).status

  it("makes users and keys beside a running server and through it; a key that is revoked stops there", async () => {
    const ada = JSON.parse(ok(beside, "users", "create", "Ada@Example.com", "--plan", "dev", "--json"))
    assert.deepInclude(ada.user, { email: "ada@example.com", plan: "dev", role: "dev" })
    assert.strictEqual(await status(ada.api_key), 200)
    const bob = ok(remote, "users", "create", "bob@example.com", "--url", server.url)
    assert.strictEqual(await status(/Key, shown this once: (gw_\S+)/.exec(bob)?.[1] ?? ""), 200)

    const made = JSON.parse(ok(beside, "keys", "create", "ada@example.com", "ci", "--scope", "read", "--ip", "127.0.0.0/8", "--json"))
    assert.deepInclude(made, { name: "ci", scopes: ["read"], ip_allowlist: ["127.0.0.0/8"] })
    assert.strictEqual(await status(made.key), 200)
    const list = ok(remote, "keys", "list", ada.user.id, "--url", server.url)
    assert.match(list, /ci +gw_dev_\S+ +read +never/)
    assert.notInclude(list, made.key)
    ok(beside, "keys", "revoke", "ada@example.com", made.id)
    await eventually(async () => assert.strictEqual(await status(made.key), 401), 1_000)

    const planned = JSON.parse(ok(beside, "users", "plan", "ada@example.com", "team", "--json"))
    assert.deepInclude(planned, { plan: "team", role: "team" })
    assert.match(ok(remote, "users", "list", "--limit", "1", "--url", server.url), /bob@example\.com[\s\S]*--cursor/)
    const audit = await server.admin<{ data: ReadonlyArray<{ action: string }> }>("GET", `/admin/audit?account=${ada.user.id}`)
    assert.deepStrictEqual(
      audit.body.data.map(({ action }) => action),
      ["PLAN_CHANGED", "KEY_REVOKED", "KEY_CREATED", "USER_CREATED"]
    )
  }, 60_000)

  it("says what is wrong in one line, and helps", () => {
    for (const [args, words] of [
      [["users", "show", "nobody@example.com"], /^sluice: There is no such user\.$/],
      [["users", "create", "nonsense"], /^sluice: `email` must be an e-mail address\.$/]
    ] as const) {
      const { code, err } = sluice(beside, ...args)
      assert.strictEqual(code, 1)
      assert.match(err.trim(), words)
    }
    const { code, err } = sluice({ DATABASE_URL: database }, "users", "list")
    assert.deepStrictEqual([code, /ADMIN_API_KEY and KEY_ENCRYPTION_KEY and KEY_HASH_SECRET must be set/.test(err)], [1, true])
    const help = ok({}, "keys", "create", "--help")
    for (const word of ["--scope", "--max-requests", "EXAMPLES"]) assert.include(help, word)
  }, 60_000)

  it("rotates every secret at rest to the newest key, once; a ring without the old key changes nothing", async () => {
    const hook = await server.admin<{ api_key: string }>("POST", "/admin/users", { email: "hook@example.com", plan: "dev" })
    const webhook = await jsonCall<{ secret: string }>(server.url, hook.body.api_key, "POST", "/v1/webhooks", {
      url: "https://example.com/hook",
      events: ["credits.low"]
    })
    assert.strictEqual(webhook.status, 201, JSON.stringify(webhook.body))
    const secrets = async () =>
      (await runSql(database, "SELECT encrypted_key AS token FROM api_keys UNION ALL SELECT secret FROM webhooks")).map((row) =>
        "token" in row ? String(row.token) : ""
      )
    const before = await secrets()
    const rotated = { ...beside, KEY_ENCRYPTION_KEY: `${ringKey(8)},${ringKey(7)}` }
    const wrong = sluice({ ...beside, KEY_ENCRYPTION_KEY: ringKey(8) }, "keys", "rotate", "--json")
    assert.strictEqual(wrong.code, 1)
    assert.deepInclude(JSON.parse(wrong.out), { rotated: 0 })
    assert.strictEqual(JSON.parse(wrong.out).failed.length, before.length)
    assert.deepStrictEqual((await secrets()).toSorted(), before.toSorted())

    assert.deepStrictEqual(JSON.parse(ok(rotated, "keys", "rotate", "--json")), { rotated: before.length, failed: [] })
    assert.match(ok(rotated, "keys", "rotate"), /^0 rotated, 0 to look at/m)
    const fernet = await Effect.runPromise(Effect.provide(Fernet.make([Redacted.make(ringKey(8))]), SecureRandom.layerWebCrypto))
    const plain = await Promise.all((await secrets()).map((token) => Effect.runPromise(fernet.decrypt(token))))
    assert.strictEqual(plain.length, before.length)
    assert.include(plain, hook.body.api_key)
    assert.include(plain, webhook.body.secret)
  }, 60_000)
})

describe("sluice users of an embedded server", () => {
  const directory = temporaryDirectory()
  afterAll(() => directory.remove())

  it("works while the server runs and after it ended", async () => {
    const env = { DATA_DIR: directory.path }
    const server = await startServer({ ...env, ADMIN_API_KEY: "" })
    const running = JSON.parse(ok(env, "users", "create", "one@example.com", "--json"))
    assert.strictEqual((await jsonCall(server.url, running.api_key, "GET", "/v1/me")).status, 200)
    await server.stop()
    const made = JSON.parse(ok(env, "users", "create", "two@example.com", "--json"))
    assert.match(ok(env, "users", "list"), /two@example\.com[\s\S]*one@example\.com/)
    const again = await startServer({ ...env, ADMIN_API_KEY: "" })
    assert.strictEqual((await jsonCall(again.url, made.api_key, "GET", "/v1/me")).status, 200)
    await again.stop()
  }, 60_000)
})
