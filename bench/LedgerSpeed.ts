/**
 * The ledger alone: hold plus settle in memory, and group commits on a real Postgres against one transaction a settlement.
 */
import { Clock, Effect, Fiber, Layer, Redacted, References } from "effect"
import { SqlClient } from "effect/sql"
import * as Postgres from "../layers/Postgres.ts"
import * as Money from "../schemas/Money.ts"
import { none } from "../schemas/Usage.ts"
import * as Migrations from "../src/database/Migrations.ts"
import { Committer } from "../src/ledger/Committer.ts"
import { holds, Ledger } from "../src/ledger/Ledger.ts"
import type { LedgerBook } from "../src/ledger/LedgerBook.ts"

/** What was measured, per second. */
export interface LedgerFigures {
  readonly in_memory_hold_and_settle: number
  readonly group_commit_one_account: number
  readonly group_commit_1000_accounts: number
  readonly transaction_each_one_account: number
  readonly transaction_each_1000_accounts: number
}

const pricing = { prompt: Money.usd("0.000001"), completion: Money.usd("0.000002") }
const AMOUNT = Money.usd("0.0001")
const CLIENTS = 64
/** Of each account, before anything is measured. */
const WARM_STEPS = 3

const charge = { _tag: "Charge" as const, cost: AMOUNT, model: "org/model", provider: "p", pricing, usage: none }
const request = (accountId: string, rid: string) => ({ accountId, rid, amount: AMOUNT, minimum: AMOUNT, dailyUsd: "none" as const })

/** A book that takes everything at once and has all the money: what is left is the work in memory. */
const instantBook: LedgerBook = {
  id: Effect.succeed("bench"),
  register: () => Effect.succeed("1"),
  commit: (_node, _batch, payload) => {
    const accounts = new Set([...payload.settles, ...payload.wants].map((row) => row.account))
    const lease = Money.usd("1000000")
    return Effect.succeed(
      [...accounts].map((account) => ({
        account,
        lease,
        elsewhere: 0n,
        unleased: lease,
        direct: false,
        recall: false,
        spent: 0n,
        dayLeft: 1
      }))
    )
  },
  takeOver: () => Effect.void,
  quarantine: () => Effect.void,
  liveNodes: () => Effect.succeed([]),
  silentNodes: () => Effect.succeed([])
}

/** Runs a step by many clients for so long, and for at least so many steps; steps per second. */
const perSecond = (step: (i: number) => Effect.Effect<void, unknown>, ms: number, least = 0) =>
  Effect.gen(function* () {
    let done = 0
    let i = 0
    const until = performance.now() + ms
    const client = Effect.gen(function* () {
      while (performance.now() < until || i < least) {
        yield* step(i++)
        done++
      }
    })
    const start = performance.now()
    yield* Effect.all(
      Array.from({ length: CLIENTS }, () => client),
      { concurrency: "unbounded" }
    )
    return Math.round((done * 1_000) / (performance.now() - start))
  })

const inMemory = (ms: number) =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const incarnation = { host: "bench", process: "bench", isGone: () => false }
    const committer = new Committer({ book: instantBook, bookId: "bench", journal: null, clock, node: "1", options: { incarnation } })
    const ledger = holds(committer)
    const loop = yield* Effect.forkChild(committer.run, { startImmediately: true })
    const step = (i: number) => Effect.flatMap(ledger.hold(request("warm", `m${i}`)), (held) => ledger.settle(held, charge))
    yield* perSecond(step, ms / 4)
    const result = yield* perSecond(step, ms)
    yield* Fiber.interrupt(loop)
    return result
  })

const ids = (accounts: number) => Array.from({ length: accounts }, (_, i) => `bench-${accounts}-${i}`)

const prepare = Effect.fnUntraced(function* (accounts: ReadonlyArray<string>) {
  const sql = yield* SqlClient.SqlClient
  const list = JSON.stringify(accounts)
  yield* sql`INSERT INTO accounts (id, purchased) SELECT value, 1000000000000000 FROM jsonb_array_elements_text(${list}::text::jsonb) ON CONFLICT DO NOTHING`
  yield* sql`INSERT INTO entries (account, kind, d_allowance, d_purchased, reference)
    SELECT value, 'topup', 0, 1000000000000000, 'bench' FROM jsonb_array_elements_text(${list}::text::jsonb) ON CONFLICT DO NOTHING`
})

let run = 0

const grouped = (accounts: number, ms: number) =>
  Effect.gen(function* () {
    const names = ids(accounts)
    yield* prepare(names)
    const ledger = yield* Ledger
    const mark = `g${run++}`
    const step = (i: number) =>
      Effect.flatMap(ledger.hold(request(names[i % accounts] ?? "", `${mark}-${i}`)), (held) => ledger.settle(held, charge))
    // Each account's first holds wait for its lease, and a database that is a second old has plans for empty tables: autovacuum
    // would look at them within a minute.
    const sql = yield* SqlClient.SqlClient
    yield* perSecond(step, ms / 4, accounts * WARM_STEPS)
    yield* sql`ANALYZE`
    yield* perSecond((i) => step(i + 5_000_000), ms / 4)
    return yield* perSecond((i) => step(i + 10_000_000), ms)
  }).pipe(Effect.provide(Ledger.layer({ incarnation: { host: "bench", process: "bench", isGone: () => false } })))

const single = (accounts: number, ms: number) =>
  Effect.gen(function* () {
    const names = ids(accounts)
    yield* prepare(names)
    const sql = yield* SqlClient.SqlClient
    const mark = `s${run++}`
    const step = (i: number) =>
      sql`WITH charged AS (
          INSERT INTO entries (account, kind, d_allowance, d_purchased, cost, hold, rid, model, provider)
          VALUES (${names[i % accounts] ?? ""}, 'charge', 0, -100000000, 100000000, 100000000, ${`${mark}-${i}`}, 'org/model', 'p')
          ON CONFLICT DO NOTHING RETURNING account
        ) UPDATE accounts a SET purchased = a.purchased - 100000000 FROM charged c WHERE a.id = c.account`
    return yield* perSecond(step, ms)
  })

/** Measures all, interleaved, and gives the median of each. */
export const measureLedger = (databaseUrl: string, options: { readonly rounds: number; readonly ms: number }) => {
  const { ms, rounds } = options
  const parts: Record<keyof LedgerFigures, Effect.Effect<number, unknown, SqlClient.SqlClient>> = {
    in_memory_hold_and_settle: inMemory(ms),
    group_commit_one_account: grouped(1, ms),
    transaction_each_one_account: single(1, ms),
    group_commit_1000_accounts: grouped(1_000, ms),
    transaction_each_1000_accounts: single(1_000, ms)
  }
  return Effect.gen(function* () {
    const found: Record<string, Array<number>> = {}
    for (let round = 0; round < rounds; round++) {
      for (const [name, part] of Object.entries(parts)) {
        const figures = found[name] ?? []
        figures.push(yield* part)
        found[name] = figures
      }
    }
    const median = (name: keyof LedgerFigures) => [...(found[name] ?? [])].sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0
    const figures: LedgerFigures = {
      in_memory_hold_and_settle: median("in_memory_hold_and_settle"),
      group_commit_one_account: median("group_commit_one_account"),
      group_commit_1000_accounts: median("group_commit_1000_accounts"),
      transaction_each_one_account: median("transaction_each_one_account"),
      transaction_each_1000_accounts: median("transaction_each_1000_accounts")
    }
    return figures
  }).pipe(
    Effect.provide(
      Migrations.layer.pipe(
        Layer.provideMerge(Postgres.layer({ url: Redacted.make(databaseUrl), maxConnections: 10 })),
        Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None"))
      )
    )
  )
}
