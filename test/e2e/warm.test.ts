/**
 * What a request waits for when everything is known already.
 */
import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase } from "../support/database.ts"
import { type Gate, startGate } from "../support/gate.ts"
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
import { type RunningService, startRedis } from "../support/services.ts"

/** A call of the counters: its script, and keys of a key's limits. */
const isOfCounters = (chunk: Buffer): boolean => chunk.includes("evalsha") && chunk.includes("tokens_day:")
const callsIn = (chunk: Buffer): number => chunk.toString("latin1").split("evalsha").length - 1

describe("a key and a model that are known", () => {
  const directory = temporaryDirectory()
  let mock: MockProvider
  let redis: RunningService
  let database: Gate
  let counters: Gate
  let server: RunningServer
  let customer: Customer

  beforeAll(async () => {
    mock = await startMockProvider()
    redis = await startRedis()
    database = await startGate(await freshDatabase(inject("databaseUrl")))
    counters = await startGate(redis.url)
    server = await startServer({
      ...serviceSettings(database.url, counters.url),
      DATA_DIR: directory.path,
      OPENAI_API_KEY: "sk-openai",
      OPENAI_BASE_URL: mock.url
    })
    const limits = { rpm: 10_000, tokens_per_minute: 1_000_000, tokens_per_day: 10_000_000, concurrency: 50 }
    customer = await newCustomer(server, { balanceUsd: "100", limits })
  })
  afterAll(async () => {
    database?.release()
    counters?.release()
    await server?.stop()
    await counters?.close()
    await database?.close()
    await redis?.stop()
    await mock?.close()
    directory.remove()
  })

  const ask = async (stream: boolean): Promise<void> => {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-4o", max_tokens: 5, stream, messages: [{ role: "user", content: "Hi" }] }),
      signal: AbortSignal.timeout(10_000)
    })
    assert.strictEqual(response.status, 200)
    assert.include(await response.text(), stream ? "data: [DONE]" : '"chat.completion"')
  }
  const failures = async (): Promise<string> => {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    return /^sluice_limit_store_failures_total.*$/m.exec(text)?.[0] ?? ""
  }
  const shared = () =>
    eventually(async () => {
      const { body } = await jsonCall<{ components: { counters: string } }>(server.url, null, "GET", "/health")
      assert.strictEqual(body.components.counters, "operational")
    })

  /** Asks while the database hears nothing, and Redis one call of the counters alone; gives the calls that were made in all. */
  const askAlone = async (stream: boolean): Promise<number> => {
    let calls = 0
    let isAnswered = false
    database.hold(() => false)
    counters.hold((chunk) => {
      const isFirst = calls === 0 && isOfCounters(chunk)
      if (isOfCounters(chunk)) calls += callsIn(chunk)
      return isAnswered || (isFirst && calls === 1)
    })
    try {
      await ask(stream)
      isAnswered = true
      counters.flush()
      await eventually(() => assert.isAtLeast(calls, 2))
    } finally {
      counters.release()
      database.release()
    }
    return calls
  }

  it.each([false, true])("a warm request asks the database nothing, and Redis once (stream: %s)", async (stream) => {
    for (let i = 0; i < 3; i++) await ask(stream)
    for (let turn = 0; ; turn++) {
      await shared()
      // That may have taken so long that what was leased went back.
      await ask(stream)
      const before = await failures()
      assert.strictEqual(await askAlone(stream), 2)
      // A call that waited longer than Redis is given was waited for, or this machine was too busy.
      await new Promise((resolve) => setTimeout(resolve, 60))
      if ((await failures()) === before) return
      assert.isBelow(turn, 10, "an answer waited for a second call")
    }
  })
})
