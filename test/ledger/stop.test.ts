/**
 * A committer that is told to end while its database takes nothing.
 */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Logger, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as DirectoryLock from "../../layers/DirectoryLock.ts"
import * as Embedded from "../../layers/Embedded.ts"
import * as FileJournals from "../../layers/FileJournals.ts"
import * as Money from "../../schemas/Money.ts"
import { make } from "../../src/ledger/Committer.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import type { LedgerBook, SettleRow } from "../../src/ledger/LedgerBook.ts"
import { temporaryDirectory } from "../support/server.ts"

const row: SettleRow = {
  account: "account",
  kind: "charge",
  rid: "left",
  cost: "250000000000",
  hold: "0",
  fromLease: "0",
  model: "org/model",
  provider: "p",
  price: null,
  usage: null
}
const input = { ...row, cost: 250_000_000_000n, hold: 0n }

/** A book of which only the commits are of interest. */
const bookOf = (commit: LedgerBook["commit"]): LedgerBook => ({
  id: Effect.succeed("book"),
  register: () => Effect.succeed("7"),
  commit,
  takeOver: () => Effect.die("nobody is taken over"),
  quarantine: () => Effect.die("nothing is set aside"),
  liveNodes: () => Effect.succeed([]),
  silentNodes: () => Effect.succeed([])
})

const incarnation = { host: "tests", process: "first", isGone: () => false }
const away = Effect.fail(new Error("connect ECONNREFUSED"))

/** Begins a committer over a book, has it settle one end, and tells it to end. */
const ended = (path: string, book: LedgerBook, beforeMs: number) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const journals = FileJournals.make(path)
    const committer = yield* Scope.provide(make(book, { incarnation, journals, settleWaitMs: 3_600_000 }), scope)
    committer.settle(input)
    yield* TestClock.adjust(beforeMs)
    return yield* Effect.forkChild(Scope.close(scope, Exit.void))
  })

const keptIn = (path: string) =>
  Effect.map(FileJournals.make(path, () => true).left("book"), (left) => left.flatMap(({ rows }) => rows.map(({ rid }) => rid)))

const inDirectory = <A>(work: (path: string) => Effect.Effect<A, unknown>) =>
  Effect.acquireUseRelease(
    Effect.sync(temporaryDirectory),
    ({ path }) => work(path),
    ({ remove }) => Effect.sync(remove)
  )

describe("a stop of the ledger", () => {
  const cases: ReadonlyArray<readonly [string, Effect.Effect<never, unknown>]> = [
    ["is away", away],
    ["is silent", Effect.never],
    ["is silent and cannot be left", Effect.uninterruptible(Effect.never)]
  ]
  for (const [name, answer] of cases) {
    it.effect(`ends in time while the database ${name}: the end is in the journal, and no other batch is begun`, () =>
      inDirectory((path) =>
        Effect.gen(function* () {
          const numbers: Array<number> = []
          const book = bookOf((_node, number) =>
            Effect.andThen(
              Effect.sync(() => numbers.push(number)),
              answer
            )
          )
          const closing = yield* ended(path, book, 1_000)
          yield* TestClock.adjust(9_000)
          yield* Fiber.join(closing)
          assert.deepStrictEqual(yield* keptIn(path), ["left"])
          assert.deepStrictEqual([...new Set(numbers)], [1])
          const tries = numbers.length
          yield* TestClock.adjust(60_000)
          assert.strictEqual(numbers.length, tries, "who gave up asks no more")
        })
      )
    )
  }

  it.effect("says so when the journal cannot be written either", () =>
    inDirectory((path) => {
      const said: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void said.push(`${logLevel} ${message}`))
      return Effect.gen(function* () {
        const closing = yield* ended(
          join(path, "\u0000"),
          bookOf(() => away),
          1_000
        )
        yield* TestClock.adjust(9_000)
        yield* Fiber.join(closing)
        assert.match(said.at(-1) ?? "", /Error.*1 settlements are left.*1 of them may be lost.*left/)
      }).pipe(Effect.provide(Logger.layer([logger])))
    })
  )

  it.effect("an outage is told when it begins, every half minute, and when it is over", () =>
    inDirectory((path) => {
      const said: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void said.push(`${logLevel} ${message}`.slice(0, 40)))
      let isAway = true
      return Effect.gen(function* () {
        const scope = yield* Scope.make()
        const book = bookOf(() => Effect.suspend(() => (isAway ? away : Effect.succeed([]))))
        const committer = yield* Scope.provide(make(book, { incarnation, journals: FileJournals.make(path) }), scope)
        committer.settle(input)
        yield* TestClock.adjust(70_000)
        isAway = false
        yield* TestClock.adjust(1_000)
        assert.deepStrictEqual(
          said.filter((line) => !line.includes("Leases of other")),
          [
            "Warn A ledger batch failed and is sent a",
            "Warn The database has taken no ledger ba",
            "Warn The database has taken no ledger ba",
            "Info The database takes ledger batches a"
          ]
        )
      }).pipe(Effect.provide(Logger.layer([logger])))
    })
  )
})

describe("an embedded process", () => {
  it(
    "takes over the journal of one before it that the kernel cannot tell from it",
    () =>
      Effect.runPromise(
        inDirectory((dataDir) => {
          const ledger = Effect.flatMap(Ledger, (service) =>
            Effect.andThen(
              service.open("account"),
              service.grant({ accountId: "account", kind: "topup", allowance: Money.zero, purchased: Money.usd("1"), reference: "start" })
            )
          )
          const bookId = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT id FROM ledger_book`)
          const journals = FileJournals.make(join(dataDir, "journal"), () => true, DirectoryLock.currentProcess())
          return Effect.gen(function* () {
            const [book] = yield* Effect.provide(Effect.andThen(ledger, bookId), Embedded.layer({ dataDir }))
            const name = String(book?.["id"])
            yield* Effect.scoped(Effect.flatMap(journals.open(name, "1"), (journal) => journal.append([row])))
            const { data } = yield* Effect.flatMap(Ledger, (service) => service.entries("account", { limit: 10, cursor: null })).pipe(
              Effect.provide(Embedded.layer({ dataDir }))
            )
            assert.deepStrictEqual(
              data.map((entry) => [entry.kind, entry.request_id]),
              [
                ["charge", "left"],
                ["topup", null]
              ]
            )
            assert.deepStrictEqual(readdirSync(join(dataDir, "journal", name)), [])
          })
        })
      ),
    60_000
  )
})
