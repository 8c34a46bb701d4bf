import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as FileJournals from "../../layers/FileJournals.ts"
import * as PGlite from "../../layers/PGlite.ts"
import * as Money from "../../schemas/Money.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import type { SettleRow } from "../../src/ledger/LedgerBook.ts"
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
            yield* journal.clear
            assert.deepStrictEqual((yield* dead.left("book"))[0]?.rows, [])
          })
        )
        assert.deepStrictEqual(readdirSync(join(path, "book")), [], "an empty journal goes with its process")
      })
    ))

  it("promises nothing where it cannot write", () =>
    inDirectory((path) =>
      Effect.scoped(
        Effect.gen(function* () {
          writeFileSync(join(path, "book"), "a file where the directory should be")
          const journal = yield* FileJournals.make(path).open("book", "7")
          assert.isFalse(yield* journal.append([row("a")]))
          assert.isFalse(yield* journal.append([row("b")]))
        })
      )
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
