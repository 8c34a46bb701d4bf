import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import * as NodeCrypto from "../../layers/NodeCrypto.ts"
import * as PGlite from "../../layers/PGlite.ts"
import * as Money from "../../schemas/Money.ts"
import { none } from "../../schemas/Usage.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { Accounts } from "../../src/identity/Accounts.ts"
import { AuditLog } from "../../src/identity/AuditLog.ts"
import { AuthCache } from "../../src/identity/AuthCache.ts"
import * as Fernet from "../../src/identity/Fernet.ts"
import { Keys } from "../../src/identity/Keys.ts"
import { Partners } from "../../src/identity/Partners.ts"
import { monthsAfter, periodAt, Renewals } from "../../src/identity/Renewals.ts"
import { Trials } from "../../src/identity/Trials.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"
import { pricing } from "../support/scripted.ts"

const ledger = Ledger.layer({ incarnation: { host: "allowance", process: "allowance", isGone: () => false } })
const fernetKey = Redacted.make(Buffer.alloc(32, 9).toString("base64url"))
const keys = Layer.unwrap(Effect.map(Fernet.make([fernetKey]), (fernet) => Keys.layer({ environment: "test", fernet })))
const house = Accounts.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(keys, Partners.layer, Renewals.layer, Trials.layer, AuditLog.layer)),
  Layer.provideMerge(
    Layer.mergeAll(
      AuthCache.layer.pipe(Layer.provideMerge(Broadcast.layerMemory)),
      NodeCrypto.layer(Redacted.make("sixteen characters")),
      SecureRandom.layerWebCrypto,
      ledger
    )
  ),
  Layer.provideMerge(Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null))))
)

let users = 0
const newUser = (plan: "dev" | "team" | "trial") =>
  Effect.flatMap(Accounts, (accounts) => Effect.map(accounts.create({ email: `a${users++}@example.com`, plan }), ({ user }) => user))

const balance = (id: string) => Effect.flatMap(Ledger, (book) => book.balance(id))

const spend = Effect.fnUntraced(function* (accountId: string, usd: string) {
  const book = yield* Ledger
  const amount = Money.usd(usd)
  const held = yield* book.hold({ accountId, rid: `r${users++}-${Math.random()}`, amount, minimum: amount, dailyUsd: "none" })
  yield* book.settle(held, { _tag: "Charge", cost: amount, model: "m", provider: "p", pricing, usage: none })
})

const DAY = 24 * 3_600_000

/** Does what is due at another time. */
const renewAfter = Effect.fnUntraced(function* (ms: number) {
  const clock = yield* Clock.Clock
  const then = clock.currentTimeMillisUnsafe() + ms
  const renewals = yield* Renewals
  const shifted: Clock.Clock = Object.assign(Object.create(clock), {
    currentTimeMillisUnsafe: () => then,
    currentTimeMillis: Effect.succeed(then)
  })
  return yield* Effect.provideService(renewals.renewDue, Clock.Clock, shifted)
})

layer(house, { excludeTestServices: true, timeout: 60_000 })("allowance and purchased credits", (it) => {
  it.effect("CM-6.2.1 the allowance falls first, purchased credits stay", () =>
    Effect.gen(function* () {
      const { id } = yield* newUser("team")
      yield* spend(id, "2.5")
      assert.deepInclude(yield* balance(id), { allowance: Money.usd("147.5"), purchased: Money.usd("5") })
    })
  )

  it.effect("CM-6.2.2 a cost above the allowance empties it and takes only the rest from purchased credits", () =>
    Effect.gen(function* () {
      const { id } = yield* newUser("team")
      yield* spend(id, "151.25")
      assert.deepInclude(yield* balance(id), { allowance: Money.zero, purchased: Money.usd("3.75") })
      const page = yield* (yield* Ledger).entries(id, { limit: 1, cursor: null })
      assert.deepInclude(page.data[0], { amount_usd: "-151.25", allowance_usd: "-150.00", purchased_usd: "-1.25" })
    })
  )

  it.effect("CM-6.2.3 purchased credits never expire: ten years on the clock change nothing", () =>
    Effect.gen(function* () {
      const { id } = yield* newUser("dev")
      const book = yield* Ledger
      yield* book.grant({
        accountId: id,
        kind: "topup",
        allowance: Money.zero,
        purchased: Money.usd("7.000000000001"),
        reference: "bought"
      })
      for (let year = 1; year <= 10; year++) yield* renewAfter(year * 366 * DAY)
      assert.deepInclude(yield* balance(id), { allowance: Money.zero, purchased: Money.usd("12.000000000001") })
    })
  )

  it.effect("CM-6.2.4 a month on, the allowance is the plan's full amount again: what was left is lost, and it is renewed once", () =>
    Effect.gen(function* () {
      const { id } = yield* newUser("team")
      yield* spend(id, "30")
      yield* renewAfter(20 * DAY)
      assert.deepInclude(yield* balance(id), { allowance: Money.usd("120") })
      yield* renewAfter(32 * DAY)
      yield* Effect.all([renewAfter(32 * DAY), renewAfter(33 * DAY)], { concurrency: 2 })
      assert.deepInclude(yield* balance(id), { allowance: Money.usd("150"), purchased: Money.usd("5") })
      const page = yield* (yield* Ledger).entries(id, { limit: 10, cursor: null })
      assert.deepStrictEqual(
        page.data.map(({ allowance_usd, kind }) => `${kind} ${allowance_usd}`),
        ["allowance 150.00", "expiry -120.00", "charge -30.00", "allowance 150.00", "topup 0.00"]
      )
      // After a long time away there is one allowance, not one for each month.
      yield* renewAfter(200 * DAY)
      assert.deepInclude(yield* balance(id), { allowance: Money.usd("150") })
    })
  )

  it.effect("CM-7.10 any plan change leaves purchased credits unchanged to the last digit; the allowance goes with its plan", () =>
    Effect.gen(function* () {
      const { id } = yield* newUser("trial")
      const book = yield* Ledger
      const accounts = yield* Accounts
      yield* book.grant({ accountId: id, kind: "topup", allowance: Money.zero, purchased: Money.usd("0.123456789012"), reference: "odd" })
      const plans = ["dev", "team", "team", "enterprise", "trial", "team", "dev"] as const
      for (const plan of plans) {
        const user = yield* accounts.setPlan(id, plan)
        assert.strictEqual(user.plan, plan)
        assert.deepInclude(yield* balance(id), {
          purchased: Money.usd("5.123456789012"),
          allowance: plan === "team" ? Money.usd("150") : Money.zero
        })
      }
      assert.deepStrictEqual((yield* book.check).violations, [])
    })
  )
})

describe("periods", () => {
  const at = (text: string) => Date.parse(text)

  it("are months from the day a plan began, at most on a month's last day", () => {
    assert.strictEqual(monthsAfter(at("2026-01-31T10:20:30Z"), 1), at("2026-02-28T10:20:30Z"))
    assert.strictEqual(monthsAfter(at("2026-01-31T10:20:30Z"), 2), at("2026-03-31T10:20:30Z"))
    assert.strictEqual(monthsAfter(at("2027-11-15T00:00:00Z"), 15), at("2029-02-15T00:00:00Z"))
    const since = at("2026-01-31T10:00:00Z")
    assert.deepStrictEqual(periodAt(since, since), { start: since, end: at("2026-02-28T10:00:00Z") })
    assert.deepStrictEqual(periodAt(since, at("2026-02-28T10:00:00Z")).start, at("2026-02-28T10:00:00Z"))
    assert.deepStrictEqual(periodAt(since, at("2026-03-31T09:59:59Z")).start, at("2026-02-28T10:00:00Z"))
    assert.deepStrictEqual(periodAt(since, at("2027-01-31T10:00:00Z")).start, at("2027-01-31T10:00:00Z"))
  })
})
