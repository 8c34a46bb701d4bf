/**
 * What plans promise of each hour: told where it was not kept, and a part of the cost given back.
 */
import { assert, describe, inject, it, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import * as NodeCrypto from "../../layers/NodeCrypto.ts"
import * as PGlite from "../../layers/PGlite.ts"
import * as Postgres from "../../layers/Postgres.ts"
import * as Money from "../../schemas/Money.ts"
import { type PlanId, plans } from "../../schemas/Plan.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { EventBus } from "../../src/events/EventBus.ts"
import { broken, SlaWatch } from "../../src/events/SlaWatch.ts"
import { Accounts } from "../../src/identity/Accounts.ts"
import { AuditLog } from "../../src/identity/AuditLog.ts"
import { AuthCache } from "../../src/identity/AuthCache.ts"
import * as Fernet from "../../src/identity/Fernet.ts"
import { Keys } from "../../src/identity/Keys.ts"
import { Partners } from "../../src/identity/Partners.ts"
import { Renewals } from "../../src/identity/Renewals.ts"
import { Trials } from "../../src/identity/Trials.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"
import { make as makeBook, type RequestRecord } from "../../src/usage/RequestBook.ts"
import { freshDatabase } from "../support/database.ts"

const HOUR = 3_600_000
/** A whole hour that has been over for long enough. */
const JUDGED = Math.floor((Date.now() - 600_000) / HOUR) * HOUR - HOUR

const keys = Layer.unwrap(
  Effect.map(Fernet.make([Redacted.make(Buffer.alloc(32, 9).toString("base64url"))]), (fernet) =>
    Keys.layer({ environment: "test", fernet })
  )
)
const house = (database: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  Layer.mergeAll(SlaWatch.layer, Accounts.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(EventBus.layer, keys, Partners.layer, Renewals.layer, Trials.layer, AuditLog.layer)),
    Layer.provideMerge(
      Layer.mergeAll(
        AuthCache.layer.pipe(Layer.provideMerge(Broadcast.layerMemory)),
        NodeCrypto.layer(Redacted.make("sixteen characters")),
        SecureRandom.layerWebCrypto,
        Ledger.layer({ incarnation: { host: "sla", process: "sla", isGone: () => false } })
      )
    ),
    Layer.provideMerge(Migrations.layer.pipe(Layer.provideMerge(database)))
  )

let made = 0
const newUser = (plan: PlanId) =>
  Effect.flatMap(Accounts, (accounts) => Effect.map(accounts.create({ email: `sla${made++}@example.com`, plan }), ({ user }) => user.id))

const COST = Money.usd("0.01")

/** Requests of one account in the hour, each at a cent when it is answered. */
const requests = Effect.fnUntraced(function* (account: string, count: number, more: Partial<RequestRecord> = {}) {
  const book = yield* makeBook
  const rows = Array.from({ length: count }, (_, at): RequestRecord => {
    const startedAt = JUDGED + 60_000 + at
    const hex = startedAt.toString(16).padStart(12, "0")
    return {
      account,
      id: `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${(made++).toString(16).padStart(12, "0")}`,
      keyId: "key",
      clientRequestId: null,
      requestedModel: "org/model",
      model: "org/model",
      provider: "openai",
      attempts: [],
      tokens: { input: 1, cached_read: 0, cache_write: 0, output: 1, reasoning: 0 },
      usageSource: "provider",
      cost: COST,
      startedAt,
      latencyMs: 900,
      firstChunkMs: 200,
      status: 200,
      outcome: "ok",
      details: { routing: null },
      stream: true,
      ...more
    }
  })
  yield* book.write(rows)
})
const failed = { status: 502, outcome: "refunded", cost: Money.zero } as const

/** An endpoint that wants to hear of it; what it is to be told. */
const listener = Effect.fnUntraced(function* (account: string) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO webhooks (id, account, url, events, secret) VALUES (${`hook-${account}`}, ${account}, 'https://example.com/', ARRAY['sla.breached'], 'x')`
  return Effect.map(sql<{ data: string }>`SELECT data::text AS data FROM events WHERE account = ${account}`, (rows) =>
    rows.map(({ data }) => JSON.parse(data))
  )
})

const judge = Effect.flatMap(SlaWatch, (watch) => watch.judge)
const purchased = (account: string) =>
  Effect.flatMap(Ledger, (ledger) => Effect.map(ledger.balance(account), (balance) => balance.purchased))
const credits = (account: string) =>
  Effect.flatMap(Ledger, (ledger) =>
    Effect.map(ledger.entries(account, { limit: 100, cursor: null }), ({ data }) =>
      data.filter(({ reference }) => reference?.startsWith("sla ") === true)
    )
  )

const contract = (name: string, database: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  layer(house(database), { excludeTestServices: true, timeout: 60_000 })(`promises of plans on ${name}`, (test) => {
    test.effect("X-41 an hour in which too many requests failed, or the slowest hundredth was too slow, is told to its account once", () =>
      Effect.gen(function* () {
        const failing = yield* newUser("enterprise")
        const slow = yield* newUser("team")
        const [toldFailing, toldSlow] = [yield* listener(failing), yield* listener(slow)]
        yield* requests(failing, 197)
        yield* requests(failing, 3, failed)
        yield* requests(slow, 98)
        yield* requests(slow, 2, { firstChunkMs: 46_000, latencyMs: 50_000 })
        assert.strictEqual(yield* judge, 2)
        assert.strictEqual(yield* judge, 0)
        const [event, ...others] = yield* toldFailing
        assert.deepStrictEqual(others, [])
        assert.deepInclude(event, { plan: "enterprise", kinds: ["error_rate"], requests: 200, failures: 3, p99_latency_ms: 200 })
        assert.deepStrictEqual(event.hour, new Date(JUDGED).toISOString())
        assert.deepStrictEqual(event.promised, { uptime: 0.999, p99_latency_ms: 30_000 })
        assert.deepInclude((yield* toldSlow)[0], { plan: "team", kinds: ["p99_latency"], failures: 0 })
      })
    )

    test.effect("X-41 nothing is told of an hour that was kept, of one with few requests, of what callers did wrong, nor of a trial", () =>
      Effect.gen(function* () {
        const kept = yield* newUser("dev")
        const few = yield* newUser("dev")
        const wrong = yield* newUser("dev")
        const trial = yield* newUser("trial")
        yield* requests(kept, 300)
        yield* requests(kept, 3, failed)
        yield* requests(few, 90, failed)
        yield* requests(wrong, 100)
        yield* requests(wrong, 50, { status: 400, outcome: "rejected", cost: Money.zero })
        yield* requests(wrong, 50, { status: 499, outcome: "cancelled" })
        yield* requests(trial, 200, failed)
        assert.strictEqual(yield* judge, 0)
        for (const account of [kept, few, wrong, trial]) assert.deepStrictEqual(yield* credits(account), [])
      })
    )

    test.effect("X-42 a tenth of what the hour cost comes back by itself, once, whoever looks and whatever was cut in between", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const account = yield* newUser("team")
        const before = yield* purchased(account)
        yield* requests(account, 150)
        yield* requests(account, 50, failed)
        yield* Effect.all([judge, judge], { concurrency: 2 })
        assert.strictEqual((yield* purchased(account)) - before, (COST * 150n) / 10n)
        // As it is when a process dies between the ledger's entry and what says that it is there.
        yield* sql`UPDATE sla_breaches SET credited_at = NULL WHERE account = ${account}`
        yield* judge
        assert.strictEqual((yield* purchased(account)) - before, (COST * 150n) / 10n)
        const [entry, ...others] = yield* credits(account)
        assert.deepStrictEqual(others, [])
        assert.deepInclude(entry, {
          kind: "adjust",
          amount_usd: "0.15",
          reference: `sla ${new Date(JUDGED).toISOString().slice(0, 16)}Z`
        })
        assert.deepStrictEqual((yield* (yield* Ledger).check).violations, [])
      })
    )
  })

contract("PGlite", PGlite.layer(null))
contract(
  "Postgres",
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => freshDatabase(inject("databaseUrl"))),
      (url) => Postgres.layer({ url: Redacted.make(url) })
    )
  )
)

describe("what breaks a promise", () => {
  it("the figures grow with the plan, and one failure of few requests is none", () => {
    const [dev, team, enterprise] = [plans.dev.sla, plans.team.sla, plans.enterprise.sla]
    if (dev === null || team === null || enterprise === null) return assert.fail("no promise")
    assert.isNull(plans.trial.sla)
    assert.deepStrictEqual([dev.uptime, team.uptime, enterprise.uptime], [0.99, 0.995, 0.999])
    const hour = { requests: 1_000, failures: 7, p99: 100 }
    assert.deepStrictEqual(
      [dev, team, enterprise].map((sla) => broken(sla, hour).length),
      [0, 1, 1]
    )
    assert.deepStrictEqual(broken(enterprise, { requests: 500, failures: 2, p99: 100 }), [])
    assert.deepStrictEqual(broken(enterprise, { requests: 100, failures: 100, p99: 30_001 }), ["error_rate", "p99_latency"])
  })
})
