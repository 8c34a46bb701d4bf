/**
 * The package as another project has it: packed, unpacked into an empty project, type-checked there and run.
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { temporaryDirectory } from "../support/server.ts"

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Takes the gateway without a server, and asks it. */
const gateway = `
import { Effect } from "effect"
import * as Embedded from "sluice/Embedded"
import { Gateway } from "sluice/Gateway"
import { decodeRequest } from "sluice/http/OpenAiChatRequest"
import { Accounts } from "sluice/identity/Accounts"
import { Identity } from "sluice/identity/Identity"
import * as Money from "sluice/schemas/Money"

const program = Effect.gen(function* () {
  const { apiKey } = yield* (yield* Accounts).create({ email: "ada@example.com", plan: "dev" })
  const caller = yield* (yield* Identity).authenticate(apiKey, { ip: null, host: null })
  const request = yield* Effect.fromResult(decodeRequest({ model: "sandbox/echo", messages: [{ role: "user", content: "Hello" }] }))
  const answer = yield* (yield* Gateway).answer({ caller, request, rid: crypto.randomUUID(), clientRequestId: null })
  const text = answer.events.map((event) => (event._tag === "Text" ? event.text : "")).join("")
  return { text, cost: Money.toUsd(answer.cost) }
})
const layer = Embedded.layer({ dataDir: "./gateway", providers: { openai: { apiKey: "sk-x", baseUrl: "http://127.0.0.1:1/v1" } } })
Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer))).then((answer) => console.log(JSON.stringify(answer)))
`

/** Serves the gateway's app beside a route of its own, below a path. */
const mounted = `
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as Embedded from "sluice/Embedded"
import { App } from "sluice/http/App"

const Hello = HttpRouter.add("GET", "/hello", HttpServerResponse.text("hello"))
const Ai = HttpRouter.use((router) => Effect.flatMap(App, (app) => router.prefixed("/ai").add("*", "/*", app)))
HttpRouter.serve(Layer.mergeAll(Hello, Ai)).pipe(
  Layer.provide(Embedded.layerApp({ dataDir: "./mounted", adminApiKey: "admin-key" })),
  Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
  Layer.launch,
  NodeRuntime.runMain
)
`

/** Answers web requests, first under settings that cannot be used, then under those of the environment. */
const handler = `
import handler, { fetch, make } from "sluice/Fetch"

const bad = make({ databaseUrl: "postgres://127.0.0.1:1/nothing" })
const refused = await bad.fetch(new Request("http://x/health"))
await refused.text()
const before = Object.keys(process.env).includes("ADMIN_API_KEY")
process.env["DATA_DIR"] = "./handler"
process.env["ADMIN_API_KEY"] = "admin-key"
process.env["LOG_LEVEL"] = "None"
const [health, ready, admin] = await Promise.all(["/health", "/health/ready", "/admin/users"].map((path) =>
  fetch(new Request("http://x" + path, { headers: path === "/admin/users" ? { authorization: "Bearer admin-key" } : {} }))))
const made = await fetch(new Request("http://x/admin/users", {
  method: "POST",
  headers: { authorization: "Bearer admin-key", "content-type": "application/json" },
  body: JSON.stringify({ email: "ada@example.com", plan: "dev" })
}))
const called = await handler(new Request("http://x/health/live"))
const { api_key } = (await made.json()) as { api_key: string }
const chat = await fetch(new Request("http://x/v1/chat/completions", {
  method: "POST",
  headers: { authorization: "Bearer " + api_key, "content-type": "application/json" },
  body: JSON.stringify({ model: "sandbox/echo", stream: true, messages: [{ role: "user", content: "over fetch" }] })
}))
const text = await chat.text()
console.log(JSON.stringify({
  same: handler.fetch === fetch,
  before,
  refused: refused.status,
  statuses: [health?.status, ready?.status, admin?.status, made.status, chat.status, called.status],
  health: await health?.json(),
  type: chat.headers.get("content-type"),
  text
}))
process.exit(0)
`

const tsconfig = {
  compilerOptions: { target: "es2024", module: "nodenext", strict: true, noEmit: true, skipLibCheck: true, types: ["node"] },
  include: ["*.ts"]
}

interface Run {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

describe("the packed package in an empty project", () => {
  const project = temporaryDirectory()

  const run = (file: string): Run => {
    const done = spawnSync(process.execPath, [file], {
      cwd: project.path,
      encoding: "utf8",
      env: { PATH: process.env["PATH"] ?? "" },
      timeout: 60_000
    })
    return { code: done.status, out: done.stdout, err: done.stderr }
  }

  beforeAll(() => {
    const built = spawnSync(process.execPath, [join(root, ".config", "build.ts"), "--modules"], { encoding: "utf8" })
    assert.strictEqual(built.status, 0, built.stdout + built.stderr)
    const packed = spawnSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", project.path], {
      cwd: root,
      encoding: "utf8"
    })
    assert.strictEqual(packed.status, 0, packed.stderr)
    const target = join(project.path, "node_modules", "sluice")
    mkdirSync(target, { recursive: true })
    const unpacked = spawnSync("tar", ["xzf", join(project.path, "sluice-0.1.0.tgz"), "-C", target, "--strip-components=1"])
    assert.strictEqual(unpacked.status, 0)
    // What it depends on, and nothing else of this repository.
    const { dependencies } = JSON.parse(readFileSync(join(target, "package.json"), "utf8"))
    for (const name of [...Object.keys(dependencies), "@types/node"]) {
      mkdirSync(dirname(join(project.path, "node_modules", name)), { recursive: true })
      symlinkSync(join(root, "node_modules", name), join(project.path, "node_modules", name))
    }
    const files = { "gateway.ts": gateway, "mounted.ts": mounted, "handler.ts": handler }
    for (const [name, text] of Object.entries(files)) writeFileSync(join(project.path, name), text)
    writeFileSync(join(project.path, "tsconfig.json"), JSON.stringify(tsconfig))
    writeFileSync(join(project.path, "package.json"), JSON.stringify({ name: "empty", type: "module" }))
  }, 180_000)
  afterAll(() => project.remove())

  it("is typed: programs against its exports check, and one that uses them wrongly does not", () => {
    const check = () =>
      spawnSync(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", project.path], { encoding: "utf8" })
    const good = check()
    assert.deepStrictEqual([good.status, good.stdout], [0, ""])
    const wrong = `import * as Embedded from "sluice/Embedded"\nEmbedded.layer({ port: "many" })\nexport const x: string = Embedded.layer\n`
    writeFileSync(join(project.path, "wrong.ts"), wrong)
    const bad = check()
    assert.match(bad.stdout, /wrong\.ts\(2,.*string.*number/)
    assert.match(bad.stdout, /wrong\.ts\(3,/)
    writeFileSync(join(project.path, "wrong.ts"), "")
  }, 120_000)

  it("gives the gateway as a layer, without a server", () => {
    const { code, err, out } = run("gateway.ts")
    assert.strictEqual(code, 0, err)
    const answer = JSON.parse(out.trim().split("\n").at(-1) ?? "")
    assert.strictEqual(answer.text, "Hello")
    assert.match(answer.cost, /^0\.0+[1-9]/)
  }, 90_000)

  it("CM-17.1 the app built with settings of a test works, mounted in another server below a path", async () => {
    const child = spawn(process.execPath, ["mounted.ts"], { cwd: project.path, env: { PATH: process.env["PATH"] ?? "" } })
    try {
      const port = await new Promise<number>((resolve, reject) => {
        let output = ""
        const read = (chunk: Buffer) => {
          output += chunk.toString()
          const found = /Listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(output)?.[1]
          if (found !== undefined) resolve(Number(found))
        }
        child.stdout.on("data", read)
        child.stderr.on("data", read)
        child.once("exit", () => reject(new Error(output)))
      })
      const url = `http://127.0.0.1:${port}`
      assert.strictEqual(await (await fetch(`${url}/hello`)).text(), "hello")
      assert.strictEqual((await fetch(`${url}/v1/models`)).status, 404)
      assert.deepInclude(await (await fetch(`${url}/ai/health`)).json(), { status: "operational", version: "0.1.0" })
      assert.strictEqual((await fetch(`${url}/ai/health/ready`)).status, 200)
      const headers = { authorization: "Bearer admin-key", "content-type": "application/json" }
      const body = JSON.stringify({ email: "ada@example.com", plan: "dev" })
      const made = await fetch(`${url}/ai/admin/users`, { method: "POST", headers, body })
      assert.strictEqual(made.status, 201)
      const { api_key } = JSON.parse(await made.text())
      const chat = await fetch(`${url}/ai/v1/chat/completions`, {
        method: "POST",
        headers: { ...headers, authorization: `Bearer ${api_key}` },
        body: JSON.stringify({ model: "sandbox/echo", messages: [{ role: "user", content: "mounted" }] })
      })
      assert.strictEqual(chat.status, 200)
      assert.strictEqual(JSON.parse(await chat.text()).choices[0].message.content, "mounted")
    } finally {
      const gone = new Promise((resolve) => child.once("exit", resolve))
      child.kill("SIGTERM")
      await gone
    }
  }, 90_000)

  it("CM-17.2 the serverless entry loads without configuration and answers /health, a stream, and a bad start with 503", () => {
    const { code, err, out } = run("handler.ts")
    assert.strictEqual(code, 0, err)
    const told = JSON.parse(out.trim().split("\n").at(-1) ?? "")
    assert.deepInclude(told, { same: true, before: false, refused: 503, type: "text/event-stream" })
    assert.deepStrictEqual(told.statuses, [200, 200, 200, 201, 200, 200])
    assert.deepInclude(told.health, { status: "operational" })
    const pieces = [...told.text.matchAll(/"content":"([^"]*)"/g)].map((match) => match[1])
    assert.strictEqual(pieces.join(""), "over fetch")
    assert.match(told.text, /data: \[DONE\]\n\n$/)
  }, 90_000)
})
