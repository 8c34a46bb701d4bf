/**
 * Odd text, pages and amounts on the routes of accounts and of the operator.
 */
import { assert, describe, it } from "@effect/vitest"
import { house } from "../support/house.ts"
import { creditsOf, jsonCall, newCustomer } from "../support/server.ts"

const our = house()

interface Failure {
  readonly error: { readonly message: string; readonly code: string; readonly param: string | null }
}
interface List {
  readonly data: ReadonlyArray<{ readonly id: string; readonly action?: string }>
  readonly next_cursor: string | null
}

const texts = ["a\u0000b", "\ud800", "b\udc00c"]

describe("text that no database keeps", () => {
  it("is refused with 400 wherever a body may hold it, and names where", async () => {
    const { id, key } = await newCustomer(our.server)
    const { server } = our
    for (const text of texts) {
      const tries: ReadonlyArray<readonly [string, Promise<{ status: number; body: Failure }>, string]> = [
        ["a key's name", jsonCall<Failure>(server.url, key, "POST", "/v1/keys", { name: text }), "name"],
        [
          "a list",
          jsonCall<Failure>(server.url, key, "POST", "/v1/keys", { name: "x", ip_allowlist: ["1.2.3.4", text] }),
          "ip_allowlist.1"
        ],
        [
          "registration",
          jsonCall<Failure>(server.url, null, "POST", "/auth/register", { email: "a@example.com", password: text }),
          "password"
        ],
        ["login", jsonCall<Failure>(server.url, null, "POST", "/auth/login", { email: `${text}@example.com`, password: "x" }), "email"],
        ["a partner's code", server.admin<Failure>("POST", "/admin/users", { email: "a@example.com", partner_code: text }), "partner_code"],
        ["a reference", server.admin<Failure>("POST", `/admin/users/${id}/credits`, { amount_usd: "1", reference: text }), "reference"],
        ["a reason", server.admin<Failure>("PUT", `/admin/users/${id}/role`, { role: "dev", reason: text }), "reason"]
      ]
      for (const [what, answer, param] of tries) {
        const { body, status } = await answer
        assert.deepStrictEqual([status, body.error?.param], [400, param], what)
      }
    }
    assert.strictEqual((await creditsOf(server, key)).available_usd, "5.00")
  })

  it("is refused with 400 in an address", async () => {
    const { key } = await newCustomer(our.server)
    const paths = ["/v1/requests/%00", "/v1/requests?model=a%00", "/v1/usage?key=%00", "/v1/keys?cursor=%00", "/v1/webhooks/%00"]
    for (const path of paths) assert.strictEqual((await jsonCall(our.server.url, key, "GET", path)).status, 400, path)
    for (const path of ["/admin/users/%00", "/admin/audit?account=%00"]) {
      assert.strictEqual((await our.server.admin("GET", path)).status, 400, path)
    }
    assert.strictEqual((await jsonCall(our.server.url, key, "DELETE", "/v1/keys/%00")).status, 400)
  })

  it("an address that is no text is refused with 400 and says so, whatever is asked of it", async () => {
    const { key } = await newCustomer(our.server)
    for (const [method, path] of [
      ["GET", "/v1/models/%ff"],
      ["GET", "/v1/models/org/%e2%82"],
      ["GET", "/v1/models/100%"],
      ["GET", "/v1/requests/%ff"],
      ["DELETE", "/v1/keys/%ff"],
      ["GET", "/nowhere/%zz"]
    ] as const) {
      const { body, status } = await jsonCall<Failure>(our.server.url, key, method, path)
      assert.strictEqual(status, 400, path)
      assert.match(body.error.message, /cannot be read/, path)
    }
    assert.strictEqual((await our.server.admin("GET", "/admin/users/%ff")).status, 400)
    assert.strictEqual((await jsonCall(our.server.url, key, "GET", "/v1/models?q=100%")).status, 200)
    assert.strictEqual((await jsonCall(our.server.url, key, "GET", "/v1/models/gr%C3%BC%C3%9Fe")).status, 404)
  })
})

describe("pages", () => {
  it("a cursor that no list gave, and a limit that is no whole number from 1 to 1000, are refused", async () => {
    const { key } = await newCustomer(our.server)
    const lists = ["/v1/credits/entries", "/v1/requests", "/v1/keys", "/v1/models"]
    for (const query of ["cursor=zzz", "cursor=-1", "limit=0", "limit=1001", "limit=1e2", "limit=%201", "limit="]) {
      for (const path of lists) {
        const answer = await jsonCall<Failure>(our.server.url, key, "GET", `${path}?${query}`)
        assert.deepStrictEqual([answer.status, answer.body.error?.param], [400, query.split("=")[0]], `${path}?${query}`)
      }
      for (const path of ["/admin/users", "/admin/audit"])
        assert.strictEqual((await our.server.admin("GET", `${path}?${query}`)).status, 400)
    }
  })

  it("users made at one time are each listed once, page by page, while more come", async () => {
    const made = await Promise.all(Array.from({ length: 30 }, () => newCustomer(our.server)))
    const seen: Array<string> = []
    for (let cursor: string | null = ""; cursor !== null; ) {
      const { body }: { body: List } = await our.server.admin<List>("GET", `/admin/users?limit=2&cursor=${cursor}`)
      seen.push(...body.data.map(({ id }) => id))
      cursor = body.next_cursor
      if (seen.length % 10 === 0) await newCustomer(our.server)
    }
    assert.strictEqual(new Set(seen).size, seen.length)
    for (const { id } of made) assert.include(seen, id)
  })
})

describe("amounts and limits of the operator", () => {
  it("one reference moves money once, whichever way; what is not there is not taken", async () => {
    const { id, key } = await newCustomer(our.server)
    const credit = (amount: unknown, reference: string) =>
      our.server.admin<Failure & { id: string; amount_usd: string }>("POST", `/admin/users/${id}/credits`, {
        amount_usd: amount,
        reference
      })
    const first = await credit("10", "invoice")
    for (const again of ["10", "11", "-10", -10]) {
      const answer = await credit(again, "invoice")
      assert.deepStrictEqual([answer.status, answer.body.id, answer.body.amount_usd], [200, first.body.id, "10.00"])
    }
    const refused = await credit("-15.01", "too much")
    assert.deepStrictEqual([refused.status, refused.body.error.param], [409, "amount_usd"])
    assert.notMatch(refused.body.error.message, /max_tokens/)
    assert.strictEqual((await creditsOf(our.server, key)).available_usd, "15.00")
    assert.strictEqual((await credit("-15", "all")).status, 200)
    assert.strictEqual((await creditsOf(our.server, key)).available_usd, "0.00")
  })

  it("a limit that there is not is refused by name, and changes nothing", async () => {
    const { id, key } = await newCustomer(our.server)
    const { server } = our
    const made = await jsonCall<{ id: string }>(server.url, key, "POST", "/v1/keys", { name: "x", limits: { rpm: 7 } })
    const limits = { rpm: 9, foo: 1 }
    for (const [answer, param] of [
      [await jsonCall<Failure>(server.url, key, "POST", "/v1/keys", { name: "y", limits }), "limits.foo"],
      [await jsonCall<Failure>(server.url, key, "PATCH", `/v1/keys/${made.body.id}`, { limits }), "limits.foo"],
      [await server.admin<Failure>("POST", `/admin/users/${id}/keys`, { name: "y", limits }), "limits.foo"],
      [await server.admin<Failure>("PUT", `/admin/users/${id}/limits`, limits), "foo"]
    ] as const) {
      assert.deepStrictEqual([answer.status, answer.body.error?.param], [400, param])
      assert.match(answer.body.error.message, /rpm, tokens_per_minute, .*daily_usd/)
    }
    const keys = await jsonCall<{ data: ReadonlyArray<{ id: string; limits: object }> }>(server.url, key, "GET", "/v1/keys")
    assert.lengthOf(keys.body.data, 2)
    assert.deepStrictEqual(keys.body.data.find((row) => row.id === made.body.id)?.limits, { rpm: 7 })
  })

  it("limits beyond what can be counted are refused", async () => {
    const { id, key } = await newCustomer(our.server)
    assert.strictEqual((await our.server.admin("PUT", `/admin/users/${id}/limits`, { rpm: 1e300 })).status, 400)
    assert.strictEqual((await jsonCall(our.server.url, key, "POST", "/v1/keys", { name: "x", limits: { concurrency: 1e20 } })).status, 400)
  })
})
