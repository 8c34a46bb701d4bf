import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { plans } from "../../schemas/Plan.ts"
import type { Counter } from "../../src/limits/Counter.ts"
import { CounterStore, makeMemory } from "../../src/limits/CounterStore.ts"
import { KeyLimits } from "../../src/limits/KeyLimits.ts"
import { VelocityMode } from "../../src/limits/VelocityMode.ts"
import { house } from "../support/house.ts"
import { admit } from "../support/limits.ts"
import { inOneMinute } from "../support/minute.ts"
import { entriesOf, newCustomer } from "../support/server.ts"

const FREE = "meta-llama/llama-3.3-70b-instruct:free"

const world = house((mockUrl) => ({
  OPENROUTER_API_KEY: "sk-openrouter",
  OPENROUTER_BASE_URL: mockUrl,
  ANONYMOUS_INFERENCE: "on",
  ANONYMOUS_PER_DAY: "5",
  TRUST_PROXY: "1"
}))

let addresses = 0
const newAddress = (): string => `198.51.100.${addresses++ + 1}`

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly code: string | undefined
}

const ask = async (address: string, more: Record<string, unknown> = {}, headers: Record<string, string> = {}): Promise<Answer> => {
  const response = await fetch(`${world.server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "x-forwarded-for": address, "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: FREE, messages: [{ role: "user", content: "Hi" }], ...more })
  })
  const text = await response.text()
  const code = /"code":"([^"]+)"/.exec(text)?.[1]
  return { status: response.status, headers: response.headers, text, code }
}

describe("inference without a key", () => {
  it(
    "CM-2.3.3 CM-2.3.1 free models are served three times a minute, fewer than any plan has; then 429",
    inOneMinute(async () => {
      const address = newAddress()
      const first = await ask(address)
      assert.strictEqual(first.status, 200)
      assert.match(first.text, /"object":"chat.completion"/)
      assert.strictEqual(first.headers.get("x-ratelimit-limit"), "3")
      assert.strictEqual(first.headers.get("x-ratelimit-remaining"), "2")
      assert.strictEqual(first.headers.get("x-sluice-cost-usd"), "0.00")
      const streamed = await ask(address, { stream: true })
      assert.match(streamed.text, /data: \[DONE\]\n\n$/)
      assert.strictEqual((await ask(address)).status, 200)
      const refused = await ask(address)
      assert.deepInclude({ ...refused }, { status: 429, code: "RATE_LIMIT_EXCEEDED" })
      assert.isAtLeast(Number(refused.headers.get("retry-after")), 1)
      assert.strictEqual((await ask(newAddress())).status, 200)
      for (const plan of Object.values(plans)) assert.isAbove(Number(plan.limits.rpm), 3)
    })
  )

  it(
    "a priced model is 403 and not counted, also as a fallback; no upstream call is made",
    inOneMinute(async () => {
      const address = newAddress()
      const before = world.mock.calls().length
      for (let i = 0; i < 5; i++) {
        assert.deepInclude({ ...(await ask(address, { model: "gpt-4o" })) }, { status: 403, code: "anonymous_model_restricted" })
      }
      assert.strictEqual((await ask(address, { models: [FREE, "gpt-4o"] })).status, 403)
      // Nobody who serves this one is switched on here: whoever has no key is told of the key all the same.
      const off = { model: "deepseek/deepseek-reasoner" }
      assert.deepInclude({ ...(await ask(address, off)) }, { status: 403, code: "anonymous_model_restricted" })
      assert.strictEqual((await ask(address, { models: [FREE, off.model] })).status, 403)
      assert.strictEqual((await ask(address, { model: "no/such-model" })).status, 404)
      assert.strictEqual(world.mock.calls().length, before)
      assert.strictEqual((await ask(address)).status, 200)
    })
  )

  it("a wrong key is no key's absence", async () => {
    assert.strictEqual((await ask(newAddress(), {}, { authorization: `Bearer gw_dev_${"x".repeat(43)}` })).status, 401)
  })

  it(
    "an Idempotency-Key of nobody known replays nothing: another address has another answer",
    inOneMinute(async () => {
      const headers = { "idempotency-key": crypto.randomUUID() }
      const one = await ask(newAddress(), {}, headers)
      const other = await ask(newAddress(), {}, headers)
      assert.isNull(other.headers.get("idempotent-replayed"))
      assert.notStrictEqual(one.text, other.text)
    })
  )

  it("nobody is charged, and the book stays sound", async () => {
    await ask(newAddress())
    const { key } = await newCustomer(world.server)
    assert.isFalse((await entriesOf(world.server, key)).some(({ kind }) => kind === "charge"))
    assert.deepInclude((await world.server.admin("GET", "/admin/ledger/check")).body, { ok: true })
  })

  it("a caller who leaves a stream leaves nothing behind", async () => {
    world.mock.script({ chunks: 50, chunkDelayMs: 50 })
    const controller = new AbortController()
    const response = await fetch(`${world.server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "x-forwarded-for": newAddress(), "content-type": "application/json" },
      body: JSON.stringify({ model: FREE, stream: true, messages: [{ role: "user", content: "Hi" }] }),
      signal: controller.signal
    })
    const reader = response.body?.getReader()
    await reader?.read()
    controller.abort()
    await reader?.closed.catch(() => {})
    assert.deepInclude((await world.server.admin("GET", "/admin/ledger/check")).body, { ok: true })
    assert.strictEqual((await ask(newAddress())).status, 200)
  })
})

describe("counters of nobody known", () => {
  it.effect("CM-2.3.2 the counter is anon_rate:{ip_hash}:{minute} and lives 60 s; the address is in no key", () => {
    const seen: Array<Counter> = []
    const store = makeMemory({ size: 100 })
    const recording = Layer.succeed(CounterStore, {
      ...store,
      local: null,
      raise: (counters) => {
        seen.push(...counters)
        return store.raise(counters)
      }
    })
    const hash = "0123456789abcdef0123456789abcdef"
    const none = { tokensPerMinute: "none", tokensPerDay: "none", tokensPerMonth: "none", concurrency: "none", burst: "none" } as const
    return Effect.gen(function* () {
      yield* TestClock.adjust(125_000)
      const nobody = {
        accountId: `anonymous:${hash}`,
        keyId: hash,
        role: "free" as const,
        plan: "trial" as const,
        limits: { ...none, rpm: 3, requestsPerDay: 20, dailyUsd: "none" as const },
        trialEndsAt: null,
        scopes: ["inference"],
        maxRequests: null,
        cache: null,
        isAnonymous: true as const
      }
      yield* Effect.scoped(admit(nobody, 100))
      assert.deepStrictEqual(seen, [
        { key: `anon_rate:${hash}:2`, by: 1, limit: 3, ttlMs: 60_000 },
        { key: `anon_limit:${hash}:1970-01-01`, by: 1, limit: 20, ttlMs: 86_400_000 }
      ])
    }).pipe(Effect.provide(KeyLimits.layer.pipe(Layer.provide([VelocityMode.layer, recording]))))
  })
})
