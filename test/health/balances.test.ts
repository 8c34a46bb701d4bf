/**
 * What is left of the credit at providers: read in their own words, once for all replicas, and minded before it ends.
 */
import { createServer } from "node:http"
import { assert, describe, it as plain, layer as shared } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as PGlite from "../../layers/PGlite.ts"
import * as UndiciTransport from "../../layers/UndiciTransport.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { readBalance } from "../../src/health/BalanceForms.ts"
import { levelOf, ProviderBalances } from "../../src/health/ProviderBalances.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { fromSend, Transport } from "../../src/providers/Transport.ts"
import { Balancer } from "../../src/routing/Balancer.ts"
import { sourceOf } from "../support/bytes.ts"
import { candidate, model, request } from "../support/scripted.ts"

const MINUTE = 60_000

describe("balances", () => {
  plain("X-19 each provider's words are read; what is not in USD is not guessed at", () => {
    const read = (form: Parameters<typeof readBalance>[0], body: unknown) => readBalance(form, JSON.stringify(body))
    assert.strictEqual(read("openrouter", { data: { total_credits: 100.5, total_usage: 25.25 } }), 75.25)
    const currencies = [
      { currency: "CNY", total_balance: "700.00" },
      { currency: "USD", total_balance: "110.00" }
    ]
    assert.strictEqual(read("deepseek", { is_available: true, balance_infos: currencies }), 110)
    assert.isNull(read("deepseek", { balance_infos: currencies.slice(0, 1) }))
    assert.strictEqual(read("moonshot", { code: 0, data: { available_balance: 49.58894, cash_balance: 3 } }), 49.58894)
    assert.strictEqual(read("siliconflow", { code: 20_000, data: { balance: "0.88", totalBalance: "88.88" } }), 88.88)
    for (const body of [null, [], {}, { data: null }, { data: { total_credits: "", total_usage: 1 } }])
      assert.isNull(read("openrouter", body))
    assert.isNull(readBalance("openrouter", "<html>"))
  })

  plain("X-19 at most 5 USD is critical, at most 20 a warning, at most 50 to be known", () => {
    assert.deepStrictEqual([-1, 0, 5, 5.01, 20, 20.01, 50, 50.01].map(levelOf), [
      "critical",
      "critical",
      "critical",
      "warning",
      "warning",
      "info",
      "info",
      "ok"
    ])
  })
})

const keys = new Map(["openrouter", "deepseek", "groq"].map((slug) => [slug, { apiKey: Redacted.make(`key of ${slug}`) }]))

/** A provider that answers as it is told, and what it was asked. */
const house = () => {
  const answers: Record<string, unknown> = {}
  const asked: Array<string> = []
  const transport = Layer.succeed(
    Transport,
    fromSend(({ headers, method, url }) =>
      Effect.sync(() => {
        asked.push(`${method} ${url} ${headers["authorization"]}`)
        const body = answers[new URL(url).hostname]
        return { status: body === undefined ? 503 : 200, headers: {}, body: sourceOf([new TextEncoder().encode(JSON.stringify(body))]) }
      })
    )
  )
  const replica = () =>
    Layer.fresh(
      Balancer.layer.pipe(
        Layer.provideMerge(ProviderBalances.layer({ everyMs: 15 * MINUTE, firstAfterMs: 1_000_000_000 })),
        Layer.provide([transport, ProviderRegistry.layer(keys)])
      )
    )
  const told = (openRouter: number, deepSeek: number) => {
    answers["openrouter.ai"] = { data: { total_credits: 100 + openRouter, total_usage: 100 } }
    answers["api.deepseek.com"] = { balance_infos: [{ currency: "USD", total_balance: String(deepSeek) }] }
  }
  return { answers, asked, replica, told }
}

const begin = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`DELETE FROM health_tasks`
  yield* sql`DELETE FROM provider_balances`
})

const poll = Effect.flatMap(ProviderBalances, (balances) => balances.poll)
const levels = Effect.map(ProviderBalances, (balances) =>
  Object.fromEntries(balances.all().map(({ level, provider }) => [provider, level]))
)

const of = model("org/model", ["openrouter", "deepseek", "groq"])
const route = [candidate("openrouter", of), candidate("deepseek", of), candidate("groq", of)] as const
const order = Effect.flatMap(Balancer, (balancer) =>
  Effect.map(
    balancer.order(request(), route, () => 0n),
    (ordered) => ordered.map(({ provider }) => provider)
  )
)

shared(Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null))))("balances at providers", (it) => {
  it.effect("X-19 a provider whose credit is about to end goes behind the others, and comes back when it is paid", () => {
    const { asked, replica, told } = house()
    return Effect.gen(function* () {
      yield* begin
      assert.deepStrictEqual(yield* order, ["openrouter", "deepseek", "groq"], "nothing is known")
      told(20, 21)
      yield* poll
      assert.deepStrictEqual(asked.toSorted(), [
        "GET https://api.deepseek.com/user/balance Bearer key of deepseek",
        "GET https://openrouter.ai/api/v1/credits Bearer key of openrouter"
      ])
      assert.deepStrictEqual(yield* levels, { deepseek: "info", openrouter: "warning" })
      assert.deepStrictEqual(yield* order, ["openrouter", "deepseek", "groq"], "a warning moves nobody")
      told(4.5, 21)
      yield* TestClock.adjust(15 * MINUTE)
      yield* poll
      assert.deepStrictEqual(yield* order, ["deepseek", "groq", "openrouter"])
      told(500, 1)
      yield* TestClock.adjust(15 * MINUTE)
      yield* poll
      assert.deepStrictEqual(yield* order, ["openrouter", "groq", "deepseek"])
    }).pipe(Effect.provide(replica()))
  })

  it.effect("X-19 replicas look once every 900 seconds, and all of them know", () => {
    const { asked, replica, told } = house()
    const [a, b] = [replica(), replica()]
    return Effect.gen(function* () {
      yield* begin
      told(3, 100)
      yield* Effect.all([Effect.provide(poll, a), Effect.provide(poll, b)], { concurrency: 2 })
      assert.strictEqual(asked.length, 2)
      assert.deepStrictEqual(yield* Effect.provide(Effect.andThen(poll, levels), b), { deepseek: "ok", openrouter: "critical" })
      yield* TestClock.adjust(15 * MINUTE - 1)
      yield* Effect.provide(poll, a)
      assert.strictEqual(asked.length, 2)
      yield* TestClock.adjust(1)
      yield* Effect.provide(poll, a)
      assert.strictEqual(asked.length, 4)
    })
  })

  it.effect("a balance that cannot be read stays as it was for an hour, and then moves nobody", () => {
    const { answers, replica, told } = house()
    return Effect.gen(function* () {
      yield* begin
      told(2, 100)
      yield* poll
      delete answers["openrouter.ai"]
      yield* TestClock.adjust(45 * MINUTE)
      yield* poll
      const [, row] = (yield* ProviderBalances).all()
      assert.deepInclude(row, { provider: "openrouter", usd: 2, level: "critical", error: "status 503" })
      assert.strictEqual((yield* order)[2], "openrouter")
      yield* TestClock.adjust(15 * MINUTE)
      assert.deepStrictEqual(yield* order, ["openrouter", "deepseek", "groq"])
    }).pipe(Effect.provide(replica()))
  })

  it.effect("over a real connection, at the address that a deployment gives", () =>
    Effect.gen(function* () {
      yield* begin
      const seen: Array<string> = []
      const server = createServer((request, response) => {
        seen.push(`${request.method} ${request.url} ${request.headers.authorization}`)
        response.end(JSON.stringify({ balance_infos: [{ currency: "USD", total_balance: "7.25" }] }))
      })
      yield* Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)))
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const settings = new Map([["deepseek", { apiKey: Redacted.make("sk"), baseUrl: `http://127.0.0.1:${port}/v1` }]])
      const layer = ProviderBalances.layer({ everyMs: MINUTE, firstAfterMs: 1_000_000_000 }).pipe(
        Layer.provide([UndiciTransport.layer({ firstByteTimeoutMs: 5_000, idleTimeoutMs: 5_000 }), ProviderRegistry.layer(settings)])
      )
      const all = yield* Effect.provide(
        Effect.gen(function* () {
          yield* poll
          return (yield* ProviderBalances).all()
        }),
        layer
      )
      assert.deepInclude(all[0], { provider: "deepseek", usd: 7.25, level: "warning", error: null })
      assert.deepStrictEqual(seen, ["GET /user/balance Bearer sk"])
    }).pipe(Effect.scoped)
  )
})
