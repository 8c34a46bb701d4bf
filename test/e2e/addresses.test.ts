import { assert, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { inOneMinute } from "../support/minute.ts"
import { jsonCall, newCustomer } from "../support/server.ts"

const LIMIT = 20
const world = house({ IP_LIMIT_PER_MINUTE: String(LIMIT), TRUST_PROXY: "1" })

let addresses = 0
const newAddress = (): string => `198.51.100.${addresses++ + 1}`

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

const ask = async (url: string, init: RequestInit): Promise<Answer> => {
  const response = await fetch(url, init)
  return { status: response.status, headers: response.headers, text: await response.text() }
}
const from = (forwarded: string, path: string, more: Record<string, string> = {}, method = "GET"): Promise<Answer> =>
  ask(world.server.url + path, {
    method,
    headers: { "x-forwarded-for": forwarded, "content-type": "application/json", ...more },
    ...(method === "POST" ? { body: JSON.stringify({ model: "sandbox/echo", messages: [{ role: "user", content: "Hi" }] }) } : {})
  })
const statuses = async (count: number, one: (turn: number) => Promise<Answer>): Promise<ReadonlyArray<number>> => {
  const seen: Array<number> = []
  for (let turn = 0; turn < count; turn++) seen.push((await one(turn)).status)
  return seen
}
const times = (count: number, status: number) => Array.from({ length: count }, () => status)
const madeUp = () => `Bearer gw_dev_${crypto.randomUUID().replaceAll("-", "").padEnd(43, "x")}`

describe("the IP layer on the wire", () => {
  it(
    "CM-2.1.2 CM-2.1.5 a made-up key is counted, and over the limit refused with a time to come back; health and metrics are not",
    inOneMinute(async () => {
      const address = newAddress()
      const guess = () => from(address, "/v1/chat/completions", { authorization: madeUp() }, "POST")
      assert.deepStrictEqual(await statuses(LIMIT + 1, guess), [...times(LIMIT, 401), 429])
      const refused = await from(address, "/v1/models")
      assert.strictEqual(refused.status, 429)
      const seconds = Number(refused.headers.get("retry-after"))
      assert.isTrue(seconds >= 1 && seconds <= 60)
      const body: { error: { type: string } } = JSON.parse(refused.text)
      assert.strictEqual(body.error.type, "security_limit")
      for (const path of ["/health", "/health/live", "/health/ready", "/metrics"])
        assert.strictEqual((await from(address, path)).status, 200)
      assert.match((await from(address, "/metrics")).text, /sluice_rate_limited_requests_total\{[^}]*limit_type="ip"[^}]*\} \d+/)
    })
  )

  it(
    "CM-2.1.5 a valid key is not counted, wherever it knocks, and passes from an address over its limit",
    inOneMinute(async () => {
      const { key } = await newCustomer(world.server)
      const address = newAddress()
      const valid = { authorization: `Bearer ${key}` }
      const chat = () => from(address, "/v1/chat/completions", valid, "POST")
      const models = () => from(address, "/v1/models", { "x-api-key": key })
      assert.deepStrictEqual(await statuses(LIMIT + 5, (turn) => (turn % 2 === 0 ? chat() : models())), times(LIMIT + 5, 200))
      assert.deepStrictEqual(await statuses(LIMIT + 1, () => from(address, "/v1/models")), [...times(LIMIT, 200), 429])
      assert.strictEqual((await chat()).status, 200)
      assert.strictEqual((await models()).status, 200)
      // A key that nobody here has seen waits; the operator's never does.
      const { key: fresh } = await newCustomer(world.server)
      const unseen = () => from(address, "/v1/credits", { authorization: `Bearer ${fresh}` })
      assert.strictEqual((await unseen()).status, 429)
      const elsewhere = await from(newAddress(), "/v1/credits", { authorization: `Bearer ${fresh}` })
      assert.strictEqual(elsewhere.status, 200)
      assert.strictEqual((await unseen()).status, 200)
      assert.strictEqual((await from(address, "/admin/users", { authorization: "Bearer admin-key-of-the-tests" })).status, 200)
    })
  )

  it(
    "routes that do not exist, and requests without a key, are counted together",
    inOneMinute(async () => {
      const address = newAddress()
      const next = (turn: number) => from(address, ["/nothing/here", "/v1/credits", "/v1/models", "/docs"][turn % 4] ?? "", {})
      const seen = await statuses(LIMIT + 4, next)
      assert.deepStrictEqual(seen.slice(0, 4), [404, 401, 200, 200])
      assert.deepStrictEqual(seen.slice(LIMIT), times(4, 429))
    })
  )

  it(
    "the address is the one that the trusted proxy saw, whatever the caller claims",
    inOneMinute(async () => {
      const address = newAddress()
      const spoofed = (turn: number) => from(`203.0.113.${turn}, ${address}`, "/v1/models")
      assert.deepStrictEqual(await statuses(LIMIT + 1, spoofed), [...times(LIMIT, 200), 429])
      assert.strictEqual((await from(newAddress(), "/v1/models")).status, 200)
      // With a port, as some proxies write it, it is the same address; a whole /64 is one subscriber.
      assert.strictEqual((await from(`${address}:4711`, "/v1/models")).status, 429)
      const six = (turn: number) => from(turn % 2 === 0 ? `2001:db8:7:7::${turn + 1}` : `[2001:db8:7:7:a::${turn}]:443`, "/v1/models")
      assert.deepStrictEqual(await statuses(LIMIT + 1, six), [...times(LIMIT, 200), 429])
      assert.strictEqual((await from("2001:db8:7:8::1", "/v1/models")).status, 200)
    })
  )
})

describe("where neither a proxy is trusted nor inference is open", () => {
  const direct = house({ IP_LIMIT_PER_MINUTE: String(LIMIT) })

  it(
    "what the caller forwards is not believed, and inference without a key is 401 also of a free model",
    inOneMinute(async () => {
      const inference = await jsonCall<{ error: { code: string } }>(direct.server.url, null, "POST", "/v1/chat/completions", {
        model: "meta-llama/llama-3.3-70b-instruct:free",
        messages: [{ role: "user", content: "Hi" }]
      })
      assert.deepInclude({ status: inference.status, code: inference.body.error.code }, { status: 401, code: "API_KEY_MISSING" })
      const claim = (turn: number) => ask(`${direct.server.url}/v1/models`, { headers: { "x-forwarded-for": `203.0.113.${turn}` } })
      assert.deepStrictEqual(await statuses(LIMIT, claim), [...times(LIMIT - 1, 200), 429])
      const { status } = await jsonCall(direct.server.url, null, "GET", "/health")
      assert.strictEqual(status, 200)
    })
  )
})
