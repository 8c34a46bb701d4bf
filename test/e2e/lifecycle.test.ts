/**
 * The server killed, stopped and started again, with money under way.
 */
import { connect } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { freshDatabase } from "../support/database.ts"
import { pico } from "../support/house.ts"
import {
  creditsOf,
  entriesOf,
  eventually,
  jsonCall,
  newCustomer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"

const chat = (url: string, key: string, body: object) =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "gpt-4o", stream: true, messages: [{ role: "user", content: "hello" }], ...body })
  })

/** Reads until the first content has come; the rest stays unread. */
const begun = async (response: Response) => {
  const reader = response.body?.getReader()
  await reader?.read()
  return reader
}

for (const mode of ["embedded", "service"] as const) {
  describe(`life and death in ${mode} mode`, () => {
    let mock: MockProvider
    let settings: Record<string, string>
    const directory = temporaryDirectory()

    beforeAll(async () => {
      mock = await startMockProvider()
      settings = {
        ...(mode === "embedded" ? {} : serviceSettings(await freshDatabase(inject("databaseUrl")))),
        DATA_DIR: directory.path,
        OPENAI_API_KEY: "sk-openai",
        OPENAI_BASE_URL: mock.url
      }
    })
    afterAll(async () => {
      await mock?.close()
      directory.remove()
    })

    it("a stop does not wait for connections that were opened and never used", async () => {
      const server = await startServer(settings)
      const socket = connect(Number(new URL(server.url).port), "127.0.0.1")
      await new Promise((resolve) => socket.once("connect", resolve))
      const closed = new Promise((resolve) => socket.once("close", resolve))
      socket.on("error", () => {})
      const stopping = Date.now()
      assert.strictEqual(await server.stop(), 0)
      await closed
      assert.isBelow(Date.now() - stopping, 15_000)
    })

    it("kill -9 under 50 streams: nothing charged that did not end, holds back within 5 s, the book sound", async () => {
      mock.reset()
      const server = await startServer(settings)
      const customer = await newCustomer(server, { balanceUsd: "1" })
      mock.script({ times: 10, chunks: 2 }, { times: 50, chunks: 500, chunkDelayMs: 50 })
      for (let i = 0; i < 10; i++) await (await chat(server.url, customer.key, { max_tokens: 100 })).text()
      const before = await creditsOf(server, customer.key)
      const charges = (await entriesOf(server, customer.key)).filter((entry) => entry.kind === "charge").length
      assert.strictEqual(charges, 10)
      const responses = await Promise.all(Array.from({ length: 50 }, () => chat(server.url, customer.key, { max_tokens: 100 })))
      await Promise.all(responses.map(begun))
      assert.notStrictEqual((await creditsOf(server, customer.key)).held_usd, "0.00")
      await server.stop("SIGKILL")

      const again = await startServer(settings)
      try {
        await eventually(async () => assert.deepStrictEqual(await creditsOf(again, customer.key), before), 5_000)
        assert.strictEqual((await entriesOf(again, customer.key)).filter((entry) => entry.kind === "charge").length, charges)
        // All of it may be spent again: no hold was left behind.
        const whole = Math.floor((Number(before.available_usd) - 0.000005) / 0.00001)
        mock.reset()
        assert.strictEqual((await chat(again.url, customer.key, { max_tokens: Math.min(whole, 16_000), stream: false })).status, 200)
        assert.deepInclude((await again.admin("GET", "/admin/ledger/check")).body, { ok: true, violations: [] })
      } finally {
        await again.stop()
      }
    }, 60_000)

    it("a flood: serves exactly as many of 200 at once as the account can pay for", async () => {
      // Each may cost 2 prompt tokens and 100 output tokens: 0.001005 USD.
      mock.reset()
      const server = await startServer(settings)
      const poor = await newCustomer(server, { balanceUsd: "0.0201" })
      mock.script({ times: 500, headDelayMs: 150, usage: { prompt_tokens: 2, completion_tokens: 100, total_tokens: 102 } })
      const body = { model: "gpt-4o", messages: [{ role: "user", content: "hello" }], max_tokens: 100 }
      const answers = await Promise.all(
        Array.from({ length: 200 }, () =>
          jsonCall<{ error?: { code: string } }>(server.url, poor.key, "POST", "/v1/chat/completions", body)
        )
      )
      const counts: Record<string, number> = {}
      for (const answer of answers) {
        const what = `${answer.status} ${answer.body.error?.code ?? "ok"}`
        counts[what] = (counts[what] ?? 0) + 1
      }
      assert.deepStrictEqual(counts, { "200 ok": 20, "402 INSUFFICIENT_CREDITS": 180 })
      assert.strictEqual(mock.calls().length, 20)
      assert.strictEqual(pico((await creditsOf(server, poor.key)).available_usd), 0n)
      const check = await server.admin("GET", "/admin/ledger/check")
      assert.deepInclude(check.body, { ok: true })
      await server.stop()
    }, 60_000)

    it("SIGTERM: streams under way end whole, new requests are kept out, exit 0", async () => {
      mock.reset()
      const server = await startServer(settings)
      const customer = await newCustomer(server, { balanceUsd: "1" })
      mock.script({ times: 5, chunks: 20, chunkDelayMs: 40 })
      const responses = await Promise.all(Array.from({ length: 5 }, () => chat(server.url, customer.key, {})))
      const texts = Promise.all(responses.map((response) => response.text()))
      const since = Date.now()
      const stopped = server.stop("SIGTERM")
      await new Promise((resolve) => setTimeout(resolve, 150))
      const late = await chat(server.url, customer.key, {}).then(
        (response) => response.status,
        () => "refused"
      )
      assert.include([503, "refused"], late)
      for (const text of await texts) assert.isTrue(text.includes('"finish_reason":"stop"') && text.endsWith("data: [DONE]\n\n"))
      assert.strictEqual(await stopped, 0)
      assert.isBelow(Date.now() - since, 10_000, "the stop waits for streams, not for idle connections")
      const again = await startServer(settings)
      try {
        assert.strictEqual((await entriesOf(again, customer.key)).filter((entry) => entry.kind === "charge").length, 5)
        assert.deepInclude((await again.admin("GET", "/admin/ledger/check")).body, { ok: true })
      } finally {
        await again.stop()
      }
    }, 60_000)

    it("a shutdown whose grace is over says so, in the stream and to who still waits, at no cost to either", async () => {
      mock.reset()
      const server = await startServer({ ...settings, SHUTDOWN_GRACE_MS: "200" })
      const customer = await newCustomer(server, { balanceUsd: "1" })
      mock.script({ chunks: 500, chunkDelayMs: 50 }, { headDelayMs: 30_000 })
      const streamed = await chat(server.url, customer.key, {})
      const whole = chat(server.url, customer.key, { stream: false })
      await eventually(() => assert.strictEqual(mock.calls().length, 2))
      assert.strictEqual(await server.stop("SIGTERM"), 0)
      const text = await streamed.text()
      assert.include(text, '"code":"SERVICE_UNAVAILABLE"')
      assert.notInclude(text, '"finish_reason":"stop"')
      const refused = await whole
      assert.strictEqual(refused.status, 503)
      assert.deepStrictEqual([refused.headers.get("connection"), refused.headers.get("retry-after")], ["close", "1"])
      const again = await startServer(settings)
      try {
        const entries = await entriesOf(again, customer.key)
        assert.deepStrictEqual(
          entries.slice(0, 2).map(({ kind }) => kind),
          ["refund", "refund"]
        )
        const rows = await jsonCall<{ data: ReadonlyArray<{ outcome: string; status: number }> }>(
          again.url,
          customer.key,
          "GET",
          "/v1/requests"
        )
        assert.deepStrictEqual(
          rows.body.data.map(({ outcome, status }) => [outcome, status]),
          [
            ["refunded", 503],
            ["refunded", 503]
          ]
        )
      } finally {
        await again.stop()
      }
    }, 60_000)

    it("a second signal waits for nothing that runs; answers of a stop close their connections", async () => {
      mock.reset()
      const server = await startServer(settings)
      const customer = await newCustomer(server, { balanceUsd: "1" })
      mock.script({ headDelayMs: 400 }, { chunks: 2_000, chunkDelayMs: 50 })
      const whole = chat(server.url, customer.key, { stream: false })
      await eventually(() => assert.strictEqual(mock.calls().length, 1))
      const streamed = await chat(server.url, customer.key, {})
      const stopped = server.stop("SIGTERM")
      const answered = await whole
      assert.deepStrictEqual([answered.status, answered.headers.get("connection")], [200, "close"])
      // Passed on by whoever started it, the same signal comes twice.
      const copied = Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, 200, "running"))])
      void server.stop("SIGTERM")
      assert.strictEqual(await copied, "running")
      await new Promise((resolve) => setTimeout(resolve, 600))
      void server.stop("SIGTERM")
      assert.strictEqual(await stopped, 0)
      assert.include(await streamed.text(), '"code":"SERVICE_UNAVAILABLE"')
    }, 60_000)

    it("before it takes no more connections, a stop says for a while that it is not ready", async () => {
      mock.reset()
      const server = await startServer({ ...settings, SHUTDOWN_DELAY_MS: "1500" })
      const customer = await newCustomer(server, { balanceUsd: "1" })
      assert.strictEqual((await jsonCall(server.url, null, "GET", "/health/ready")).status, 200)
      const stopped = server.stop("SIGTERM")
      await eventually(async () => {
        const ready = await jsonCall(server.url, null, "GET", "/health/ready")
        assert.deepStrictEqual([ready.status, ready.headers.get("retry-after")], [503, "5"])
      })
      const answered = await chat(server.url, customer.key, { stream: false })
      assert.deepStrictEqual([answered.status, answered.headers.get("connection")], [200, "close"])
      assert.strictEqual(await stopped, 0)
    }, 60_000)

    it("a caller who leaves while nothing was answered yet ends the request", async () => {
      mock.reset()
      const server = await startServer(settings)
      try {
        const customer = await newCustomer(server, { balanceUsd: "1" })
        mock.script({ headDelayMs: 60_000 })
        const leaving = new AbortController()
        const call = fetch(`${server.url}/v1/chat/completions`, {
          method: "POST",
          headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" },
          body: JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "hello" }] }),
          signal: leaving.signal
        }).catch(() => null)
        await eventually(() => assert.strictEqual(mock.calls().length, 1))
        leaving.abort()
        await call
        await eventually(async () => {
          const rows = await jsonCall<{ data: ReadonlyArray<{ outcome: string }> }>(server.url, customer.key, "GET", "/v1/requests")
          assert.deepStrictEqual(
            rows.body.data.map(({ outcome }) => outcome),
            ["cancelled"]
          )
        })
      } finally {
        await server.stop()
      }
    }, 60_000)
  })
}

describe("starting", () => {
  const directory = temporaryDirectory()
  afterAll(() => directory.remove())

  const startFails = (env: Record<string, string>) =>
    startServer(env).then(
      async (server) => {
        await server.stop()
        return "it started"
      },
      (error: unknown) => String(error)
    )

  it("a bad setting stops it with one message that names it, secrets not shown", async () => {
    assert.match(await startFails({ PORT: "many" }), /PORT is "many", but it takes a whole number/)
    assert.match(await startFails({ WORKERS: "2" }), /WORKERS is 2, but embedded mode is one process.*Set DATABASE_URL/)
    assert.match(await startFails({ KEY_HASH_SECRET: "short-secret" }), /KEY_HASH_SECRET is "\(redacted\)"/)
    assert.match(await startFails({ ENVIRONMENT: "moon" }), /ENVIRONMENT is "moon".*live, staging, test, dev/)
    const service = await startFails({ DATABASE_URL: "postgres://127.0.0.1:1/x" })
    assert.match(service, /KEY_ENCRYPTION_KEY and KEY_HASH_SECRET must be set/)
  })

  it("a host that is not there stops it with one message that names the setting", async () => {
    const own = { DATA_DIR: `${directory.path}/unstarted` }
    assert.match(await startFails({ ...own, HOST: "999.1.1.1" }), /cannot listen on 999\.1\.1\.1.*HOST/)
  }, 60_000)

  it("a data directory belongs to one process; the developer key and the admin key are kept", async () => {
    const env = { DATA_DIR: directory.path, ADMIN_API_KEY: "" }
    const first = await startServer(env)
    const keyIn = (output: string) => /Developer key: (\S+)/.exec(output)?.[1]
    try {
      assert.match(first.output(), /Admin key, shown this once: \S+/)
      assert.match(await startFails(env), /is in use by process/)
      const taken = { DATA_DIR: `${directory.path}/other`, PORT: new URL(first.url).port }
      assert.match(await startFails(taken), /cannot listen on 127\.0\.0\.1, port \d+: .*EADDRINUSE/)
    } finally {
      await first.stop("SIGKILL")
    }
    const second = await startServer(env)
    try {
      assert.notMatch(second.output(), /Admin key/)
      assert.strictEqual(keyIn(second.output()), keyIn(first.output()))
      const line = /curl -N .*/.exec(second.output())?.[0] ?? ""
      assert.include(line, "sandbox/echo")
    } finally {
      await second.stop()
    }
  }, 60_000)
})
