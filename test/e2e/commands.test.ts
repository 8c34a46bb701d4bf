/**
 * The commands about models, providers, webhooks, credits and the whole set-up, as an operator types them.
 */
import { spawn, spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase, runSql } from "../support/database.ts"
import { ADMIN_KEY, jsonCall, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"
import { freePort } from "../support/services.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

interface Done {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Not synchronous: what a command asks may be in this process. */
const sluice = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) =>
  new Promise<Done>((resolve) => {
    const child = spawn(process.execPath, [join(root, "dist", "sluice.js"), ...args], {
      env: { PATH: process.env["PATH"] ?? "", PORT: "0", ...env }
    })
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()))
    child.once("close", (code) => resolve({ code, out, err }))
  })

describe("beside a running server", () => {
  const directory = temporaryDirectory()
  let mock: MockProvider
  let server: RunningServer
  let env: Readonly<Record<string, string>>
  let user: { readonly id: string; readonly key: string }
  beforeAll(async () => {
    mock = await startMockProvider()
    env = {
      DATA_DIR: directory.path,
      ADMIN_API_KEY: ADMIN_KEY,
      OPENAI_API_KEY: "sk-openai",
      OPENAI_BASE_URL: mock.url,
      WEBHOOK_ALLOWED_NETWORKS: "127.0.0.0/8"
    }
    server = await startServer(env)
    const made = await server.admin<{ user: { id: string }; api_key: string }>("POST", "/admin/users", {
      email: "ada@example.com",
      plan: "dev"
    })
    user = { id: made.body.user.id, key: made.body.api_key }
  })
  afterAll(async () => {
    await server?.stop()
    await mock?.close()
    directory.remove()
  })

  it("models and providers are listed as the server has them, and as the settings say where there is none", async () => {
    for (const where of [env, { ...env, DATA_DIR: join(directory.path, "none") }]) {
      const listed = JSON.parse((await sluice(where, "models", "list", "gpt-4o", "--json")).out)
      assert.include(
        listed.data.map((row: { id: string }) => row.id),
        "openai/gpt-4o"
      )
      const { out } = await sluice(where, "models", "show", "gpt-4o")
      assert.match(out, /openai\/gpt-4o .*context 128000[\s\S]*openai +gpt-4o +2\.5 +10/)
      const providers = JSON.parse((await sluice(where, "providers", "list", "--json")).out)
      assert.deepStrictEqual(
        providers.data.map((row: { slug: string }) => row.slug),
        ["openai", "sandbox"]
      )
    }
    const unknown = await sluice(env, "models", "show", "no/such")
    assert.deepStrictEqual([unknown.code, unknown.out], [1, ""])
    assert.match(unknown.err, /no\/such/)
  })

  it("models sync has the server read lists, and tells of those it cannot", async () => {
    const done = await sluice(env, "models", "sync", "openai")
    assert.match(done.out, /PROVIDER +STATUS[\s\S]*openai/)
    assert.strictEqual(done.code, /kept/.test(done.out) ? 1 : 0)
    assert.strictEqual((await sluice(env, "models", "sync", "groq")).code, 1)
    const nobody = await sluice({ ...env, DATA_DIR: join(directory.path, "none"), PORT: "1" }, "models", "sync")
    assert.match(nobody.err, /^sluice: There is no Sluice at http:\/\/127\.0\.0\.1:1\. Start one, or name it with --url\.\n$/)
  })

  it("providers test says whether keys are taken, and asks nothing that costs", async () => {
    mock.reset()
    const answers = createServer((request, response) => {
      response.writeHead(request.headers.authorization === "Bearer good" ? 200 : 401).end("{}")
    })
    const port = await freePort()
    await new Promise<void>((resolve) => answers.listen(port, "127.0.0.1", resolve))
    const own = {
      DATA_DIR: join(directory.path, "none"),
      OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1`,
      GROQ_API_KEY: "x",
      GROQ_BASE_URL: "http://127.0.0.1:1/v1"
    }
    try {
      const good = await sluice({ ...own, OPENAI_API_KEY: "good" }, "providers", "test", "openai")
      assert.deepStrictEqual([good.code, /^ok +openai .*lists its models/.test(good.out)], [0, true], good.out + good.err)
      const bad = await sluice({ ...own, OPENAI_API_KEY: "bad-secret" }, "providers", "test", "--json")
      const rows: ReadonlyArray<{ provider: string; ok: boolean; detail: string }> = JSON.parse(bad.out).data
      assert.strictEqual(bad.code, 1)
      assert.match(rows.find((row) => row.provider === "openai")?.detail ?? "", /does not take the key \(401\)/)
      assert.match(rows.find((row) => row.provider === "groq")?.detail ?? "", /cannot be reached: ECONNREFUSED/)
      assert.notInclude(bad.out + bad.err, "bad-secret")
      assert.match((await sluice(own, "providers", "test", "mistral")).err, /mistral is not switched on: set MISTRAL_API_KEY/)
    } finally {
      answers.close()
    }
  })

  it("credits add is applied once for a reference, and written to the audit log", async () => {
    const first = await sluice(env, "credits", "add", "ada@example.com", "2.50", "--reference", "invoice-7", "--json")
    const again = await sluice(env, "credits", "add", user.id, "2.50", "--reference", "invoice-7", "--json")
    assert.deepInclude(JSON.parse(first.out), { kind: "topup", amount_usd: "2.50", reference: "invoice-7" })
    assert.strictEqual(JSON.parse(first.out).id, JSON.parse(again.out).id)
    const story = JSON.parse((await sluice(env, "credits", "ada@example.com", "--json")).out)
    assert.strictEqual(story.credits.purchased_usd, "7.50")
    assert.match((await sluice(env, "credits", "add", "ada@example.com", "much", "--reference", "x")).err, /amount/)
    const audit = await server.admin<{ data: ReadonlyArray<{ action: string }> }>("GET", "/admin/audit?action=CREDITS_ADJUSTED")
    assert.isAbove(audit.body.data.length, 0)
  })

  it("webhooks and what was sent to them, by the user's address", async () => {
    const receiver = createServer((_, response) => response.writeHead(204).end())
    const port = await freePort()
    await new Promise<void>((resolve) => receiver.listen(port, "127.0.0.1", resolve))
    try {
      const wanted = { url: `http://127.0.0.1:${port}/hook`, events: ["credits.low"] }
      const made = await jsonCall<{ id: string }>(server.url, user.key, "POST", "/v1/webhooks", wanted)
      assert.strictEqual(made.status, 201)
      await jsonCall(server.url, user.key, "POST", `/v1/webhooks/${made.body.id}/test`)
      const listed = await sluice(env, "webhooks", "list", "ada@example.com")
      assert.match(listed.out, new RegExp(`${made.body.id} +http://127\\.0\\.0\\.1:${port}/hook +credits\\.low +on`))
      const sent = JSON.parse((await sluice(env, "webhooks", "deliveries", "ada@example.com", made.body.id, "--json")).out)
      assert.strictEqual(sent.data.length, 1)
      assert.strictEqual((await sluice(env, "webhooks", "list", "nobody@example.com")).code, 1)
      const asCustomer = await jsonCall(server.url, user.key, "GET", `/admin/users/${user.id}/webhooks`)
      assert.strictEqual(asCustomer.status, 403)
    } finally {
      receiver.close()
    }
  })

  it("doctor finds a running server as it should be", async () => {
    const { code, err, out } = await sluice({ ...env, PORT: new URL(server.url).port }, "doctor", "--json")
    const found = JSON.parse(out)
    const of = (check: string) => found.checks.find((each: { check: string }) => each.check === check)
    assert.match(of("database").detail, /in use by a running server/, err)
    assert.match(of("port").detail, /a Sluice listens on .* already/)
    assert.strictEqual(of("data directory").status, "ok")
    assert.strictEqual(
      found.ok,
      found.checks.every((each: { status: string }) => each.status !== "failed")
    )
    assert.strictEqual(code, found.ok ? 0 : 1)
  })
})

describe("doctor in service mode", () => {
  const directory = temporaryDirectory()
  afterAll(() => directory.remove())
  const settings = (database: string, redis: string) => ({
    ...serviceSettings(database, redis),
    ADMIN_API_KEY: ADMIN_KEY,
    DATA_DIR: directory.path
  })

  it("is content with a Postgres and a Redis, before and after the migrations", async () => {
    const database = await freshDatabase(inject("databaseUrl"))
    const env = settings(database, inject("redisUrl"))
    const before = await sluice(env, "doctor")
    assert.strictEqual(before.code, 0, before.out)
    assert.match(before.out, /ok +database: Postgres \d+/)
    assert.match(before.out, /ok +migrations: \d+ to be run by the next start/)
    assert.match(before.out, /ok +clock of the database: .* \d+ ms (behind|ahead)/)
    assert.match(before.out, /ok +redis: answers/)
    const server = await startServer(env)
    await server.stop()
    assert.match((await sluice(env, "doctor")).out, /ok +migrations: up to date/)
    await runSql(database, "INSERT INTO migrations (migration_id, name) VALUES (9999, 'of_tomorrow')")
    const newer = await sluice(env, "doctor")
    assert.strictEqual(newer.code, 1)
    assert.match(newer.out, /FAILED +migrations: .*1 steps[\s\S]*newer Sluice/)
  }, 60_000)

  it("names each thing that is wrong, and what to do", async () => {
    const squatter = createServer((_, response) => response.end("not a gateway"))
    const port = await freePort()
    await new Promise<void>((resolve) => squatter.listen(port, "127.0.0.1", resolve))
    mkdirSync(directory.path, { recursive: true })
    const secrets = join(directory.path, "secrets.json")
    writeFileSync(secrets, "{}")
    chmodSync(secrets, 0o644)
    const env = {
      ...settings("postgres://u:pass-word@127.0.0.1:1/x", "redis://:pass-word@127.0.0.1:1"),
      PORT: String(port),
      OPENAI_API_KEY: "k",
      OPENAI_BASE_URL: "http://127.0.0.1:1/v1"
    }
    try {
      const { code, err, out } = await sluice(env, "doctor")
      assert.strictEqual(code, 1)
      assert.match(out, /FAILED +secrets: .*can be read by others\n +chmod 600/)
      assert.match(out, /FAILED +database: [\s\S]*DATABASE_URL has its address/)
      assert.match(out, /FAILED +redis: 127\.0\.0\.1:1: [\s\S]*REDIS_URL/)
      assert.match(out, /FAILED +port: .*taken by another program\n +.*PORT/)
      assert.match(out, /FAILED +provider openai: .*cannot be reached/)
      assert.match(err, /^sluice: secrets, database, redis, port, provider openai failed\n$/)
      assert.notInclude(out + err, "pass-word")
    } finally {
      squatter.close()
    }
    const bad = await sluice({ PORT: "many" }, "doctor", "--json")
    assert.deepInclude(JSON.parse(bad.out), { ok: false })
    assert.match(JSON.parse(bad.out).checks[0].detail, /PORT is "many"/)
  }, 60_000)
})

describe("the command itself", () => {
  it("a line that is not understood ends with 2 and says why; help and version end with 0", async () => {
    for (const [args, message] of [
      [["nope"], /Unknown subcommand "nope"/],
      [["users", "lst"], /Unknown subcommand "lst"[\s\S]*list/],
      [["serve", "--bogus"], /Unrecognized flag: --bogus/],
      [["credits"], /user/]
    ] as const) {
      const { code, err } = await sluice({}, ...args)
      assert.strictEqual(code, 2, args.join(" "))
      assert.match(err, message)
      assert.notMatch(err, /Help requested/)
    }
    const version = await sluice({}, "--version")
    assert.deepStrictEqual([version.code, version.out.trim()], [0, "sluice v0.1.0"])
  })

  it("every command has help with an example", async () => {
    const leaves = (await sluice({}, "--help")).out.match(/^ {2}([a-z]+) {2,}/gm)?.map((line) => line.trim()) ?? []
    assert.includeMembers(leaves, [
      "serve",
      "users",
      "keys",
      "credits",
      "models",
      "providers",
      "ledger",
      "webhooks",
      "config",
      "doctor",
      "completions"
    ])
    const examine = async (path: ReadonlyArray<string>): Promise<void> => {
      const { code, out } = await sluice({}, ...path, "--help")
      assert.strictEqual(code, 0, path.join(" "))
      const part = out.split("SUBCOMMANDS\n")[1]
      const subs = part?.match(/^ {2}([a-z-]+) {2,}/gm)?.map((line) => line.trim()) ?? []
      if (subs.length === 0) return assert.match(out, /EXAMPLES/, path.join(" "))
      await Promise.all(subs.map((sub) => examine([...path, sub])))
    }
    for (const leaf of leaves) await examine([leaf])
  }, 120_000)

  it("completions are scripts that a shell can read", async () => {
    for (const shell of ["bash", "zsh", "fish", "powershell"]) {
      const { code, out } = await sluice({}, "completions", shell)
      assert.strictEqual(code, 0)
      assert.include(out, "check-prices")
      if (shell === "bash") assert.strictEqual(spawnSync("bash", ["-n"], { input: out }).status, 0)
    }
  })
})
