/**
 * Section 16: what customers are told of, and how it reaches them; against the running server.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { type Received, type Receiver, startReceiver, verify } from "../support/receiver.ts"
import { type Customer, creditsOf, eventually, jsonCall, newCustomer, openAi } from "../support/server.ts"

interface Made {
  readonly id: string
  readonly secret: string
}
interface Delivery {
  readonly id: string
  readonly event_id: string
  readonly type: string
  readonly attempt: number
  readonly status: string
  readonly status_code: number | null
  readonly duration_ms: number | null
  readonly error: string | null
  readonly next_at: string | null
  readonly created_at: string
}

const home = house({ WEBHOOK_ALLOWED_NETWORKS: "127.0.0.0/8" })
let receiver: Receiver
let paths = 0
beforeAll(async () => {
  receiver = await startReceiver()
})
afterAll(() => receiver?.close())

const call = <A = Record<string, unknown>>(key: string, method: string, path: string, body?: unknown) =>
  jsonCall<A>(home.server.url, key, method, path, body)

const subscribe = async (customer: Customer, events: ReadonlyArray<string>) => {
  const path = `/hook${paths++}`
  const made = await call<Made>(customer.key, "POST", "/v1/webhooks", { url: receiver.url + path, events })
  assert.strictEqual(made.status, 201, JSON.stringify(made.body))
  return { path, ...made.body }
}

/** Uses some credits: the sandbox's prices are its own. */
const spend = async (customer: Customer, words = 50) => {
  const answer = await openAi(home.server, customer.key).chat.completions.create({
    model: "sandbox/lorem",
    messages: [{ role: "user", content: "go" }],
    max_tokens: words
  })
  assert.isDefined(answer.choices[0])
}
const adjust = (customer: Customer, amount: string, reference: string) =>
  home.server.admin("POST", `/admin/users/${customer.id}/credits`, { amount_usd: amount, reference })
const deliveriesOf = async (customer: Customer, id: string) =>
  (await call<{ data: ReadonlyArray<Delivery> }>(customer.key, "GET", `/v1/webhooks/${id}/deliveries`)).body.data

describe("webhooks", () => {
  it("endpoints are a list with pages", async () => {
    const customer = await newCustomer(home.server)
    const made: Array<string> = []
    for (let i = 0; i < 3; i++) made.push((await subscribe(customer, ["credits.low"])).id)
    type Page = { readonly data: ReadonlyArray<{ readonly id: string }>; readonly next_cursor: string | null }
    for (const get of [
      (query: string) => call<Page>(customer.key, "GET", `/v1/webhooks${query}`),
      (query: string) => home.server.admin<Page>("GET", `/admin/users/${customer.id}/webhooks${query}`)
    ]) {
      const first = await get("?limit=2")
      assert.lengthOf(first.body.data, 2)
      const second = await get(`?limit=2&cursor=${first.body.next_cursor}`)
      assert.isNull(second.body.next_cursor)
      assert.sameMembers(
        [...first.body.data, ...second.body.data].map(({ id }) => id),
        made
      )
      assert.strictEqual((await get("?cursor=nothing")).status, 400)
      assert.strictEqual((await get("?limit=0")).status, 400)
    }
  })

  it("CM-16.1 every message is signed over the exact bytes; its secret proves it and no other does", async () => {
    const customer = await newCustomer(home.server)
    const hook = await subscribe(customer, ["credits.added"])
    const other = await subscribe(customer, ["credits.low"])
    await adjust(customer, "12.5", "größer ✓ ")
    const [message] = await receiver.at(hook.path, 1)
    if (message === undefined) throw new Error("nothing came")
    assert.deepStrictEqual(verify(hook.secret, message), message.event)
    assert.strictEqual(message.headers["webhook-id"], message.event.id)
    assert.match(message.headers["webhook-timestamp"] ?? "", /^\d{10}$/)
    assert.match(hook.secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
    assert.throws(() => verify(other.secret, message))
    const changed = { ...message, body: message.body.replace("12.5", "13.5") }
    assert.notStrictEqual(changed.body, message.body)
    assert.throws(() => verify(hook.secret, changed))
    assert.deepStrictEqual(Object.keys(message.event), ["id", "type", "timestamp", "data"])
    assert.deepInclude(message.event.data, { amount_usd: "12.50", kind: "topup", reference: "größer ✓ ", balance_usd: "17.50" })
    const listed = await call<{ data: ReadonlyArray<object> }>(customer.key, "GET", "/v1/webhooks")
    assert.notInclude(JSON.stringify(listed.body), "whsec_")
    assert.deepStrictEqual(Object.keys(listed.body.data[0] ?? {}).sort(), [
      "created_at",
      "description",
      "enabled",
      "events",
      "id",
      "previous_secret_until",
      "url"
    ])
  })

  it("CM-16.2 crossing below the threshold fires credits.low once, and again after the balance rose above it", async () => {
    const customer = await newCustomer(home.server)
    const hook = await subscribe(customer, ["credits.low", "credits.depleted"])
    assert.deepInclude((await call(customer.key, "PATCH", "/v1/me", { low_balance_usd: "5" })).body, { low_balance_usd: "5.00" })
    assert.strictEqual((await creditsOf(home.server, customer.key)).available_usd, "5.00")
    await spend(customer)
    const [low] = await receiver.at(hook.path, 1)
    assert.strictEqual(low?.event.type, "credits.low")
    assert.strictEqual(low?.event.data["low_balance_usd"], "5.00")
    await spend(customer)
    await spend(customer)
    await adjust(customer, "1", "above")
    await spend(customer)
    await adjust(customer, "-1", "below again")
    const both = await receiver.at(hook.path, 2)
    // A threshold that the balance is below is crossed when it is set.
    await call(customer.key, "PATCH", "/v1/me", { low_balance_usd: 1 })
    await call(customer.key, "PATCH", "/v1/me", { low_balance_usd: 4.5 })
    await spend(customer)
    await call(customer.key, "PATCH", "/v1/me", { low_balance_usd: null })
    const three = await receiver.at(hook.path, 3)
    assert.deepStrictEqual(
      three.map((each) => each.event.type),
      ["credits.low", "credits.low", "credits.low"]
    )
    assert.strictEqual(new Set(three.map((each) => each.event.id)).size, 3)
    assert.strictEqual(both.length, 2)
    for (const wrong of ["-1", "much", 1e-13, "1000001"]) {
      assert.strictEqual((await call(customer.key, "PATCH", "/v1/me", { low_balance_usd: wrong })).status, 400, String(wrong))
    }
  })

  it("CM-16.3 reaching 0 fires credits.depleted once; so does the first refusal of an account with next to nothing", async () => {
    const customer = await newCustomer(home.server)
    const hook = await subscribe(customer, ["credits.depleted"])
    await adjust(customer, "-5", "all of it")
    const [depleted] = await receiver.at(hook.path, 1)
    assert.deepInclude(depleted?.event.data, { balance_usd: "0.00" })
    const refused = () =>
      call(customer.key, "POST", "/v1/chat/completions", { model: "sandbox/lorem", messages: [{ role: "user", content: "go" }] })
    assert.strictEqual((await refused()).status, 402)
    // More than nothing to speak of: it may be told again.
    await adjust(customer, "2", "more")
    await adjust(customer, "-1.9999999", "next to nothing left")
    assert.strictEqual((await refused()).status, 402)
    const both = await receiver.at(hook.path, 2)
    assert.deepInclude(both[1]?.event.data, { balance_usd: "0.0000001" })
    assert.strictEqual((await refused()).status, 402)
    await adjust(customer, "-0.0000001", "the rest")
    await adjust(customer, "7", "added")
    await adjust(customer, "-7", "and gone")
    const three = await receiver.at(hook.path, 3)
    assert.deepStrictEqual(
      three.map((each) => each.event.data["balance_usd"]),
      ["0.00", "0.0000001", "0.00"]
    )
  })

  it("X-37 every event has its type, its time and its data, and reaches those who asked for it", async () => {
    const customer = await newCustomer(home.server, { plan: "dev", limits: { rpm: 5 } })
    const hook = await subscribe(customer, [
      "credits.low",
      "credits.depleted",
      "credits.added",
      "model.degraded",
      "rate_limit.approaching",
      "batch.completed"
    ])
    const quiet = await subscribe(customer, ["batch.completed"])
    const bystander = await subscribe(await newCustomer(home.server), ["credits.added", "rate_limit.approaching"])
    for (let i = 0; i < 5; i++) await spend(customer)
    assert.strictEqual(
      (await call(customer.key, "POST", "/v1/chat/completions", { model: "sandbox/echo", messages: [{ role: "user", content: "x" }] }))
        .status,
      429
    )
    await home.server.admin("PUT", `/admin/users/${customer.id}/plan`, { plan: "team" })
    await adjust(customer, "3", "a purchase")
    const told = (type: string) => receiver.received.filter((each) => each.path === hook.path && each.event.type === type)
    await eventually(() => assert.strictEqual(told("credits.added").length, 2), 10_000)
    await eventually(() => assert.isAtLeast(told("rate_limit.approaching").length, 1), 10_000)
    const [approaching] = told("rate_limit.approaching")
    assert.deepInclude(approaching?.event.data, { limit: "requests_per_minute", used: 4, max: 5 })
    assert.deepStrictEqual(
      told("credits.added").map((each) => each.event.data["kind"]),
      ["allowance", "topup"]
    )
    assert.match(approaching?.event.timestamp ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    const windows = told("rate_limit.approaching").map((each) => `${each.event.data["limit"]} ${each.event.data["resets_at"]}`)
    assert.strictEqual(new Set(windows).size, windows.length, "once a window")
    const silent = [quiet.path, bystander.path]
    assert.deepStrictEqual(
      receiver.received.filter((each) => silent.includes(each.path)),
      []
    )
    const unknown = await call(customer.key, "POST", "/v1/webhooks", { url: receiver.url, events: ["credits.low", "credits.gone"] })
    assert.strictEqual(unknown.status, 400)
  })

  it("X-38 the log shows each attempt; an event can be sent again; the secret can be changed without a gap", async () => {
    const customer = await newCustomer(home.server)
    const hook = await subscribe(customer, ["credits.added"])
    receiver.answer(hook.path, 500)
    const tested = await call<Delivery>(customer.key, "POST", `/v1/webhooks/${hook.id}/test`)
    assert.strictEqual(tested.status, 202)
    assert.deepInclude(tested.body, { type: "webhook.test", attempt: 1, status: "pending", status_code: null })
    await receiver.at(hook.path, 2)
    await eventually(async () => assert.strictEqual((await deliveriesOf(customer, hook.id)).length, 3))
    const [third, second, first] = await deliveriesOf(customer, hook.id)
    assert.deepInclude(first, { id: tested.body.id, attempt: 1, status: "failed", status_code: 500, error: "The answer was 500." })
    assert.deepInclude(second, { attempt: 2, status: "failed" })
    assert.strictEqual(second?.event_id, first?.event_id)
    assert.deepInclude(third, { attempt: 3, status: "pending", duration_ms: null })
    assert.isNumber(first?.duration_ms)
    assert.strictEqual(second?.next_at, third?.next_at)

    receiver.answer(hook.path, 204)
    const rotated = await call<Made>(customer.key, "POST", `/v1/webhooks/${hook.id}/rotate`)
    assert.notStrictEqual(rotated.body.secret, hook.secret)
    const again = await call<Delivery>(customer.key, "POST", `/v1/webhooks/${hook.id}/deliveries/${first?.id}/redeliver`)
    assert.deepInclude(again.body, { status: "pending" })
    assert.strictEqual(again.body.id, third?.id, "what waits is sent now")
    const messages = await receiver.at(hook.path, 3)
    assert.strictEqual(new Set(messages.map((each) => each.headers["webhook-id"])).size, 1)
    assert.strictEqual(new Set(messages.map((each) => each.body)).size, 1)
    const last = messages[2]
    if (last === undefined) throw new Error("nothing came")
    for (const secret of [hook.secret, rotated.body.secret]) assert.isDefined(verify(secret, last))
    assert.throws(() => messages[0] !== undefined && verify(rotated.body.secret, messages[0]))
    await eventually(async () =>
      assert.deepInclude((await deliveriesOf(customer, hook.id))[0], { status: "delivered", status_code: 204, next_at: null })
    )

    const anew = await call<Delivery>(customer.key, "POST", `/v1/webhooks/${hook.id}/deliveries/${first?.id}/redeliver`)
    assert.deepInclude(anew.body, { attempt: 1, status: "pending" })
    assert.strictEqual(anew.body.event_id, first?.event_id)
    const four = await receiver.at(hook.path, 4)
    assert.strictEqual(four[3]?.headers["webhook-id"], first?.event_id)
    const page = await call<{ data: ReadonlyArray<Delivery>; next_cursor: string }>(
      customer.key,
      "GET",
      `/v1/webhooks/${hook.id}/deliveries?limit=1`
    )
    assert.strictEqual(page.body.next_cursor, page.body.data[0]?.id)
    const rest = await call<{ data: ReadonlyArray<Delivery>; next_cursor: null }>(
      customer.key,
      "GET",
      `/v1/webhooks/${hook.id}/deliveries?cursor=${page.body.next_cursor}`
    )
    assert.strictEqual(rest.body.data.length, 3)
  })

  it("X-38 no URL leads inside: not when it is given, not by a redirect, not by another spelling", async () => {
    const customer = await newCustomer(home.server)
    const refused = [
      "http://example.com/hook",
      "https://10.0.0.1/hook",
      "https://169.254.169.254/latest/meta-data",
      "https://[::1]/hook",
      "https://[fd00::1]/hook",
      "https://[::ffff:10.0.0.1]/hook",
      "https://0xa000001/hook",
      "https://167772161/hook",
      "https://012.1/hook",
      "https://100.64.0.1/hook",
      "https://user:word@example.com/hook",
      "https://example.com:22/hook",
      "ftp://example.com/hook",
      "not a url",
      `https://example.com/${"x".repeat(2_048)}`
    ]
    for (const url of refused) {
      const made = await call<{ error: { param: string } }>(customer.key, "POST", "/v1/webhooks", { url, events: ["credits.low"] })
      assert.strictEqual(made.status, 400, url)
      assert.strictEqual(made.body.error.param, "url")
    }
    const hook = await subscribe(customer, ["credits.added"])
    assert.strictEqual((await call(customer.key, "PATCH", `/v1/webhooks/${hook.id}`, { url: "https://192.168.1.1/" })).status, 400)
    const trap = `/trap${paths++}`
    receiver.answer(hook.path, { redirect: receiver.url + trap })
    await call(customer.key, "POST", `/v1/webhooks/${hook.id}/test`)
    await eventually(async () =>
      assert.deepInclude((await deliveriesOf(customer, hook.id)).at(-1), {
        status: "failed",
        status_code: 302,
        error: "The answer was 302; redirects are not followed."
      })
    )
    assert.deepStrictEqual(
      receiver.received.filter((each) => each.path === trap),
      []
    )
  })

  it("endpoints are changed, disabled, counted and removed, each by its own account only", async () => {
    const [customer, other] = [await newCustomer(home.server), await newCustomer(home.server)]
    const hook = await subscribe(customer, ["credits.low"])
    for (const [method, path] of [
      ["GET", ""],
      ["PATCH", ""],
      ["DELETE", ""],
      ["POST", "/test"],
      ["POST", "/rotate"],
      ["GET", "/deliveries"]
    ] as const) {
      const body = method === "PATCH" ? {} : undefined
      assert.strictEqual((await call(other.key, method, `/v1/webhooks/${hook.id}${path}`, body)).status, 404, `${method} ${path}`)
    }
    const changed = await call(customer.key, "PATCH", `/v1/webhooks/${hook.id}`, {
      events: ["credits.added"],
      description: "ours",
      enabled: false
    })
    assert.deepInclude(changed.body, { events: ["credits.added"], description: "ours", enabled: false })
    await adjust(customer, "1", "while disabled")
    assert.strictEqual((await call(customer.key, "POST", `/v1/webhooks/${hook.id}/test`)).status, 409)
    await call(customer.key, "PATCH", `/v1/webhooks/${hook.id}`, { enabled: true })
    await adjust(customer, "2", "while enabled")
    const [message] = await receiver.at(hook.path, 1)
    assert.strictEqual(message?.event.data["reference"], "while enabled")
    const made = await Promise.all(
      Array.from({ length: 24 }, () => call(customer.key, "POST", "/v1/webhooks", { url: `${receiver.url}/x`, events: ["credits.low"] }))
    )
    assert.deepStrictEqual(made.filter(({ status }) => status === 201).length, 19)
    assert.strictEqual(made.filter(({ status }) => status === 400).length, 5)
    assert.deepInclude((await call(customer.key, "DELETE", `/v1/webhooks/${hook.id}`)).body, { id: hook.id, deleted: true })
    assert.strictEqual((await call(customer.key, "GET", `/v1/webhooks/${hook.id}`)).status, 404)
  })

  it("an endpoint that hangs or dies keeps nobody else waiting", async () => {
    const customer = await newCustomer(home.server)
    const slow: Array<string> = []
    for (const answer of ["hang", "close", "hang", 503] as const) {
      const hook = await subscribe(customer, ["credits.added"])
      receiver.answer(hook.path, answer)
      slow.push(hook.path)
    }
    const quick = await subscribe(customer, ["credits.added"])
    for (let i = 0; i < 5; i++) await adjust(customer, "1", `turn ${i}`)
    const messages: ReadonlyArray<Received> = await receiver.at(quick.path, 5)
    assert.deepStrictEqual(
      messages.map((each) => each.event.data["reference"]),
      ["turn 0", "turn 1", "turn 2", "turn 3", "turn 4"],
      "in their order"
    )
    for (const path of slow) await receiver.at(path, 1)
  })
})
