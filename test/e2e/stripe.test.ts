/**
 * Payments: Stripe's events as Stripe signs and sends them, in any order and number.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Stripe } from "stripe"
import { inject } from "vitest"
import { freshDatabase, runSql } from "../support/database.ts"
import {
  creditsOf,
  entriesOf,
  eventually,
  type RunningServer,
  serviceSettings,
  startServer,
  temporaryDirectory
} from "../support/server.ts"
import { startPostgres } from "../support/services.ts"

const SECRET = "whsec_of_the_tests"
const { webhooks } = new Stripe("none")

let events = 0
const event = (type: string, object: object, more: object = {}) => ({
  id: `evt_${process.pid}_${events++}`,
  object: "event",
  type,
  created: Math.floor(Date.now() / 1_000),
  data: { object },
  ...more
})

const session = (user: string | null, payment: string, cents: number, more: object = {}) =>
  event("checkout.session.completed", {
    id: `cs_${payment}`,
    object: "checkout.session",
    mode: "payment",
    payment_status: "paid",
    payment_intent: payment,
    client_reference_id: user,
    amount_total: cents,
    currency: "usd",
    metadata: {},
    ...more
  })

const intent = (user: string, payment: string, cents: number) =>
  event("payment_intent.succeeded", {
    id: payment,
    object: "payment_intent",
    amount: cents,
    amount_received: cents,
    currency: "usd",
    metadata: { user_id: user }
  })

const refunded = (payment: string, cents: number) =>
  event("charge.refunded", { id: `ch_${payment}`, object: "charge", payment_intent: payment, amount_refunded: cents, currency: "usd" })

const send = async (server: RunningServer, body: object, options: { readonly secret?: string; readonly signature?: string } = {}) => {
  const payload = JSON.stringify(body)
  const signature = options.signature ?? webhooks.generateTestHeaderString({ payload, secret: options.secret ?? SECRET })
  const response = await fetch(`${server.url}/api/stripe/webhook`, {
    method: "POST",
    headers: { "content-type": "application/json", "stripe-signature": signature },
    body: payload
  })
  return response.status
}

describe("the Stripe webhook", () => {
  let server: RunningServer
  let settings: Record<string, string>
  let database: string
  let users = 0
  const directory = temporaryDirectory()
  beforeAll(async () => {
    database = await freshDatabase(inject("databaseUrl"))
    settings = { ...serviceSettings(database), DATA_DIR: directory.path, STRIPE_WEBHOOK_SECRET: SECRET }
    server = await startServer(settings)
  })
  afterAll(async () => {
    await server?.stop()
    directory.remove()
  })

  const newUser = async (more: object = {}) => {
    const made = await server.admin<{ user: { id: string }; api_key: string; referral_code: string }>("POST", "/admin/users", {
      email: `payer${users++}@example.com`,
      ...more
    })
    return { id: made.body.user.id, key: made.body.api_key, referralCode: made.body.referral_code }
  }
  const kept = (id: string) => runSql(database, `SELECT state, attempts::text AS attempts FROM stripe_events WHERE id = '${id}'`)
  const purchased = async (key: string) => (await creditsOf(server, key)).purchased_usd
  const settled = (id: string) => eventually(async () => assert.notInclude(["pending", undefined], Object(await kept(id))[0]?.state))

  it("grants a purchase once, whatever the order and number of its events", async () => {
    for (const order of [0, 1, 2]) {
      const user = await newUser()
      const payment = `pi_order${order}`
      const [whole, part] = [session(user.id, payment, 2_050), intent(user.id, payment, 2_050)]
      const again = { ...whole, id: `${whole.id}_again`, type: "checkout.session.async_payment_succeeded" }
      const bursts = [
        [whole, whole, whole, part, again],
        [part, part, whole, again],
        [again, part, whole]
      ]
      const statuses = await Promise.all((bursts[order] ?? []).map((each) => send(server, each)))
      assert.deepStrictEqual([...new Set(statuses)], [200])
      for (const each of [whole, part, again]) await settled(each.id)
      assert.strictEqual(await purchased(user.key), "25.50")
      const topups = (await entriesOf(server, user.key)).filter((entry) => entry.kind === "topup" && entry.amount_usd === "20.50")
      assert.strictEqual(topups.length, 1)
    }
  })

  it("takes an event that does not say when it was made", async () => {
    const user = await newUser()
    for (const [index, created] of [undefined, null].entries()) {
      const undated = { ...session(user.id, `pi_undated${index}`, 1_000), created }
      assert.strictEqual(await send(server, undated), 200)
      await settled(undated.id)
    }
    assert.strictEqual(await purchased(user.key), "25.00")
  })

  it("CM-16.5 answers 200 also when the signature is bad or processing fails; a bad one is not applied, a failed one is kept and tried again", async () => {
    const user = await newUser()
    for (const wrong of [{ secret: "whsec_of_somebody_else" }, { signature: "" }, { signature: "t=1,v1=00" }, { signature: "nonsense" }]) {
      const forged = session(user.id, "pi_forged", 1_000_000)
      assert.strictEqual(await send(server, forged, wrong), 200)
      assert.deepStrictEqual(await kept(forged.id), [])
    }
    const old = session(user.id, "pi_old", 5_000)
    const payload = JSON.stringify(old)
    const signature = webhooks.generateTestHeaderString({ payload, secret: SECRET, timestamp: Math.floor(Date.now() / 1_000) - 3_600 })
    assert.strictEqual(await send(server, old, { signature }), 200)
    assert.deepStrictEqual(await kept(old.id), [], "a signature of an hour ago may be replayed by anybody")
    assert.strictEqual(await purchased(user.key), "5.00")

    // A refund that comes before its purchase cannot be processed yet.
    const early = refunded("pi_late", 1_000)
    assert.strictEqual(await send(server, early), 200)
    await eventually(async () => assert.deepInclude(Object((await kept(early.id))[0]), { state: "pending" }))
    await eventually(async () => assert.isAbove(Number(Object((await kept(early.id))[0]).attempts), 1))
    assert.strictEqual(await send(server, session(user.id, "pi_late", 3_000)), 200)
    await eventually(async () => assert.strictEqual(await purchased(user.key), "25.00"), 15_000)
    assert.deepStrictEqual(Object((await kept(early.id))[0]).state, "done")
  }, 30_000)

  it("an event that came just before a kill -9 is processed by the next start", async () => {
    const user = await newUser()
    const paid = Array.from({ length: 20 }, (_, i) => session(user.id, `pi_killed${i}`, 100))
    assert.deepStrictEqual([...new Set(await Promise.all(paid.map((each) => send(server, each))))], [200])
    await server.stop("SIGKILL")
    server = await startServer(settings)
    await eventually(async () => assert.strictEqual(await purchased(user.key), "25.00"), 10_000)
  })

  it("other currencies, unnamed payers and unknown users grant nothing, and wait for the operator", async () => {
    const user = await newUser()
    const cases = [
      session(user.id, "pi_eur", 1_000, { currency: "eur" }),
      session(null, "pi_unnamed", 1_000),
      session("nobody", "pi_nobody", 1_000)
    ]
    for (const each of cases) assert.strictEqual(await send(server, each), 200)
    for (const each of cases) {
      await eventually(async () => assert.isAbove(Number(Object((await kept(each.id))[0]).attempts), 0))
      assert.strictEqual(Object((await kept(each.id))[0]).state, "pending")
    }
    const unpaid = session(user.id, "pi_unpaid", 1_000, { payment_status: "unpaid" })
    await send(server, unpaid)
    await settled(unpaid.id)
    assert.strictEqual(await purchased(user.key), "5.00")
  })

  it("refunds take back what is left, once for each cent", async () => {
    const user = await newUser()
    await send(server, session(user.id, "pi_back", 2_000))
    await eventually(async () => assert.strictEqual(await purchased(user.key), "25.00"))
    const [first, second] = [refunded("pi_back", 500), refunded("pi_back", 2_000)]
    for (const each of [first, first, second]) await send(server, each)
    await settled(first.id)
    await settled(second.id)
    assert.strictEqual(await purchased(user.key), "5.00")
    assert.deepInclude((await server.admin("GET", "/admin/ledger/check")).body, { ok: true })
  })

  it("the first purchase ends the trial; 10 USD or more rewards who brought the user, once", async () => {
    const friend = await newUser()
    const user = await newUser({ referral_code: friend.referralCode })
    await send(server, session(user.id, "pi_first", 1_000))
    await eventually(async () => assert.strictEqual(await purchased(user.key), "25.00"))
    await send(server, session(user.id, "pi_second", 1_000))
    await eventually(async () => assert.strictEqual(await purchased(user.key), "35.00"))
    assert.strictEqual(await purchased(friend.key), "15.00")
    assert.deepInclude((await server.admin("GET", `/admin/users/${user.id}`)).body, { plan: "dev", status: "active", trial: null })
    const small = await newUser({ referral_code: friend.referralCode })
    await send(server, session(small.id, "pi_small", 999))
    await eventually(async () => assert.strictEqual(await purchased(small.key), "14.99"))
    assert.strictEqual(await purchased(friend.key), "15.00")
  })

  it("a subscription sets the plan; an older event that comes later changes nothing", async () => {
    const user = await newUser()
    const subscription = (type: string, status: string, created: number) =>
      event(
        `customer.subscription.${type}`,
        { id: `sub_${user.id}`, object: "subscription", status, metadata: { user_id: user.id, plan: "team" } },
        { created }
      )
    const now = Math.floor(Date.now() / 1_000)
    const [made, ended, late] = [
      subscription("created", "active", now),
      subscription("deleted", "canceled", now + 60),
      subscription("updated", "active", now + 30)
    ]
    await send(server, made)
    await settled(made.id)
    assert.deepInclude((await server.admin("GET", `/admin/users/${user.id}`)).body, { plan: "team", role: "team" })
    assert.deepInclude(await creditsOf(server, user.key), { allowance_usd: "150.00" })
    await send(server, ended)
    await settled(ended.id)
    await send(server, late)
    await settled(late.id)
    assert.deepInclude((await server.admin("GET", `/admin/users/${user.id}`)).body, { plan: "dev" })
    assert.deepInclude(await creditsOf(server, user.key), { allowance_usd: "0.00", purchased_usd: "5.00" })
  })
})

describe("the Stripe webhook's edges", () => {
  const directory = temporaryDirectory()
  afterAll(() => directory.remove())

  it("503 where the event could not be kept, so that Stripe sends it again", async () => {
    const postgres = await startPostgres()
    const server = await startServer({ ...serviceSettings(postgres.url), DATA_DIR: directory.path, STRIPE_WEBHOOK_SECRET: SECRET })
    try {
      const made = await server.admin<{ user: { id: string }; api_key: string }>("POST", "/admin/users", { email: "down@example.com" })
      const paid = session(made.body.user.id, "pi_down", 700)
      await postgres.crash()
      assert.strictEqual(await send(server, paid), 503)
      await postgres.restart()
      await eventually(async () => assert.strictEqual(await send(server, paid), 200), 10_000)
      await eventually(async () => assert.strictEqual((await creditsOf(server, made.body.api_key)).purchased_usd, "12.00"), 10_000)
    } finally {
      await server.stop()
      await postgres.stop()
    }
  }, 60_000)

  it("without a secret: 200, and nothing is recorded", async () => {
    const database = await freshDatabase(inject("databaseUrl"))
    const server = await startServer({ ...serviceSettings(database), DATA_DIR: directory.path })
    try {
      assert.strictEqual(await send(server, session("somebody", "pi_none", 100)), 200)
      assert.deepStrictEqual(await runSql(database, "SELECT id FROM stripe_events"), [])
    } finally {
      await server.stop()
    }
  })
})
