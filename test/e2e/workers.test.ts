/**
 * One server of two workers, as an operator runs it on a machine with several cores.
 */
import { spawnSync } from "node:child_process"
import { Agent, request } from "node:http"
import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase, runSql } from "../support/database.ts"
import { pico } from "../support/house.ts"
import {
  type Customer,
  creditsOf,
  entriesOf,
  eventually,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

describe("a server of two workers", () => {
  const directory = temporaryDirectory()
  let mock: MockProvider
  let database: string
  let server: RunningServer
  let customer: Customer
  let settings: Record<string, string>

  beforeAll(async () => {
    mock = await startMockProvider()
    database = await freshDatabase(inject("databaseUrl"))
    settings = {
      ...serviceSettings(database, inject("redisUrl")),
      DATA_DIR: directory.path,
      OPENAI_API_KEY: "sk-openai",
      OPENAI_BASE_URL: mock.url
    }
    server = await startServer({ ...settings, WORKERS: "2" })
    customer = await newCustomer(server, { balanceUsd: "10" })
  })
  afterAll(async () => {
    await server?.stop()
    await mock?.close()
    directory.remove()
  })

  const workers = (): ReadonlyArray<number> =>
    spawnSync("pgrep", ["-P", String(server.pid)], { encoding: "utf8" })
      .stdout.split("\n")
      .filter((line) => line !== "")
      .map(Number)

  /** Each call on a connection of its own, so that the workers take turns. */
  const call = (
    method: string,
    path: string,
    body?: object,
    begun: () => void = () => {}
  ): Promise<{ readonly status: number; readonly text: string; readonly isWhole: boolean }> =>
    new Promise((resolve) => {
      const agent = new Agent({ keepAlive: false })
      const headers = { authorization: `Bearer ${customer.key}`, "content-type": "application/json" }
      let text = ""
      const asked = request(`${server.url}${path}`, { agent, method, headers }, (answer) => {
        begun()
        answer.on("data", (bytes: Buffer) => (text += bytes.toString()))
        answer.on("error", () => {})
        answer.on("close", () => resolve({ status: answer.statusCode ?? 0, text, isWhole: answer.complete }))
      })
      asked.on("error", () => resolve({ status: 0, text, isWhole: false }))
      asked.end(body === undefined ? undefined : JSON.stringify(body))
    })
  const chat = (body: object, begun?: () => void) =>
    call(
      "POST",
      "/v1/chat/completions",
      { model: "gpt-4o", max_tokens: 20, messages: [{ role: "user", content: "hello" }], ...body },
      begun
    )
  const ended = (text: string) => text.includes('"finish_reason":"stop"') && text.endsWith("data: [DONE]\n\n")
  const metric = async (name: string, labels = ""): Promise<number> => {
    const { text } = await call("GET", "/metrics")
    const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) && line.includes(labels))
    return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0)
  }
  const served = () => metric("sluice_model_inference_requests_total", 'status="ok"')

  it("says once where it listens; each worker is an incarnation of its own; the port's metrics are those of both", async () => {
    assert.strictEqual(server.output().match(/listens on/g)?.length, 1)
    assert.strictEqual(workers().length, 2)
    const nodes = await runSql(database, "SELECT process FROM ledger_nodes WHERE state = 'live'")
    assert.strictEqual(new Set(nodes.map((node) => JSON.stringify(node))).size, 2)
    const statuses = await Promise.all(Array.from({ length: 40 }, () => chat({ mock: {} }).then(({ status }) => status)))
    assert.deepStrictEqual([...new Set(statuses)], [200])
    const totals = await Promise.all(Array.from({ length: 6 }, served))
    assert.deepStrictEqual([...new Set(totals)], [40])
    const { text } = await call("GET", "/metrics")
    const inProgress = text.split("\n").filter((line) => line.startsWith("sluice_http_requests_in_progress{"))
    assert.deepStrictEqual([...new Set(inProgress.map((line) => /worker="(\d)"/.exec(line)?.[1]))].sort(), ["1", "2"])
    const families = text.split("\n").filter((line) => line.startsWith("# TYPE"))
    assert.strictEqual(new Set(families).size, families.length)
  })

  it("tells the same of what is held whichever worker is asked, and nothing once that has ended", async () => {
    const streams = Array.from({ length: 4 }, () => chat({ stream: true, mock: { chunks: 60, chunkDelayMs: 50 } }))
    const held = () =>
      Promise.all(Array.from({ length: 8 }, () => call("GET", "/v1/credits").then(({ text }) => JSON.parse(text).held_usd)))
    // 20 output tokens at 10 USD a million, and the prompt, four times.
    await eventually(async () => {
      const all = await held()
      assert.strictEqual(new Set(all).size, 1)
      assert.isAbove(Number(all[0]), 4 * 0.0002)
    })
    for (const { text } of await Promise.all(streams)) assert.isTrue(ended(text))
    await eventually(async () => assert.deepStrictEqual([...new Set(await held())], ["0.00"]))
  }, 30_000)

  it("a worker that is killed takes its own streams with it and no others; another takes its place, and its holds come back", async () => {
    const before = { served: await served(), credits: await creditsOf(server, customer.key) }
    const charged = async () => (await entriesOf(server, customer.key)).filter(({ kind }) => kind === "charge").length
    const chargedBefore = await charged()
    const [victim] = workers()
    assert.isDefined(victim)
    const usage = { prompt_tokens: 2, completion_tokens: 10, total_tokens: 12 }
    let begun = 0
    const answers = Array.from({ length: 40 }, () => chat({ stream: true, mock: { usage, chunks: 40, chunkDelayMs: 50 } }, () => begun++))
    await eventually(() => assert.strictEqual(begun, 40), 15_000)
    process.kill(victim, "SIGKILL")
    const whole = (await Promise.all(answers)).filter(({ text }) => ended(text)).length
    assert.isAtLeast(whole, 10)
    assert.isAtMost(whole, 30)
    // The other serves on, and a new one comes.
    assert.strictEqual((await chat({ mock: { usage } })).status, 200)
    await eventually(() => assert.strictEqual(workers().filter((pid) => pid !== victim).length, 2), 15_000)
    await eventually(() => assert.match(server.output(), /Worker \d was ended by SIGKILL; another takes its place/))
    await eventually(async () => assert.strictEqual((await creditsOf(server, customer.key)).held_usd, "0.00"), 15_000)
    assert.strictEqual((await charged()) - chargedBefore, whole + 1)
    const each = 2n * 2_500_000n + 10n * 10_000_000n
    const after = await creditsOf(server, customer.key)
    assert.strictEqual(pico(before.credits.purchased_usd) - pico(after.purchased_usd), BigInt(whole + 1) * each)
    assert.deepInclude((await server.admin("GET", "/admin/ledger/check")).body, { ok: true, violations: [] })
    // What the dead one had counted when it was last asked is not forgotten.
    assert.isAtLeast(await served(), before.served)
  }, 60_000)

  it("a worker that is killed while connections come leaves none without an end", async () => {
    let isOver = false
    const ends: Array<number> = []
    const caller = async (): Promise<void> => {
      while (!isOver) ends.push((await call("GET", "/health/live")).status)
    }
    const callers = Array.from({ length: 32 }, caller)
    for (const victim of workers()) {
      process.kill(victim, "SIGKILL")
      await eventually(() => assert.strictEqual(workers().filter((pid) => pid !== victim).length, 2), 15_000)
    }
    const before = ends.length
    await eventually(() => assert.isAbove(ends.length, before + 100), 15_000)
    isOver = true
    await Promise.all(callers)
    // Only who was answered by one that died has no answer.
    assert.isBelow(ends.filter((status) => status !== 200).length, 100)
  }, 60_000)

  it("SIGTERM: the streams of all workers end whole, exit 0, nobody is left", async () => {
    const old = workers()
    let begun = 0
    const answers = Array.from({ length: 20 }, () => chat({ stream: true, mock: { chunks: 30, chunkDelayMs: 50 } }, () => begun++))
    await eventually(() => assert.strictEqual(begun, 20), 15_000)
    assert.strictEqual(await server.stop(), 0)
    for (const { text } of await Promise.all(answers)) assert.isTrue(ended(text))
    for (const pid of old) assert.throws(() => process.kill(pid, 0))
  }, 60_000)

  it("carries on to the end of its streams when who keeps the workers is killed, and starts on the same port again", async () => {
    server = await startServer({ ...settings, WORKERS: "2" })
    const old = workers()
    let begun = 0
    const answers = Array.from({ length: 10 }, () => chat({ stream: true, mock: { chunks: 30, chunkDelayMs: 50 } }, () => begun++))
    await eventually(() => assert.strictEqual(begun, 10), 15_000)
    await server.stop("SIGKILL")
    for (const { text } of await Promise.all(answers)) assert.isTrue(ended(text))
    await eventually(() => {
      for (const pid of old) assert.throws(() => process.kill(pid, 0))
    }, 15_000)
    server = await startServer({ ...settings, WORKERS: "2", PORT: new URL(server.url).port })
    assert.strictEqual((await chat({ mock: {} })).status, 200)
  }, 60_000)

  it("a server whose workers cannot start says why, once, and ends", async () => {
    const failed = await startServer({ ...settings, WORKERS: "2", PORT: new URL(server.url).port }).then(
      () => "it started",
      (error: unknown) => String(error)
    )
    assert.match(failed, /ended with 1/)
    assert.strictEqual(failed.match(/EADDRINUSE/g)?.length, 1)
  })
})
