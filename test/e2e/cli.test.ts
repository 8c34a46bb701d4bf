/**
 * The `sluice` command as an operator types it.
 */
import { spawnSync } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
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

const echo = { model: "sandbox/echo", messages: [{ role: "user", content: "hello" }], max_tokens: 10 }

describe("sluice ledger check and sluice credits", () => {
  const directory = temporaryDirectory()
  let server: RunningServer
  let database: string
  let user: { readonly id: string; readonly key: string }
  beforeAll(async () => {
    database = await freshDatabase(inject("databaseUrl"))
    server = await startServer({ ...serviceSettings(database), DATA_DIR: directory.path })
    const made = await server.admin<{ user: { id: string }; api_key: string }>("POST", "/admin/users", {
      email: "ada@example.com",
      plan: "dev"
    })
    user = { id: made.body.user.id, key: made.body.api_key }
    assert.strictEqual((await jsonCall(server.url, user.key, "POST", "/v1/chat/completions", echo)).status, 200)
  })
  afterAll(async () => {
    await server?.stop()
    directory.remove()
  })

  it("credits tells an account's whole story, by id and by e-mail, from the database and through the server", () => {
    const stories = [
      sluice({ DATABASE_URL: database }, "credits", "Ada@Example.com", "--json"),
      sluice({ DATABASE_URL: database }, "credits", user.id, "--json"),
      sluice({ ADMIN_API_KEY: ADMIN_KEY }, "credits", "ada@example.com", "--json", "--url", server.url)
    ]
    for (const { code, err, out } of stories) {
      assert.strictEqual(code, 0, err)
      const story = JSON.parse(out)
      assert.strictEqual(story.user.email, "ada@example.com")
      assert.deepStrictEqual(
        story.entries.map((entry: { kind: string }) => entry.kind),
        ["charge", "topup"]
      )
      assert.strictEqual(story.credits.available_usd, story.credits.purchased_usd)
    }
    const { out } = sluice({ DATABASE_URL: database }, "credits", user.id)
    assert.match(out, /ada@example\.com .*plan dev/)
    assert.match(out, /charge +-0\.0\d+ .*sandbox\/echo by sandbox/)
    const unknown = sluice({ DATABASE_URL: database }, "credits", "nobody@example.com")
    assert.deepStrictEqual([unknown.code, unknown.err.trim()], [1, "sluice: there is no user nobody@example.com"])
  })

  it("ledger check exits with 0 on a sound book, with 1 and the violations on another", async () => {
    const sound = sluice({ DATABASE_URL: database }, "ledger", "check")
    assert.deepStrictEqual([sound.code, sound.out.trim()], [0, "1 accounts, 2 entries: everything adds up"])
    await runSql(database, "UPDATE accounts SET purchased = purchased + 1")
    const broken = sluice({ DATABASE_URL: database }, "ledger", "check")
    assert.strictEqual(broken.code, 1)
    assert.match(broken.out, new RegExp(`I3 account ${user.id}: balance`))
    const machine = sluice({ ADMIN_API_KEY: ADMIN_KEY }, "ledger", "check", "--json", "--url", server.url)
    assert.strictEqual(machine.code, 1)
    assert.deepInclude(JSON.parse(machine.out), { ok: false, accounts: 1 })
    await runSql(database, "UPDATE accounts SET purchased = purchased - 1")
  })

  it("says what to do where there is no book to look into", () => {
    const nothing = sluice({ DATA_DIR: join(directory.path, "none") }, "ledger", "check")
    assert.strictEqual(nothing.code, 1)
    assert.match(nothing.err, /There is no database under DATA_DIR .*none.*--url/)
    assert.match(sluice({ DATABASE_URL: database }, "ledger", "--help").out, /check/)
  })
})

describe("the book of an embedded server", () => {
  const directory = temporaryDirectory()
  afterAll(() => directory.remove())

  it("is seen while the server runs and after it ended", async () => {
    const env = { DATA_DIR: directory.path }
    const server = await startServer({ ...env, ADMIN_API_KEY: "" })
    const running = sluice(env, "credits", "developer@sluice.example", "--json")
    await server.stop()
    const stopped = sluice(env, "credits", "developer@sluice.example", "--json")
    for (const { code, err, out } of [running, stopped]) {
      assert.strictEqual(code, 0, err)
      assert.strictEqual(JSON.parse(out).credits.available_usd, "5.00")
    }
    assert.strictEqual(sluice(env, "ledger", "check").code, 0)
  }, 60_000)

  it("says what of it still waits in the journal of a server that was killed", async () => {
    const env = { DATA_DIR: directory.path }
    const server = await startServer({ ...env, ADMIN_API_KEY: ADMIN_KEY })
    const made = await server.admin<{ api_key: string }>("POST", "/admin/users", { email: "ada@example.com", plan: "dev" })
    // Asked for as long as it lives: some have always ended a moment ago.
    let answered = 0
    const asking = Array.from({ length: 4 }, async () => {
      for (;;) {
        const answer = await jsonCall(server.url, made.body.api_key, "POST", "/v1/chat/completions", echo).catch(() => null)
        if (answer?.status !== 200) return
        answered++
      }
    })
    await eventually(() => assert.isAbove(answered, 20))
    await server.stop("SIGKILL")
    await Promise.all(asking)
    const killed = sluice(env, "ledger", "check")
    assert.strictEqual(killed.code, 0, killed.err)
    assert.match(killed.err, /^Of the requests .*, \d+ wait in the journal under .* the next start writes them\.$/m)
    const again = await startServer(env)
    await again.stop()
    const { code, err, out } = sluice(env, "credits", "ada@example.com", "--json")
    assert.deepStrictEqual([code, err], [0, ""])
    const charges = JSON.parse(out).entries.filter((entry: { kind: string }) => entry.kind === "charge")
    assert.isAtLeast(charges.length, answered)
  }, 60_000)
})
