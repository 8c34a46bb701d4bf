/**
 * The simulated book against the real one: the same calls, the same answers, the same rows. What the simulation proves of
 * the one holds for the other.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { inject } from "vitest"
import * as PGlite from "../../layers/PGlite.ts"
import * as Postgres from "../../layers/Postgres.ts"
import { isDataError, messageOf } from "../../src/database/Failures.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import * as LedgerBook from "../../src/ledger/LedgerBook.ts"
import * as LedgerReads from "../../src/ledger/LedgerReads.ts"
import { freshDatabase } from "../support/database.ts"
import { seeded } from "../support/seeded.ts"
import { SimulatedBook } from "./SimulatedBook.ts"

const Rows = Schema.Array(Schema.Record(Schema.String, Schema.NullOr(Schema.String)))

/** What an outcome says, as far as both books can say the same. */
const outcome = (
  result: { readonly _tag: "Success"; readonly success: unknown } | { readonly _tag: "Failure"; readonly failure: unknown }
) => {
  if (result._tag === "Success") return result.success
  const message = messageOf(result.failure)
  return isDataError(result.failure) ? "data error" : (/ledger: (fenced|regressed|insufficient)/.exec(message)?.[0] ?? message)
}

const attempt = <A>(run: () => A) => Effect.result(Effect.try({ try: run, catch: (error) => error }))

const play = Effect.fnUntraced(function* (seed: number, steps: number) {
  const random = seeded(seed)
  const upTo = (most: number) => Math.floor(random() * (most + 1))
  const sql = yield* SqlClient.SqlClient
  const real = yield* LedgerBook.make
  const reads = yield* LedgerReads.make
  const simulated = new SimulatedBook(() => 0)
  const accounts = ["x", "y", "z"].map((name) => `${name}-${seed}`)
  for (const account of accounts) {
    yield* reads.open(account)
    simulated.open(account)
  }
  const nodes: Array<{ readonly real: string; readonly simulated: string; batch: number }> = []
  let rids = 0
  const amount = () => BigInt(upTo(120))
  const settle = (bad: boolean): LedgerBook.SettleRow => {
    const cost = amount()
    const account = bad ? "nobody" : (accounts[upTo(2)] ?? "")
    // Now and then a request that ended before.
    const rid = `${seed}-${random() < 0.1 ? upTo(rids) : ++rids}`
    const fromLease = random() < 0.7 ? cost : cost / 2n
    const kind = random() < 0.8 ? "charge" : "refund"
    const row = { cost: String(cost), fromLease: String(fromLease) }
    return {
      account,
      kind,
      rid,
      hold: "0",
      model: "m",
      provider: null,
      price: null,
      usage: null,
      ...(kind === "refund" ? { cost: "0", fromLease: "0" } : row)
    }
  }
  const several = <A>(most: number, make: () => A): ReadonlyArray<A> => Array.from({ length: upTo(most) }, make)
  const rowOf = (account: string, make: () => object) => ({ account, ...make() })

  const step = Effect.fnUntraced(function* () {
    const dice = random()
    if (nodes.length === 0 || dice < 0.02) {
      nodes.push({ real: yield* real.register("host", `p${seed}`), simulated: simulated.register("host", `p${seed}`), batch: 0 })
      return
    }
    if (dice < 0.12) {
      const [account = "", allowance, purchased] = [accounts[upTo(2)], BigInt(upTo(300) - 60), BigInt(upTo(1_000) - 200)]
      const made = yield* Effect.result(reads.grant(account, "adjust", allowance, purchased, `grant-${rids}-${random()}`))
      const same = yield* attempt(() => simulated.grant(account, "adjust", allowance, purchased))
      assert.strictEqual(made._tag, same._tag)
      return
    }
    const node = nodes[upTo(nodes.length - 1)]
    if (node === undefined) return
    if (dice < 0.15) {
      const rows = several(2, () => settle(false))
      yield* real.takeOver(node.real, rows)
      simulated.takeOver(node.simulated, rows)
      return
    }
    // Each account once, as leases are.
    const some = () => accounts.filter(() => random() < 0.4)
    const payload: LedgerBook.BatchPayload = {
      settles: several(4, () => settle(random() < 0.02)),
      returns: some().map((account) => ({ account, amount: String(amount()) })),
      wants: some().map((account) => {
        const least = 1n + amount()
        const most = least + amount()
        return {
          ...rowOf(account, () => ({})),
          account,
          least: String(least),
          most: String(most),
          target: String(most * BigInt(1 + upTo(20)))
        }
      })
    }
    const number = node.batch + (dice < 0.2 ? 0 : dice < 0.22 ? 2 : 1)
    const here = yield* attempt(() => simulated.commit(node.simulated, number, payload))
    const there = yield* Effect.result(real.commit(node.real, number, payload))
    const plain = (answer: unknown) =>
      Array.isArray(answer)
        ? answer
            .map(({ account, direct, elsewhere, lease, spent, unleased }) => ({ account, direct, elsewhere, lease, spent, unleased }))
            .sort((a, b) => (a.account < b.account ? -1 : 1))
        : answer
    assert.deepStrictEqual(plain(outcome(there)), plain(outcome(here)), `batch ${number} of node ${node.real}`)
    if (here._tag === "Success" && number === node.batch + 1) node.batch++
  })
  for (let i = 0; i < steps; i++) yield* step()
  // A refill's size goes by the processes that live: none is left for the next history.
  for (const node of nodes) {
    yield* real.takeOver(node.real, [])
    simulated.takeOver(node.simulated, [])
  }

  const balances = yield* Schema.decodeUnknownEffect(Rows)(
    yield* sql`SELECT id, allowance::text, purchased::text, leased::text FROM accounts WHERE id LIKE ${`%-${seed}`} ORDER BY id`
  )
  const expected = accounts.map((id) => {
    const account = simulated.accountOf(id)
    return { id, allowance: String(account?.allowance), purchased: String(account?.purchased), leased: String(account?.leased) }
  })
  assert.deepStrictEqual(balances, expected)
  const entries = yield* Schema.decodeUnknownEffect(Rows)(
    yield* sql`SELECT rid, kind, d_allowance::text AS allowance, d_purchased::text AS purchased, shortfall::text FROM entries
      WHERE rid LIKE ${`${seed}-%`} ORDER BY rid`
  )
  const ended = simulated.entries.flatMap(({ allowance, kind, purchased, rid, shortfall }) =>
    rid === null ? [] : [{ rid, kind, allowance: String(allowance), purchased: String(purchased), shortfall: String(shortfall) }]
  )
  const byRid = (a: { rid?: string | null }, b: { rid?: string | null }) => ((a.rid ?? "") < (b.rid ?? "") ? -1 : 1)
  assert.deepStrictEqual([...entries].sort(byRid), ended.sort(byRid))
  assert.deepStrictEqual(simulated.violations(), [])
  assert.deepStrictEqual((yield* reads.check).violations, [])
})

const url = await freshDatabase(inject("databaseUrl"))
const databases: ReadonlyArray<readonly [string, Layer.Layer<SqlClient.SqlClient, unknown>]> = [
  ["PGlite", PGlite.layer(null)],
  ["Postgres", Postgres.layer({ url: Redacted.make(url) })]
]
for (const [name, database] of databases) {
  layer(Migrations.layer.pipe(Layer.provideMerge(database)), { excludeTestServices: true, timeout: 60_000 })(
    `the book on ${name}`,
    (it) => {
      for (const seed of [1, 2, 3, 4, 5]) {
        it.effect(`does what the simulated book does, seed ${seed}`, () => play(seed, 300).pipe(Effect.orDie), 60_000)
      }
    }
  )
}
