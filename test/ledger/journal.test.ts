import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as FileJournals from "../../layers/FileJournals.ts"
import * as PGlite from "../../layers/PGlite.ts"
import * as Money from "../../schemas/Money.ts"
import { none } from "../../schemas/Usage.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import type { SettleRow } from "../../src/ledger/LedgerBook.ts"
import { pricing } from "../support/scripted.ts"
import { temporaryDirectory } from "../support/server.ts"

const row = (rid: string, more: Partial<SettleRow> = {}): SettleRow => ({
  account: "account",
  kind: "charge",
  rid,
  cost: "250000000000",
  hold: "500000000000",
  fromLease: "250000000000",
  model: "org/model",
  provider: "p",
  price: null,
  usage: null,
  ...more
})

const inDirectory = (work: (path: string) => Effect.Effect<void, unknown>) => {
  const directory = temporaryDirectory()
  return Effect.runPromise(work(directory.path)).finally(directory.remove)
}

describe("the journal", () => {
  it("gives back what was kept, up to a torn tail, and only of processes that are gone", () =>
    inDirectory((path) =>
      Effect.gen(function* () {
        const living = FileJournals.make(path)
        const dead = FileJournals.make(path, () => true)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const journal = yield* living.open("book", "7")
            assert.deepStrictEqual(
              yield* Effect.all([journal.append([row("a")]), journal.append([row("b"), row("c")])], { concurrency: "unbounded" }),
              [true, true]
            )
            const [name = ""] = readdirSync(join(path, "book"))
            assert.strictEqual(statSync(join(path, "book", name)).mode & 0o777, 0o600)
            assert.deepStrictEqual(yield* living.left("book"), [])
            assert.deepStrictEqual(yield* dead.left("another book"), [])
            const whole = readFileSync(join(path, "book", name))
            for (const torn of [whole.subarray(0, 5), whole.subarray(0, 100), Buffer.concat([whole.subarray(0, 30), Buffer.from("x")])]) {
              appendFileSync(join(path, "book", name), torn)
              const [left] = yield* dead.left("book")
              assert.strictEqual(left?.node, "7")
              assert.deepStrictEqual(left?.rows, [row("a"), row("b"), row("c")])
              writeFileSync(join(path, "book", name), whole)
            }
            journal.written(["a", "b"])
            assert.strictEqual((yield* dead.left("book"))[0]?.rows.length, 3, "all goes at once")
            journal.written(["c"])
            assert.deepStrictEqual((yield* dead.left("book"))[0]?.rows, [])
          })
        )
        assert.deepStrictEqual(readdirSync(join(path, "book")), [], "an empty journal goes with its process")
      })
    ))

  it("does not grow though at no moment nothing is owed", () =>
    inDirectory((path) =>
      Effect.scoped(
        Effect.gen(function* () {
          const journal = yield* FileJournals.make(path).open("book", "7")
          const size = () => readdirSync(join(path, "book")).reduce((sum, name) => sum + statSync(join(path, "book", name)).size, 0)
          let most = 0
          for (let at = 0; at < 10_000; at++) {
            assert.isTrue(journal.appendNow(row(`r${at}`)))
            if (at % 100 === 99) {
              const [left] = at % 1_000 === 999 ? yield* FileJournals.make(path, () => true).left("book") : []
              if (left !== undefined)
                assert.includeMembers(
                  left.rows.map(({ rid }) => rid),
                  Array.from({ length: 150 }, (_, i) => `r${at - i}`)
                )
              // The database has all but the last fifty.
              journal.written(Array.from({ length: 100 }, (_, i) => `r${at - 50 - i}`))
              most = Math.max(most, size())
            }
          }
          assert.isBelow(most, 700_000)
          journal.written(Array.from({ length: 50 }, (_, i) => `r${9_999 - i}`))
          assert.deepStrictEqual((yield* FileJournals.make(path, () => true).left("book"))[0]?.rows, [])
          assert.isBelow(size(), 700_000)
        })
      )
    ))

  it("promises nothing where it cannot write", () =>
    inDirectory((path) =>
      Effect.scoped(
        Effect.gen(function* () {
          writeFileSync(join(path, "book"), "a file where the directory should be")
          const journal = yield* FileJournals.make(path).open("book", "7")
          assert.isFalse(yield* journal.append([row("a")]))
          assert.isFalse(yield* journal.append([row("b")]))
          assert.isFalse(journal.appendNow(row("c")))
        })
      )
    ))

  const charge = { _tag: "Charge" as const, cost: Money.usd("0.25"), model: "org/model", provider: "p", pricing, usage: none }
  const database = Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null)))
  /** One process after another on one database whose commits nobody waits for. */
  const processOf = (path: string, name: string) =>
    Ledger.layer({
      incarnation: { host: "tests", process: name, isGone: (other) => other !== name },
      journals: FileJournals.make(path, () => name !== "first"),
      journalFirstMs: 60_000,
      isAlone: true
    })
  const account = Effect.gen(function* () {
    const ledger = yield* Ledger
    yield* ledger.open("account")
    const grant = { accountId: "account", kind: "topup" as const, allowance: Money.zero, purchased: Money.usd("10"), reference: "start" }
    yield* ledger.grant(grant)
    return ledger
  })
  const spend = (ledger: Ledger["Service"], rid: string) =>
    Effect.flatMap(
      ledger.hold({ accountId: "account", rid, amount: Money.usd("0.5"), minimum: Money.usd("0.5"), dailyUsd: "none" }),
      (held) => ledger.settle(held, charge)
    )
  const charged = Effect.map(
    Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT rid FROM entries WHERE kind = 'charge' ORDER BY rid`),
    (rows) => rows.map((found) => found["rid"])
  )

  it("has what a process that died had told before its commit: the next start charges it, once", () =>
    inDirectory((path) =>
      Effect.scoped(
        Effect.gen(function* () {
          const first = yield* Effect.provide(account, yield* Layer.build(processOf(path, "first")))
          for (const rid of ["a", "b", "c"]) yield* spend(first, rid)
          assert.deepStrictEqual(yield* charged, [], "nobody waited for the database")
          const second = yield* Layer.build(processOf(path, "second"))
          assert.deepStrictEqual(yield* charged, ["a", "b", "c"])
          const { check, balance } = yield* Effect.provide(Ledger, second)
          assert.strictEqual((yield* balance("account")).available, Money.usd("9.25"))
          // The first was only taken for dead: what it still owes is passed over when it comes.
          yield* spend(first, "d").pipe(Effect.andThen(first.balance("account")))
          assert.deepStrictEqual(yield* charged, ["a", "b", "c", "d"])
          assert.deepStrictEqual((yield* check).violations, [])
        })
      ).pipe(Effect.provide(database))
    ))

  it("is waited for by nobody who has the database in a transaction of his own: the commit would wait for that", () =>
    inDirectory((path) =>
      Effect.scoped(
        Effect.gen(function* () {
          const ledger = yield* Effect.provide(account, yield* Layer.build(processOf(path, "first")))
          const sql = yield* SqlClient.SqlClient
          yield* spend(ledger, "a")
          const startedAt = performance.now()
          yield* sql.withTransaction(
            Effect.andThen(
              ledger.open("another"),
              ledger.grant({ accountId: "another", kind: "topup", allowance: Money.zero, purchased: Money.usd("1"), reference: "start" })
            )
          )
          assert.isBelow(performance.now() - startedAt, 2_500)
          assert.strictEqual((yield* ledger.balance("another")).available, Money.usd("1"))
          assert.strictEqual((yield* ledger.balance("account")).available, Money.usd("9.75"))
        })
      ).pipe(Effect.provide(database))
    ))

  it("is waited out by who reads the book, and by who closes it", () =>
    inDirectory((path) =>
      Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const ledger = yield* Effect.provide(account, yield* Layer.build(processOf(path, "first")))
            yield* spend(ledger, "a")
            assert.strictEqual((yield* ledger.balance("account")).available, Money.usd("9.75"))
            yield* spend(ledger, "b")
            const page = yield* ledger.entries("account", { limit: 10, cursor: null })
            assert.deepStrictEqual(
              page.data.map((entry) => entry.request_id),
              ["b", "a", null]
            )
            yield* spend(ledger, "c")
            assert.strictEqual((yield* ledger.check).entries, 4)
            assert.deepStrictEqual(yield* ledger.standing, { pending: 0, journaled: 0, unsecured: 0, inTime: true })
            for (let at = 0; at < 10; at++) yield* spend(ledger, `many${at}`)
            assert.strictEqual((yield* charged).length, 3)
          })
        )
        assert.strictEqual((yield* charged).length, 13)
        const [book = ""] = readdirSync(path)
        assert.deepStrictEqual(readdirSync(join(path, book)), [])
      }).pipe(Effect.provide(database))
    ))

  it("that cannot be written makes ends wait for their commits", () =>
    inDirectory((path) =>
      Effect.scoped(
        Effect.gen(function* () {
          const directory = join(path, "full")
          writeFileSync(directory, "no room")
          const ledger = yield* Effect.provide(account, yield* Layer.build(processOf(directory, "first")))
          for (const rid of ["a", "b", "c"]) {
            yield* spend(ledger, rid)
            assert.include(yield* charged, rid)
          }
          assert.strictEqual((yield* ledger.standing).unsecured, 0)
        })
      ).pipe(Effect.provide(database))
    ))

  it("is settled on the lease of the process that left it, once, a row that cannot be written set aside", () =>
    inDirectory((path) =>
      Effect.gen(function* () {
        const journals = FileJournals.make(path, () => true)
        const ledger = Ledger.layer({ incarnation: { host: "tests", process: "new", isGone: () => true }, journals })
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO accounts (id, purchased, leased) VALUES ('account', 1000000000000, 600000000000)`
        yield* sql`INSERT INTO entries (account, kind, d_allowance, d_purchased) VALUES ('account', 'topup', 0, 1000000000000)`
        const nodes = yield* sql`INSERT INTO ledger_nodes (host, process) VALUES ('tests', 'old') RETURNING id::text AS id`
        const node = String(nodes[0]?.["id"])
        yield* sql`INSERT INTO leases (account, node, granted) VALUES ('account', ${node}::text::bigint, 600000000000)`
        const books = yield* sql`SELECT id FROM ledger_book`
        yield* Effect.scoped(
          Effect.gen(function* () {
            const journal = yield* journals.open(String(books[0]?.["id"]), node)
            yield* journal.append([row("one"), row("one"), row("bad", { model: "a\u0000b" }), row("stranger", { account: "nobody" })])
            yield* Effect.provide(
              Effect.gen(function* () {
                const { balance, check, entries } = yield* Ledger
                assert.strictEqual((yield* balance("account")).available, Money.usd("0.75"))
                const page = yield* entries("account", { limit: 10, cursor: null })
                assert.deepStrictEqual(
                  page.data.map((entry) => [entry.kind, entry.request_id, entry.amount_usd]),
                  [
                    ["charge", "one", "-0.25"],
                    ["topup", null, "1.00"]
                  ]
                )
                const { violations } = yield* check
                assert.deepStrictEqual(
                  violations.map(({ detail }) => /the end of (\w+) could not be written/.exec(detail)?.[1]),
                  ["bad", "stranger"]
                )
              }),
              ledger
            )
          })
        )
        const leased = yield* sql`SELECT leased::text FROM accounts`
        assert.deepStrictEqual(leased, [{ leased: "0" }])
      }).pipe(Effect.provide(Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null)))))
    ))
})
