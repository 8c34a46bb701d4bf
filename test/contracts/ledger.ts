/**
 * What every ledger must do, whatever database it stands on.
 */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as Money from "../../schemas/Money.ts"
import { none } from "../../schemas/Usage.ts"
import { messageOf } from "../../src/database/Failures.ts"
import * as Charge from "../../src/ledger/Charge.ts"
import { type Hold, Ledger } from "../../src/ledger/Ledger.ts"
import { pricing } from "../support/scripted.ts"

type Database = Layer.Layer<SqlClient.SqlClient, unknown>

let names = 0
const incarnation = (isGone: (process: string) => boolean = () => false) => ({ host: "tests", process: `p${names++}`, isGone })
const ledgerOf = (isGone?: (process: string) => boolean) => Ledger.layer({ incarnation: incarnation(isGone) })

const charge = (cost: string) => ({
  _tag: "Charge" as const,
  cost: Money.usd(cost),
  model: "org/model",
  provider: "sandbox",
  pricing,
  usage: none
})

const account = Effect.fnUntraced(function* (purchased: string, allowance = "0") {
  const ledger = yield* Ledger
  const id = `account-${names++}-${Math.random()}`
  yield* ledger.open(id)
  if (Money.usd(purchased) > 0n)
    yield* ledger.grant({ accountId: id, kind: "topup", allowance: Money.zero, purchased: Money.usd(purchased), reference: "start" })
  if (Money.usd(allowance) > 0n)
    yield* ledger.grant({ accountId: id, kind: "allowance", allowance: Money.usd(allowance), purchased: Money.zero, reference: "month" })
  return id
})

const hold = Effect.fnUntraced(function* (accountId: string, amount: string, rid = `rid-${names++}-${Math.random()}`, minimum = amount) {
  const ledger = yield* Ledger
  return yield* ledger.hold({ accountId, rid, amount: Money.usd(amount), minimum: Money.usd(minimum), dailyUsd: "none" })
})

const settle = (held: Hold, cost: string) => Effect.flatMap(Ledger, (ledger) => ledger.settle(held, charge(cost)))
const balance = (id: string) => Effect.flatMap(Ledger, (ledger) => ledger.balance(id))
const entries = (id: string) =>
  Effect.flatMap(Ledger, (ledger) => Effect.map(ledger.entries(id, { limit: 1_000, cursor: null }), (page) => page.data))
const sound = Effect.flatMap(Ledger, (ledger) => Effect.map(ledger.check, (check) => assert.deepStrictEqual(check.violations, [])))

/** Another process on the same database. */
const another = Effect.fnUntraced(function* <A, E>(work: Effect.Effect<A, E, Ledger>, isGone?: (process: string) => boolean) {
  const sql = yield* SqlClient.SqlClient
  return yield* Effect.provide(work, ledgerOf(isGone).pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, sql))))
})

export const ledgerContract = (name: string, database: Database) =>
  layer(ledgerOf().pipe(Layer.provideMerge(database)), { excludeTestServices: true, timeout: 60_000 })(`the ledger on ${name}`, (it) => {
    const test = (title: string, work: () => Effect.Effect<void, unknown, Ledger | SqlClient.SqlClient | Scope.Scope>) =>
      it.effect(title, () => Effect.scoped(Effect.andThen(work(), sound)).pipe(Effect.orDie), 60_000)

    test("CM-6.3.3 a balance equal to the estimate passes, one picodollar less does not", () =>
      Effect.gen(function* () {
        const exact = yield* account("0.01")
        assert.strictEqual((yield* hold(exact, "0.01")).amount, Money.usd("0.01"))
        const short = yield* account("0.009999999999")
        const error = yield* Effect.flip(hold(short, "0.01"))
        assert.strictEqual(error._tag === "LedgerError" ? error.reason._tag : "", "InsufficientCredits")
      }))

    test("CM-6.4.1 two deductions with one request id move the balance once, also at the same time", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const [first, second] = [yield* hold(id, "0.1", "one-rid"), yield* hold(id, "0.1", "one-rid")]
        yield* Effect.all([settle(first, "0.05"), settle(second, "0.05")], { concurrency: "unbounded" })
        yield* settle(yield* hold(id, "0.1", "one-rid"), "0.05")
        assert.strictEqual((yield* balance(id)).available, Money.usd("0.95"))
        assert.strictEqual((yield* entries(id)).filter((entry) => entry.kind === "charge").length, 1)
      }))

    test("CM-6.4.2 two request ids are two deductions", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        yield* settle(yield* hold(id, "0.1"), "0.05")
        yield* settle(yield* hold(id, "0.1"), "0.025")
        assert.strictEqual((yield* balance(id)).available, Money.usd("0.925"))
      }))

    test("CM-6.2.1 CM-6.2.2 allowance pays before purchased credits, in one step across both", () =>
      Effect.gen(function* () {
        const id = yield* account("1", "0.3")
        yield* settle(yield* hold(id, "0.5"), "0.2")
        assert.deepInclude(yield* balance(id), { allowance: Money.usd("0.1"), purchased: Money.usd("1") })
        yield* settle(yield* hold(id, "0.5"), "0.25")
        assert.deepInclude(yield* balance(id), { allowance: Money.zero, purchased: Money.usd("0.85") })
        const [last] = yield* entries(id)
        assert.deepInclude(last, { amount_usd: "-0.25", allowance_usd: "-0.10", purchased_usd: "-0.15" })
      }))

    test("usage beyond the hold is charged as far as the balance goes, never below zero", () =>
      Effect.gen(function* () {
        const id = yield* account("0.1")
        yield* settle(yield* hold(id, "0.02"), "0.05")
        assert.strictEqual((yield* balance(id)).available, Money.usd("0.05"))
        yield* settle(yield* hold(id, "0.02"), "0.2")
        assert.strictEqual((yield* balance(id)).available, Money.zero)
      }))

    test("a day's spending and what is held stay within the cap of the day", () =>
      Effect.gen(function* () {
        const id = yield* account("10")
        const ledger = yield* Ledger
        const capped = (amount: string, minimum: string) =>
          ledger.hold({
            accountId: id,
            rid: `cap-${Math.random()}`,
            amount: Money.usd(amount),
            minimum: Money.usd(minimum),
            dailyUsd: Money.usd("1")
          })
        yield* settle(yield* capped("0.6", "0.6"), "0.5")
        const open = yield* capped("0.4", "0.4")
        assert.strictEqual((yield* Effect.flip(capped("0.2", "0.2"))).reason._tag, "DailyCapReached")
        assert.strictEqual((yield* capped("0.2", "0.05")).amount, Money.usd("0.1"))
        yield* settle(open, "0")
        assert.deepInclude(yield* balance(id), { available: Money.usd("9.4"), held: Money.usd("0.1") })
        // At once as well: what the cap leaves, or nothing where that is too little, and then nothing stays held.
        const atOnce = (minimum: string) =>
          ledger.tryHold({
            accountId: id,
            rid: `cap-${Math.random()}`,
            amount: Money.usd("0.2"),
            minimum: Money.usd(minimum),
            dailyUsd: Money.usd("0.65")
          })
        yield* hold(id, "0.2").pipe(Effect.flatMap(ledger.release))
        assert.isNull(atOnce("0.1"))
        assert.strictEqual((yield* balance(id)).held, Money.usd("0.1"))
      }))

    test("a hold without a bound takes what there is, at least its minimum", () =>
      Effect.gen(function* () {
        const id = yield* account("0.05")
        assert.strictEqual((yield* hold(id, "1", "clamped", "0.01")).amount, Money.usd("0.05"))
        const error = yield* Effect.flip(hold(id, "1", "refused", "0.01"))
        assert.include(String(error), "InsufficientCredits")
      }))

    test("a release and a refund give everything back; only the refund leaves an entry", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const ledger = yield* Ledger
        yield* ledger.release(yield* hold(id, "0.7"))
        yield* ledger.settle(yield* hold(id, "0.7", "refunded-rid"), {
          _tag: "Refund",
          model: "org/model",
          provider: "sandbox",
          why: "status_503"
        })
        assert.deepInclude(yield* balance(id), { available: Money.usd("1"), held: Money.zero })
        const [last, ...rest] = yield* entries(id)
        assert.deepInclude(last, { kind: "refund", request_id: "refunded-rid", amount_usd: "0.00" })
        assert.deepStrictEqual(
          rest.map((entry) => entry.kind),
          ["topup"]
        )
      }))

    test("what an operator takes may be on lease here: it is given back first, and what a request holds is not", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const ledger = yield* Ledger
        yield* settle(yield* hold(id, "0.3"), "0.25")
        const running = yield* hold(id, "0.1")
        const take = (amount: string) =>
          ledger.grant({ accountId: id, kind: "adjust", allowance: Money.zero, purchased: Money.usd(`-${amount}`), reference: amount })
        assert.isTrue(Exit.isFailure(yield* Effect.exit(take("0.7"))), "0.1 of the 0.75 is held")
        yield* take("0.65")
        assert.strictEqual((yield* balance(id)).available, Money.zero)
        yield* settle(running, "0.1")
        assert.strictEqual((yield* balance(id)).purchased, Money.zero)
      }))

    test("the same reference is granted once, and nothing is taken below zero", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const ledger = yield* Ledger
        const grant = { accountId: id, kind: "topup" as const, allowance: Money.zero, purchased: Money.usd("2"), reference: "invoice" }
        const made = yield* Effect.all([ledger.grant(grant), ledger.grant(grant), ledger.grant(grant)], { concurrency: "unbounded" })
        assert.strictEqual(new Set(made.map((entry) => entry.id)).size, 1)
        assert.strictEqual((yield* balance(id)).purchased, Money.usd("3"))
        assert.isTrue(
          Exit.isFailure(yield* Effect.exit(ledger.grant({ ...grant, kind: "adjust", purchased: Money.usd("-4"), reference: "too much" })))
        )
      }))

    test("exactly as many of many holds at once are granted as the balance pays for", () =>
      Effect.gen(function* () {
        const id = yield* account("0.2")
        const exits = yield* Effect.forEach(Array.from({ length: 200 }), () => Effect.exit(hold(id, "0.01")), { concurrency: "unbounded" })
        const granted = exits.filter(Exit.isSuccess)
        assert.strictEqual(granted.length, 20)
        yield* Effect.forEach(granted, (exit) => settle(exit.value, "0.01"), { concurrency: "unbounded" })
        assert.strictEqual((yield* balance(id)).available, Money.zero)
      }))

    test("two processes share an account to the last cent", () =>
      Effect.gen(function* () {
        const id = yield* account("0.2")
        const half = Effect.forEach(Array.from({ length: 100 }), () => Effect.exit(hold(id, "0.01")), { concurrency: "unbounded" }).pipe(
          Effect.map((exits) => exits.filter(Exit.isSuccess)),
          Effect.tap((granted) => Effect.forEach(granted, (exit) => settle(exit.value, "0.01"), { concurrency: "unbounded" }))
        )
        const [here, there] = yield* Effect.all([half, another(half)], { concurrency: "unbounded" })
        assert.strictEqual(here.length + there.length, 20)
        assert.strictEqual((yield* balance(id)).available, Money.zero)
      }))

    test("what a dead process held is back when another of its host looks", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const sql = yield* SqlClient.SqlClient
        // A process that dies: its Scope is never closed.
        const scope = yield* Scope.make()
        const dead = yield* Layer.buildWithScope(
          Layer.fresh(ledgerOf()).pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, sql))),
          scope
        )
        yield* Effect.provideService(hold(id, "0.9"), Ledger, Context.get(dead, Ledger))
        const error = yield* Effect.flip(hold(id, "0.5"))
        assert.include(String(error), "InsufficientCredits")
        yield* another(
          Effect.gen(function* () {
            assert.strictEqual((yield* hold(id, "0.5")).amount, Money.usd("0.5"))
          }),
          () => true
        )
        yield* Scope.close(scope, Exit.void)
      }))

    test("whatever ends holds in whatever order, the book holds what a plain sum holds", () =>
      Effect.gen(function* () {
        // A generator of its own, so that a failing history is the same history again.
        let seed = 20_261_124
        const random = () => {
          seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
          return seed / 2_147_483_648
        }
        const ids = [yield* account("0.5"), yield* account("3", "1"), yield* account("50")]
        const spent = new Map(ids.map((id) => [id, 0n]))
        const started = new Map<string, bigint>()
        for (const id of ids) started.set(id, (yield* balance(id)).available)
        const steps = Array.from({ length: 600 }, (_, i) => ({
          id: ids[Math.floor(random() * ids.length)] ?? "",
          rid: `history-${i}-${Math.random()}`,
          amount: Money.make(BigInt(Math.ceil(random() * 20_000_000_000))),
          share: random(),
          end: random()
        }))
        const ledger = yield* Ledger
        const step = Effect.fnUntraced(function* ({ amount, end, id, rid, share }: (typeof steps)[number]) {
          const held = yield* Effect.result(ledger.hold({ accountId: id, rid, amount, minimum: amount, dailyUsd: "none" }))
          if (held._tag === "Failure") return
          if (share < 0.5) yield* Effect.sleep(Math.floor(share * 10))
          if (end < 0.15) return yield* ledger.release(held.success)
          if (end < 0.3) return yield* ledger.settle(held.success, { _tag: "Refund", model: "m", provider: null, why: "test" })
          const cost = Money.make((amount * BigInt(Math.floor(share * 1_000))) / 1_000n)
          spent.set(id, (spent.get(id) ?? 0n) + cost)
          yield* ledger.settle(held.success, { ...charge("0"), cost })
        })
        yield* Effect.forEach(steps, step, { concurrency: 40 })
        for (const id of ids) {
          const { allowance, held, purchased } = yield* balance(id)
          assert.strictEqual(held, 0n)
          assert.strictEqual(allowance + purchased, (started.get(id) ?? 0n) - (spent.get(id) ?? 0n))
        }
      }))

    test("a process that is taken for dead in the middle of it all goes on under a new number, and overspends nothing", () =>
      Effect.gen(function* () {
        const ledger = yield* Ledger
        const sql = yield* SqlClient.SqlClient
        for (let round = 0; round < 10; round++) {
          const id = yield* account("0.5")
          let spent = 0n
          let steps = 0
          const step = Effect.fnUntraced(function* () {
            const share = Math.random()
            const amount = Money.make(BigInt(Math.ceil(Math.random() * 20_000_000_000)))
            const held = yield* Effect.result(
              ledger.hold({ accountId: id, rid: `fence-${id}-${steps}`, amount, minimum: amount, dailyUsd: "none" })
            )
            if (held._tag === "Failure") return
            if (share < 0.5) yield* Effect.sleep(Math.floor(share * 10))
            if (++steps === 20) yield* sql`SELECT ledger_take_over(${ledger.node()}::text::bigint, NULL)`
            if (share > 0.85) return yield* ledger.release(held.success)
            const cost = Money.make((amount * BigInt(Math.floor(share * 1_000))) / 1_000n)
            spent += cost
            yield* ledger.settle({ ...held.success, rid: `${held.success.rid}-${Math.random()}` }, { ...charge("0"), cost })
          })
          yield* Effect.forEach(Array.from({ length: 250 }), step, { concurrency: 40 })
          assert.strictEqual((yield* balance(id)).purchased, Money.usd("0.5") - spent)
        }
      }))

    test("an end that can never be written is set aside and told by the check, and keeps no other", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const ledger = yield* Ledger
        const sql = yield* SqlClient.SqlClient
        const holds = yield* Effect.forEach(Array.from({ length: 20 }), () => hold(id, "0.01"))
        yield* Effect.forEach(
          holds,
          (held, index) => ledger.settle(held, { ...charge("0.01"), model: index === 13 ? "no\u0000 text" : "org/model" }),
          { concurrency: "unbounded" }
        )
        assert.deepInclude(yield* balance(id), { available: Money.usd("0.81"), held: Money.zero })
        const check = yield* ledger.check
        assert.deepStrictEqual(
          check.violations.map(({ detail, invariant }) => [invariant, detail.includes(holds[13]?.rid ?? "?")]),
          [["I5", true]]
        )
        yield* sql`DELETE FROM ledger_quarantine`
      }))

    test("CM-6.2.4 at its renewal the allowance becomes the full amount: what was left is lost, not added", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const ledger = yield* Ledger
        yield* ledger.renew(id, Money.usd("150"), "2026-11")
        yield* ledger.renew(id, Money.usd("150"), "2026-11")
        yield* settle(yield* hold(id, "40"), "40")
        assert.deepInclude(yield* balance(id), { allowance: Money.usd("110"), purchased: Money.usd("1") })
        yield* ledger.renew(id, Money.usd("150"), "2026-12")
        assert.deepInclude(yield* balance(id), { allowance: Money.usd("150"), purchased: Money.usd("1") })
        assert.deepStrictEqual(
          (yield* entries(id)).slice(0, 2).map(({ allowance_usd, kind, reference }) => [kind, allowance_usd, reference]),
          [
            ["allowance", "150.00", "2026-12"],
            ["expiry", "-110.00", "2026-12"]
          ]
        )
      }))

    test("an allowance that ends while some of it is on lease ends with the lease, and the purchased part is never touched", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const ledger = yield* Ledger
        yield* ledger.renew(id, Money.usd("3"), "first")
        const open = yield* hold(id, "3.5")
        yield* ledger.renew(id, Money.zero, "downgrade")
        const during = yield* balance(id)
        assert.isTrue(during.allowance + during.purchased >= Money.usd("3.5"), "what is held is there")
        yield* settle(open, "0.5")
        yield* Effect.sleep(100)
        yield* ledger.trim
        assert.deepInclude(yield* balance(id), { allowance: Money.zero, purchased: Money.usd("1") })
        yield* ledger.trim
        assert.deepInclude(yield* balance(id), { available: Money.usd("1") })
      }))

    test("entries cannot be changed or taken away", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const sql = yield* SqlClient.SqlClient
        assert.isTrue(Exit.isFailure(yield* Effect.exit(sql`UPDATE entries SET d_purchased = 5 WHERE account = ${id}`)))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(sql`DELETE FROM entries WHERE account = ${id}`)))
      }))

    test("the check sees what does not add up", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const sql = yield* SqlClient.SqlClient
        const ledger = yield* Ledger
        yield* sql`UPDATE accounts SET purchased = purchased + 1 WHERE id = ${id}`
        const check = yield* ledger.check
        assert.isFalse(check.ok)
        assert.deepInclude(
          check.violations.map(({ account, invariant }) => ({ account, invariant })),
          { account: id, invariant: "I3" }
        )
        yield* sql`UPDATE accounts SET purchased = purchased - 1 WHERE id = ${id}`
      }))

    test("entries are final: they are neither changed, deleted nor emptied", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const sql = yield* SqlClient.SqlClient
        for (const change of ["UPDATE entries SET d_purchased = 5", "DELETE FROM entries", "TRUNCATE entries CASCADE"]) {
          const tried = yield* Effect.flip(sql.unsafe(change))
          assert.match(messageOf(tried), /entries are final/)
        }
        assert.strictEqual((yield* entries(id)).length, 1)
      }))

    test("a charge that nobody ended is settled by its Scope, once", () =>
      Effect.gen(function* () {
        const id = yield* account("1")
        const wanted = (rid: string) => ({
          accountId: id,
          rid,
          amount: Money.usd("0.5"),
          minimum: Money.usd("0.5"),
          dailyUsd: "none" as const
        })
        const rid = `scope-${Math.random()}`
        yield* Effect.scoped(Charge.open(wanted(rid), () => charge("0.1")))
        yield* Effect.scoped(
          Effect.flatMap(
            Charge.open(wanted(`${rid}-ended`), () => charge("0.4")),
            (open) => Effect.andThen(open.end(charge("0.2")), open.end(charge("0.3")))
          )
        )
        assert.deepInclude(yield* balance(id), { available: Money.usd("0.7"), held: Money.zero })
      }))
  })
