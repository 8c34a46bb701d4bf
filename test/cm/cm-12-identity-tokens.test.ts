/**
 * Identity tokens: which linked account a user is known by, and what an issuer's token opens.
 */
import { createHmac } from "node:crypto"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { bestAccount } from "../../src/identity/LinkedAccounts.ts"
import { freshDatabase } from "../support/database.ts"
import { type Issuer, startIssuer } from "../support/issuer.ts"
import { jsonCall, type RunningServer, serviceSettings, startServer, temporaryDirectory } from "../support/server.ts"

const email = { type: "email", address: "Mail@Example.com", verified: true }
const google = { type: "google_oauth", email: "google@example.com", subject: "1", verified_at: 1_700_000_000 }
const phone = { type: "phone", phoneNumber: "+15550100", lv: 1_700_000_000 }
const github = { type: "github_oauth", username: "octo", email: "git@example.com", verified: true }

const known = (claims: Readonly<Record<string, unknown>>, issuer = "https://issuer.example") =>
  bestAccount({ issuer, subject: "s", claims })
const listed = (...accounts: ReadonlyArray<object>) => known({ linked_accounts: accounts })

/** Every order of a list. */
const orders = <A>(list: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  list.length < 2 ? [list] : list.flatMap((first, at) => orders(list.filter((_, other) => other !== at)).map((rest) => [first, ...rest]))

describe("linked accounts", () => {
  it("CM-12.6 e-mail comes first, in whatever order accounts are listed", () => {
    for (const order of orders([email, google, phone, github])) {
      assert.deepStrictEqual(listed(...order), { method: "email", email: "mail@example.com" })
    }
    assert.deepStrictEqual(known({ linked_accounts: JSON.stringify([github, email]) }), { method: "email", email: "mail@example.com" })
    assert.deepStrictEqual(known({ email: "a@b.example", email_verified: true, linked_accounts: [google] }), {
      method: "email",
      email: "a@b.example"
    })
  })

  it("CM-12.7 then Google before phone, then phone before GitHub", () => {
    for (const order of orders([google, phone, github])) {
      assert.deepStrictEqual(listed(...order), { method: "google", email: "google@example.com" })
    }
    for (const order of orders([phone, github])) assert.deepStrictEqual(listed(...order), { method: "phone", email: null })
    assert.deepStrictEqual(listed(github), { method: "github", email: "git@example.com" })
    assert.deepStrictEqual(known({ email: "a@gmail.com", email_verified: true }, "https://accounts.google.com"), {
      method: "google",
      email: "a@gmail.com"
    })
    assert.deepStrictEqual(known({ phone_number: "+15550100", phone_number_verified: true }), { method: "phone", email: null })
  })

  it("nothing unverified counts", () => {
    const nobody = { method: "identity" as const, email: null }
    for (const claims of [
      {},
      { email: "a@b.example" },
      { email: "a@b.example", email_verified: false },
      { email: "not an address", email_verified: true },
      { preferred_username: "admin", name: "admin", nickname: "admin@example.com" },
      { phone_number: "+15550100" },
      {
        linked_accounts: [
          { ...email, verified: false },
          { type: "email", address: "a@b.example" }
        ]
      },
      { linked_accounts: [{ ...google, verified: false }] },
      { linked_accounts: [{ type: "github", username: "octo" }, { type: "constructor", verified: true }, null, "email"] },
      { linked_accounts: "not a list" }
    ])
      assert.deepStrictEqual(known(claims), nobody, JSON.stringify(claims))
    assert.deepStrictEqual(listed({ ...email, verified: false }, phone), { method: "phone", email: null })
  })
})

interface Answer {
  readonly user: { readonly id: string; readonly email: string; readonly tier: string; readonly status: string }
  readonly session: { readonly token: string }
  readonly api_key?: string
  readonly method: string
  readonly error?: { readonly code: string; readonly message: string }
}

const AUDIENCE = "sluice-tests"

describe("identity tokens", () => {
  const directory = temporaryDirectory()
  let issuer: Issuer
  let other: Issuer
  let server: RunningServer
  beforeAll(async () => {
    issuer = await startIssuer(AUDIENCE)
    other = await startIssuer(AUDIENCE)
    server = await startServer({
      ...serviceSettings(await freshDatabase(inject("databaseUrl"))),
      DATA_DIR: directory.path,
      TRUST_PROXY: "1",
      OIDC_ISSUERS: `${issuer.url}=${AUDIENCE}, ${issuer.url}=another-app,http://127.0.0.1:9=${AUDIENCE}`
    })
  })
  afterAll(async () => {
    await server?.stop()
    await issuer?.close()
    await other?.close()
    directory.remove()
  })

  let addresses = 0
  const send = async (token: string, more: object = {}, session?: string) => {
    const response = await fetch(`${server.url}/auth/identity`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-forwarded-for": `192.0.2.${++addresses}`,
        ...(session === undefined ? {} : { authorization: `Bearer ${session}` })
      },
      body: JSON.stringify({ id_token: token, ...more })
    })
    const body: Answer = JSON.parse(await response.text())
    return { status: response.status, body }
  }
  const verified = (address: string) => ({ email: address, email_verified: true })

  it("the first login makes the account and shows its key, later ones find it", async () => {
    const claims = { sub: "ada", ...verified("Ada@Example.com") }
    const first = await send(await issuer.sign(claims))
    assert.strictEqual(first.status, 200, JSON.stringify(first.body))
    assert.deepInclude(first.body.user, { email: "ada@example.com", tier: "basic", status: "trial" })
    assert.strictEqual(first.body.method, "email")
    assert.strictEqual((await jsonCall(server.url, first.body.api_key ?? "", "GET", "/v1/me")).status, 200)
    // Another address, the same subject: the same account.
    const later = await send(await issuer.sign({ sub: "ada", ...verified("other@example.com") }))
    assert.strictEqual(later.body.user.id, first.body.user.id)
    assert.notProperty(later.body, "api_key")
    assert.strictEqual((await jsonCall(server.url, later.body.session.token, "GET", "/v1/me")).status, 200)
  })

  it("of many first logins at once one makes the account", async () => {
    const token = await issuer.sign({ sub: "twins", ...verified("twins@example.com") })
    const answers = await Promise.all(Array.from({ length: 8 }, () => send(token)))
    assert.deepStrictEqual(
      answers.map(({ status }) => status),
      Array.from({ length: 8 }, () => 200)
    )
    assert.strictEqual(new Set(answers.map(({ body }) => body.user.id)).size, 1)
    assert.strictEqual(answers.filter(({ body }) => body.api_key !== undefined).length, 1)
  })

  it("a user without an address is known by the issuer's subject alone", async () => {
    const claims = { linked_accounts: [phone, github] }
    const first = await send(await issuer.sign({ sub: "phone-1", ...claims }))
    assert.strictEqual(first.body.method, "phone")
    assert.match(first.body.user.email, /@no-address\.invalid$/)
    assert.strictEqual((await send(await issuer.sign({ sub: "phone-1", ...claims }))).body.user.id, first.body.user.id)
    assert.notStrictEqual((await send(await issuer.sign({ sub: "phone-2", ...claims }))).body.user.id, first.body.user.id)
  })

  it("a token that is not good opens nothing", async () => {
    const claims = { sub: "eve", ...verified("eve@example.com") }
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
    const now = Math.floor(Date.now() / 1_000)
    const body = encode({ iss: issuer.url, aud: AUDIENCE, iat: now, exp: now + 600, ...claims })
    const byHash = `${encode({ alg: "HS256" })}.${body}`
    const good = await issuer.sign(claims)
    const wrong: Readonly<Record<string, string>> = {
      "another key": await issuer.forge(claims),
      expired: await issuer.sign(claims, { expiresIn: "-5m" }),
      "another audience": await issuer.sign({ ...claims, aud: "somebody-else" }),
      "several audiences, none named": await issuer.sign({ ...claims, aud: [AUDIENCE, "somebody-else"] }),
      "made for somebody else": await issuer.sign({ ...claims, aud: [AUDIENCE, "somebody-else"], azp: "somebody-else" }),
      "an issuer that is not configured": await other.sign(claims),
      "another issuer's signature": await other.sign(claims, { issuer: issuer.url }),
      "no subject": await issuer.sign(verified("eve@example.com")),
      "no signature": `${encode({ alg: "none" })}.${body}.`,
      "a shared secret": `${byHash}.${createHmac("sha256", "secret").update(byHash).digest("base64url")}`,
      tampered: good.replace(/\.[^.]+\./, `.${body}.`),
      cut: good.slice(0, -10),
      nonsense: "a.b.c",
      empty: "",
      huge: `${good}${"x".repeat(20_000)}`
    }
    for (const [what, token] of Object.entries(wrong)) {
      const answer = await send(token)
      assert.deepStrictEqual([answer.status, answer.body.error?.code], [401, "INVALID_IDENTITY_TOKEN"], what)
    }
    assert.strictEqual((await send(await issuer.sign({ ...claims, nonce: "n-1" }), { nonce: "n-2" })).status, 401)
    assert.strictEqual((await send(await issuer.sign({ ...claims, nonce: "n-1" }), { nonce: "n-1" })).status, 200)
    assert.strictEqual((await send(await issuer.sign({ ...claims, aud: [AUDIENCE, "x"], azp: AUDIENCE }))).status, 200)
    assert.strictEqual((await send(await issuer.sign({ ...claims, aud: "another-app" }))).status, 200)
    // Its issuer is configured, but away: that is not the token's fault.
    assert.strictEqual((await send(await other.sign(claims, { issuer: "http://127.0.0.1:9" }))).status, 503)
  })

  it("an account with a password is linked by who is logged in to it, never by an address alone", async () => {
    const address = "careful@example.com"
    const registered = await fetch(`${server.url}/auth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email: address, password: "correct horse battery" })
    })
    const mine: Answer = JSON.parse(await registered.text())
    const token = await issuer.sign({ sub: "careful", ...verified(address) })
    for (const claims of [
      { sub: "guess", email: address },
      { sub: "guess2", preferred_username: "careful" }
    ]) {
      const answer = await send(await issuer.sign(claims))
      assert.notStrictEqual(answer.body.user.id, mine.user.id)
    }
    assert.deepStrictEqual([(await send(token)).status, (await send(token)).body.error?.code], [409, "IDENTITY_NOT_LINKED"])
    // A key is not enough: one that leaked would become a way in for good.
    assert.strictEqual((await send(token, {}, mine.api_key)).status, 409)
    assert.strictEqual((await send(token, {}, mine.session.token)).body.user.id, mine.user.id)
    assert.strictEqual((await send(token)).body.user.id, mine.user.id)
    // What belongs to one account is not taken over by another.
    const stranger = await send(await issuer.sign({ sub: "stranger", ...verified("stranger@example.com") }))
    assert.strictEqual((await send(token, {}, stranger.body.session.token)).status, 409)
  })

  it("an account that the operator made is reached by the address it was made for", async () => {
    const made = await server.admin<{ user: { id: string } }>("POST", "/admin/users", { email: "staff@example.com", plan: "team" })
    const answer = await send(await issuer.sign({ sub: "staff", linked_accounts: [{ ...google, email: "staff@example.com" }] }))
    assert.strictEqual(answer.body.user.id, made.body.user.id)
    assert.notProperty(answer.body, "api_key")
    const disposable = await send(await issuer.sign({ sub: "throwaway", ...verified("a@mailinator.com") }))
    assert.strictEqual(disposable.status, 400)
  })

  it("the issuer is asked once for its document; its keys anew when it has another", async () => {
    assert.strictEqual(issuer.asked("/.well-known/openid-configuration"), 1)
    const before = issuer.asked("/keys")
    assert.isAtMost(before, 2)
    for (let i = 0; i < 5; i++) assert.strictEqual((await send(await issuer.sign({ sub: "ada" }))).status, 200)
    assert.strictEqual(issuer.asked("/keys"), before)
  })
})
