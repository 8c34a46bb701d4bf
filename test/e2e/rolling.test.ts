/**
 * Servers taken down and brought up again one after another while a hundred streams run: nobody notices.
 */
import { spawnSync } from "node:child_process"
import { Agent, request } from "node:http"
import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { type Balancer, startBalancer } from "../support/balancer.ts"
import { freshDatabase } from "../support/database.ts"
import { pico } from "../support/house.ts"
import {
  type Customer,
  creditsOf,
  eventually,
  newCustomer,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

const STREAMS = 100
const WHOLE = 10

/** 2 prompt tokens and 100 output tokens of gpt-4o, in picodollars. */
const usage = { prompt_tokens: 2, completion_tokens: 100, total_tokens: 102 }
const COST = 1_005_000_000n
const streamed = { usage, chunks: 25, chunkDelayMs: 40 }
const whole = { usage, headDelayMs: 100 }

/** Callers who ask again and again; what did not end as it should, in words. */
const load = (url: string, key: string) => {
  // A connection that is kept may be closed in the moment when it is used: nobody can help that but who tries again.
  const agent = new Agent({ keepAlive: false })
  const troubles: Array<string> = []
  let isOver = false
  let ended = 0
  let begun = 0
  const ask = (stream: boolean): Promise<void> =>
    new Promise((resolve) => {
      const what = stream ? "stream" : "whole"
      const failed = (error: Error): void => {
        troubles.push(`${what} ${error.message}`)
        resolve()
      }
      const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" }
      const asked = request(`${url}/v1/chat/completions`, { agent, method: "POST", headers }, (answer) => {
        begun++
        let text = ""
        answer.on("data", (bytes: Buffer) => (text += bytes.toString()))
        answer.once("error", failed)
        answer.once("end", () => {
          const isWhole = stream ? text.includes('"finish_reason":"stop"') && text.endsWith("data: [DONE]\n\n") : text.includes('"content"')
          if (answer.statusCode === 200 && isWhole && !text.includes('"error"')) ended++
          else troubles.push(`${what} ${answer.statusCode} ${text.slice(-300)}`)
          resolve()
        })
      })
      asked.once("error", failed)
      asked.end(
        JSON.stringify({
          model: "gpt-4o",
          max_tokens: 100,
          stream,
          messages: [{ role: "user", content: "hello" }],
          mock: stream ? streamed : whole
        })
      )
    })
  const caller = async (stream: boolean): Promise<void> => {
    while (!isOver) await ask(stream)
  }
  const callers = [...Array.from({ length: STREAMS }, () => caller(true)), ...Array.from({ length: WHOLE }, () => caller(false))]
  return {
    troubles,
    ended: () => ended,
    /** Waits until so many more have begun. */
    more: async (count: number): Promise<void> => {
      const goal = begun + count
      await eventually(() => assert.isTrue(begun >= goal || troubles.length > 0), 30_000)
    },
    stop: async (): Promise<void> => {
      isOver = true
      await Promise.all(callers)
    }
  }
}

describe("a rolling restart under a hundred streams", () => {
  const directory = temporaryDirectory()
  let mock: MockProvider
  let settings: Record<string, string>
  let balancer: Balancer

  beforeAll(async () => {
    mock = await startMockProvider()
    balancer = await startBalancer(50)
    settings = {
      ...serviceSettings(await freshDatabase(inject("databaseUrl")), inject("redisUrl")),
      DATA_DIR: directory.path,
      OPENAI_API_KEY: "sk-openai",
      OPENAI_BASE_URL: mock.url,
      SHUTDOWN_DELAY_MS: "1000"
    }
  })
  afterAll(async () => {
    balancer?.close()
    await mock?.close()
    directory.remove()
  })

  /** What was answered is charged once, and nothing else is. */
  const settled = async (server: RunningServer, customer: Customer, ended: number): Promise<void> => {
    await eventually(async () => assert.strictEqual((await creditsOf(server, customer.key)).held_usd, "0.00"), 10_000)
    assert.deepInclude((await server.admin("GET", "/admin/ledger/check")).body, { ok: true, violations: [] })
    const { purchased_usd } = await creditsOf(server, customer.key)
    assert.strictEqual(pico("1000") - pico(purchased_usd), BigInt(ended) * COST)
  }

  it("of two replicas: no stream is dropped, no request fails, both exit with 0", async () => {
    const first = await startServer(settings)
    const second = await startServer(settings)
    for (const { url } of [first, second]) await balancer.add(url)
    const customer = await newCustomer(first, { balanceUsd: "1000" })
    const running = load(balancer.url, customer.key)
    const fresh: Array<RunningServer> = []
    for (const old of [first, second]) {
      await running.more(STREAMS)
      assert.strictEqual(await old.stop(), 0)
      balancer.remove(old.url)
      const next = await startServer(settings)
      fresh.push(next)
      await balancer.add(next.url)
    }
    await running.more(STREAMS)
    await running.stop()
    assert.deepStrictEqual(running.troubles, [])
    const [next] = fresh
    assert.isDefined(next)
    await settled(next, customer, running.ended())
    for (const server of fresh) assert.strictEqual(await server.stop(), 0)
  }, 120_000)

  it("of the workers of one server, even of all at once: who comes meanwhile waits", async () => {
    const server = await startServer({ ...settings, WORKERS: "2" })
    const workers = () =>
      spawnSync("pgrep", ["-P", String(server.pid)], { encoding: "utf8" })
        .stdout.trim()
        .split("\n")
        .map(Number)
    const customer = await newCustomer(server, { balanceUsd: "1000" })
    const running = load(server.url, customer.key)
    const old = workers()
    assert.strictEqual(old.length, 2)
    const restart = async (pids: ReadonlyArray<number>): Promise<void> => {
      await running.more(STREAMS)
      for (const pid of pids) process.kill(pid, "SIGTERM")
      await eventually(() => assert.notIncludeMembers(workers(), [...pids]), 15_000)
      await eventually(() => assert.strictEqual(workers().length, 2), 15_000)
    }
    for (const pid of old) await restart([pid])
    await restart(workers())
    await running.more(STREAMS)
    await running.stop()
    assert.deepStrictEqual(running.troubles, [])
    await settled(server, customer, running.ended())
    assert.strictEqual(await server.stop(), 0)
  }, 120_000)
})
