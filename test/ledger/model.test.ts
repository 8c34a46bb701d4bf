/**
 * The ledger against a plain one: random operations on many accounts at once, each answer and each balance compared with what
 * a few sums say.
 *
 * `MODEL_OPERATIONS` plays more or fewer (`npm run test:long` plays a million), `MODEL_SEED` another history.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, References } from "effect"
import { inject } from "vitest"
import * as PGlite from "../../layers/PGlite.ts"
import * as Postgres from "../../layers/Postgres.ts"
import * as Money from "../../schemas/Money.ts"
import { none } from "../../schemas/Usage.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { type Hold, Ledger } from "../../src/ledger/Ledger.ts"
import { freshDatabase } from "../support/database.ts"
import { seeded } from "../support/seeded.ts"

const OPERATIONS = Number(process.env["MODEL_OPERATIONS"] ?? 20_000)
const SEED = Number(process.env["MODEL_SEED"] ?? 1)
const ACCOUNTS = 200

const pricing = { prompt: Money.usd("0.000001"), completion: Money.usd("0.000002") }

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)

/** The plain ledger of one account: no leases, no batches, no database. */
class PlainAccount {
  allowance = 0n
  purchased = 0n
  readonly open = new Set<Hold>()
  readonly ended = new Set<string>()

  get available(): bigint {
    let sum = this.allowance + this.purchased
    for (const held of this.open) sum -= held.amount
    return sum
  }

  charge(held: Hold, cost: bigint): void {
    this.open.delete(held)
    if (this.ended.has(held.rid)) return
    this.ended.add(held.rid)
    const due = least(cost, this.available)
    const fromAllowance = least(due, this.allowance)
    this.allowance -= fromAllowance
    this.purchased -= due - fromAllowance
  }

  release(held: Hold, leavesEntry: boolean): void {
    this.open.delete(held)
    if (leavesEntry) this.ended.add(held.rid)
  }
}

const play = Effect.fnUntraced(function* (id: string, operations: number, seed: number) {
  const ledger = yield* Ledger
  const random = seeded(seed)
  const below = (most: number): bigint => BigInt(Math.floor(random() * most))
  const plain = new PlainAccount()
  const holds: Array<Hold> = []
  let serial = 0
  const where = (at: number) => `account ${id}, operation ${at}; again: MODEL_SEED=${SEED} npm test -- test/ledger/model`

  const grant = Effect.fnUntraced(function* (at: number) {
    const [allowance, purchased] = [below(2) * below(3_000_000_000), below(5_000_000_000) + 1n]
    yield* ledger.grant({
      accountId: id,
      kind: "topup",
      allowance: Money.make(allowance),
      purchased: Money.make(purchased),
      reference: `grant-${at}`
    })
    plain.allowance += allowance
    plain.purchased += purchased
  })

  const hold = Effect.fnUntraced(function* (at: number) {
    const amount = Money.make(below(400_000_000) + 1n)
    // Now and then a request comes again under an id that has ended: it must change nothing.
    const again = random() < 0.05 && plain.ended.size > 0 ? [...plain.ended].at(-1) : undefined
    const rid = again ?? `${id}-${serial++}`
    const result = yield* Effect.result(ledger.hold({ accountId: id, rid, amount, minimum: amount, dailyUsd: "none" }))
    assert.strictEqual(result._tag === "Success", plain.available >= amount, `${where(at)}: ${plain.available} for a hold of ${amount}`)
    if (result._tag === "Failure") return void assert.strictEqual(result.failure.reason._tag, "InsufficientCredits", where(at))
    holds.push(result.success)
    plain.open.add(result.success)
  })

  const end = Effect.fnUntraced(function* () {
    const held = holds.splice(Math.floor(random() * holds.length), 1)[0]
    if (held === undefined) return
    const how = random()
    if (how < 0.15) {
      plain.release(held, false)
      return yield* ledger.release(held)
    }
    if (how < 0.25) {
      plain.release(held, true)
      return yield* ledger.settle(held, { _tag: "Refund", model: "m", provider: null, why: "test" })
    }
    // Sometimes more was used than was held.
    const cost = (held.amount * below(how > 0.95 ? 4_000 : 1_001)) / 1_000n
    plain.charge(held, cost)
    yield* ledger.settle(held, { _tag: "Charge", cost: Money.make(cost), model: "m", provider: "p", pricing, usage: none })
  })

  const compare = Effect.fnUntraced(function* (at: number) {
    const { allowance, available, held, purchased } = yield* ledger.balance(id)
    const sum = [...plain.open].reduce((total, { amount }) => total + amount, 0n)
    assert.deepStrictEqual(
      { allowance, available, held, purchased },
      { allowance: plain.allowance, available: plain.available, held: sum, purchased: plain.purchased },
      where(at)
    )
  })

  yield* ledger.open(id)
  for (let at = 0; at < operations; at++) {
    const which = random()
    if (which < 0.02) yield* grant(at)
    else if (which < 0.55 && holds.length < 20) yield* hold(at)
    else yield* end()
    if (at % 100 === 99) yield* compare(at)
  }
  while (holds.length > 0) yield* end()
  yield* compare(operations)
})

const history = Effect.gen(function* () {
  const each = Math.ceil(OPERATIONS / ACCOUNTS)
  const accounts = Array.from({ length: ACCOUNTS }, (_, index) => index)
  yield* Effect.forEach(accounts, (index) => play(`model-${index}`, each, SEED * 1_000 + index), { concurrency: 64 })
  const ledger = yield* Ledger
  const check = yield* ledger.check
  assert.deepStrictEqual(check.violations, [])
  assert.isAbove(check.entries, OPERATIONS / 10)
})

const url = await freshDatabase(inject("databaseUrl"))
const ledger = Ledger.layer({ incarnation: { host: "model", process: "model", isGone: () => false } })

const databases = [
  ["PGlite", PGlite.layer(null)],
  ["Postgres", Postgres.layer({ url: Redacted.make(url) })]
] as const

describe("the ledger against a plain one", () => {
  for (const [name, database] of databases) {
    const layer = ledger.pipe(Layer.provideMerge(Migrations.layer), Layer.provideMerge(database))
    it.live(
      `says what plain sums say in ${OPERATIONS} operations, on ${name}`,
      () => history.pipe(Effect.provide(layer), Effect.provideService(References.MinimumLogLevel, "Fatal"), Effect.orDie),
      3_600_000
    )
  }
})
