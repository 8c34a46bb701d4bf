import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import * as NodeCrypto from "../../layers/NodeCrypto.ts"
import * as PGlite from "../../layers/PGlite.ts"
import { Role } from "../../schemas/Account.ts"
import * as Money from "../../schemas/Money.ts"
import { type NegotiatedLimits, plans } from "../../schemas/Plan.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { Accounts } from "../../src/identity/Accounts.ts"
import { AuditLog } from "../../src/identity/AuditLog.ts"
import { AuthCache } from "../../src/identity/AuthCache.ts"
import * as Fernet from "../../src/identity/Fernet.ts"
import { Identity } from "../../src/identity/Identity.ts"
import { encryptedKeys } from "../../src/identity/IdentitySchema.ts"
import { KeyHasher } from "../../src/identity/KeyHasher.ts"
import { KeyRotation, type RotationStep } from "../../src/identity/KeyRotation.ts"
import { Keys } from "../../src/identity/Keys.ts"
import { Partners } from "../../src/identity/Partners.ts"
import { permissions } from "../../src/identity/Permissions.ts"
import { Renewals } from "../../src/identity/Renewals.ts"
import { Trials } from "../../src/identity/Trials.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"

const ringKey = (fill: number) => Redacted.make(Buffer.alloc(32, fill).toString("base64url"))
const ring = (...fills: ReadonlyArray<number>) => Effect.provide(Fernet.make(fills.map(ringKey)), SecureRandom.layerWebCrypto)

describe("keys at rest", () => {
  it.effect("CM-1.1 a key is encrypted as a Fernet token that does not show it", () =>
    Effect.gen(function* () {
      const fernet = yield* ring(1)
      const token = yield* fernet.encrypt("gw_live_secret")
      const bytes = Buffer.from(token, "base64url")
      assert.strictEqual(bytes[0], 0x80)
      assert.strictEqual(bytes.readBigUInt64BE(1), 0n)
      assert.strictEqual((bytes.length - 1 - 8 - 16 - 32) % 16, 0)
      assert.match(token, /^[A-Za-z0-9_-]+=*$/)
      assert.notInclude(bytes.toString("latin1"), "secret")
      assert.strictEqual(yield* fernet.decrypt(token), "gw_live_secret")
    })
  )

  it.effect.prop("CM-1.2 whatever text, decrypting gives it back", [Schema.String], ([text]) =>
    Effect.gen(function* () {
      const fernet = yield* ring(1)
      assert.strictEqual(yield* fernet.decrypt(yield* fernet.encrypt(text.toWellFormed())), text.toWellFormed())
    })
  )

  it.effect("CM-1.2 a token of an older key still decrypts after rotation; a tampered one does not", () =>
    Effect.gen(function* () {
      const old = yield* (yield* ring(1)).encrypt("k")
      const rotated = yield* ring(2, 1)
      assert.strictEqual(yield* rotated.decrypt(old), "k")
      const bytes = Buffer.from(old, "base64url")
      bytes.writeUInt8(bytes.readUInt8(30) ^ 1, 30)
      yield* Effect.flip(rotated.decrypt(bytes.toString("base64url")))
      yield* Effect.flip((yield* ring(3)).decrypt(old))
    })
  )

  it.effect("the specification's own example decrypts", () =>
    Effect.gen(function* () {
      const fernet = yield* Effect.provide(
        Fernet.make([Redacted.make("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")]),
        SecureRandom.layerWebCrypto
      )
      const token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
      assert.strictEqual(yield* fernet.decrypt(token), "hello")
    })
  )

  it.effect("CM-1.3 the look-up hash is HMAC-SHA256 in 64 hex characters; a short salt is refused", () =>
    Effect.gen(function* () {
      const hasher = yield* KeyHasher
      const hash = hasher.hash(Redacted.make("what do ya want for nothing?"))
      assert.match(hash, /^[0-9a-f]{64}$/)
      assert.strictEqual(hasher.hash(Redacted.make("what do ya want for nothing?")), hash)
      assert.notStrictEqual(hasher.hash(Redacted.make("other")), hash)
      assert.isTrue(hasher.equals(Redacted.make("a"), Redacted.make("a")))
      assert.isFalse(hasher.equals(Redacted.make("a"), Redacted.make("longer")))
      const refused = yield* Effect.exit(Effect.provide(Effect.void, NodeCrypto.layer(Redacted.make("fifteen chars..")), { local: true }))
      assert.strictEqual(refused._tag, "Failure")
    }).pipe(Effect.provide(NodeCrypto.layer(Redacted.make("sixteen characters"))))
  )
})

const ledger = Ledger.layer({ incarnation: { host: "keys", process: "keys", isGone: () => false } })
const keys = Layer.unwrap(Effect.map(Fernet.make([ringKey(9)]), (fernet) => Keys.layer({ environment: "test", fernet })))
const accounts = Accounts.layer.pipe(Layer.provideMerge(Layer.mergeAll(keys, Partners.layer, Renewals.layer, Trials.layer, AuditLog.layer)))
const house = Layer.mergeAll(Identity.layer({ adminKey: Redacted.make("admin") }), accounts).pipe(
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
const newUser = Effect.flatMap(Accounts, (service) => service.create({ email: `user${users++}@example.com`, plan: "dev" }))
const nowhere = { ip: null, host: null }
const use = (key: Redacted.Redacted, origin: { ip: string | null; host: string | null } = nowhere) =>
  Effect.flatMap(Identity, (identity) => identity.authenticate(key, origin))

layer(house, { excludeTestServices: true, timeout: 60_000 })("keys in use", (it) => {
  it.effect("CM-1.4 a key is looked up by its hash, without decrypting", () =>
    Effect.gen(function* () {
      const { apiKey, user } = yield* newUser
      const sql = yield* SqlClient.SqlClient
      // A cipher text that nobody can decrypt does not keep the key out.
      yield* sql`UPDATE api_keys SET encrypted_key = 'broken' WHERE user_id = ${user.id}`
      assert.strictEqual((yield* use(apiKey)).accountId, user.id)
    })
  )

  it.effect("CM-1.2 a rotation that was stopped goes on with what is left, until every key is under the newest", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { apiKey, user } = yield* newUser
      // One that another test broke.
      yield* sql`DELETE FROM api_keys WHERE encrypted_key = 'broken'`
      const old = yield* ring(9)
      const tokens = yield* Effect.forEach(Array.from({ length: 230 }), (_, i) => old.encrypt(`plain ${i}`))
      yield* sql`INSERT INTO api_keys (id, user_id, key_hash, encrypted_key, key_version, name, prefix, last4, environment)
        SELECT 'rotated ' || n, ${user.id}, 'hash ' || n, t, ${old.version}, 'rotated ' || n, '', '', 'test'
        FROM jsonb_array_elements_text(${JSON.stringify(tokens)}::text::jsonb) WITH ORDINALITY AS a (t, n)`
      const count = yield* sql`SELECT count(*)::int AS n FROM api_keys`
      const fernet = yield* ring(10, 9)
      const options = { fernet, columns: encryptedKeys }
      const step = (after: string | null) =>
        Effect.flatMap(KeyRotation, (rotation) => rotation.step(after)).pipe(Effect.provide(KeyRotation.layer(options), { local: true }))
      let rotated = (yield* step(null)).rotated
      assert.strictEqual(rotated, 100)
      // Stopped here, and begun anew.
      for (let after: string | null = null; ; ) {
        const next: RotationStep = yield* step(after)
        rotated += next.rotated
        assert.deepStrictEqual(next.failed, [])
        if (next.next === null) break
        after = next.next
      }
      assert.deepStrictEqual(count, [{ n: rotated }])
      assert.deepStrictEqual(yield* step(null), { rotated: 0, failed: [], remaining: 0, next: null })
      const newest = yield* ring(10)
      const rows = yield* sql`SELECT encrypted_key AS token FROM api_keys WHERE id = 'rotated 230' OR user_id = ${user.id} AND is_primary`
      const plain = yield* Effect.forEach(rows, (row) => newest.decrypt(String(row["token"])))
      assert.sameMembers(plain, ["plain 229", Redacted.value(apiKey)])
      yield* sql`DELETE FROM api_keys WHERE id LIKE 'rotated %'`
    })
  )

  it.effect("CM-1.5 no written column holds the plain key", () =>
    Effect.gen(function* () {
      const { apiKey } = yield* newUser
      const sql = yield* SqlClient.SqlClient
      const plain = Redacted.value(apiKey)
      const rows = JSON.stringify([
        yield* sql`SELECT to_jsonb(k)::text AS r FROM api_keys k`,
        yield* sql`SELECT to_jsonb(u)::text AS r FROM users u`
      ])
      assert.notInclude(rows, plain)
      assert.notInclude(rows, plain.slice("gw_test_".length))
      assert.include(rows, plain.slice(-4))
    })
  )

  it.effect("CM-1.9 a key with an address list is refused elsewhere, and where the address is unknown", () =>
    Effect.gen(function* () {
      const { user } = yield* newUser
      const { key } = yield* (yield* Keys).create(user.id, {
        name: "office",
        ip_allowlist: ["203.0.113.7", "10.0.0.0/8", "2001:db8::/32"]
      })
      for (const ip of ["203.0.113.8", "11.0.0.1", "2001:db9::1", null])
        assert.strictEqual((yield* Effect.flip(use(key, { ip, host: null }))).reason, "ip_not_allowed")
    })
  )

  it.effect("CM-1.10 an exact match and a range are let in, v4-mapped too; an empty list restricts nothing", () =>
    Effect.gen(function* () {
      const { apiKey, user } = yield* newUser
      const { key } = yield* (yield* Keys).create(user.id, {
        name: "office",
        ip_allowlist: ["203.0.113.7", "10.0.0.0/8", "2001:db8::/32"]
      })
      for (const ip of ["203.0.113.7", "10.200.3.4", "::ffff:10.1.2.3", "2001:db8:1::5"])
        assert.strictEqual((yield* use(key, { ip, host: null })).accountId, user.id)
      assert.strictEqual((yield* use(apiKey, { ip: "198.51.100.1", host: null })).accountId, user.id)
    })
  )

  it.effect("CM-1.11 a key with a domain list is refused from other sites and without one", () =>
    Effect.gen(function* () {
      const { user } = yield* newUser
      const { key } = yield* (yield* Keys).create(user.id, { name: "site", domain_allowlist: ["example.com"] })
      for (const host of ["example.com", "app.example.com"]) assert.strictEqual((yield* use(key, { ip: null, host })).accountId, user.id)
      for (const host of ["evil-example.com", "example.com.evil.org", null])
        assert.strictEqual((yield* Effect.flip(use(key, { ip: null, host }))).reason, "domain_not_allowed")
    })
  )

  it.effect("CM-12.5 keys are gw_{env}_ and at least 32 random bytes", () =>
    Effect.gen(function* () {
      const made = yield* Effect.all([newUser, newUser])
      for (const { apiKey } of made) assert.match(Redacted.value(apiKey), /^gw_test_[A-Za-z0-9_-]{43}$/)
      assert.notStrictEqual(Redacted.value(made[0].apiKey), Redacted.value(made[1].apiKey))
    })
  )

  it.effect("CM-7.1 a new user's balance is exactly 5.00 USD", () =>
    Effect.gen(function* () {
      const { user } = yield* newUser
      const balance = yield* (yield* Ledger).balance(user.id)
      assert.strictEqual(balance.available, 5_000_000_000_000n)
    })
  )

  it.effect("CM-2.2.2 a key's own limits lower what its account has and never raise it", () =>
    Effect.gen(function* () {
      const { user } = yield* newUser
      const keys = yield* Keys
      const limitsOf = Effect.fnUntraced(function* (limits: NegotiatedLimits) {
        const { key } = yield* keys.create(user.id, { name: `key of ${JSON.stringify(limits)}`, limits })
        return (yield* use(key)).limits
      })
      const { limits } = plans.dev
      assert.deepStrictEqual(yield* limitsOf({ rpm: "none", concurrency: 1_000_000, tokens_per_day: "none", daily_usd: "none" }), limits)
      assert.deepStrictEqual(yield* limitsOf({ rpm: 7, daily_usd: "0.5" }), { ...limits, rpm: 7, dailyUsd: Money.usd("0.5") })
      yield* (yield* Accounts).setLimits(user.id, { rpm: 2, burst: "none" })
      assert.deepInclude(yield* limitsOf({ rpm: 100, burst: 3 }), { rpm: 2, burst: 3 })
    })
  )

  it.effect("a revoked key stops at once, a changed limit holds at once, a bad input is refused", () =>
    Effect.gen(function* () {
      const service = yield* Accounts
      const { apiKey, user } = yield* newUser
      assert.strictEqual((yield* use(apiKey)).limits.rpm, 250)
      yield* service.setLimits(user.id, { rpm: 7, daily_usd: "none" })
      assert.deepInclude((yield* use(apiKey)).limits, { rpm: 7, dailyUsd: "none", concurrency: 20 })
      yield* service.setPlan(user.id, "team")
      assert.deepInclude((yield* use(apiKey)).limits, { rpm: 7, concurrency: 50 })
      const [row] = (yield* (yield* Keys).list(user.id, { limit: 1, cursor: null })).data
      yield* (yield* Keys).revoke(user.id, row?.id ?? "")
      assert.strictEqual((yield* Effect.flip(use(apiKey))).reason, "revoked")
      assert.strictEqual((yield* Effect.flip(service.setLimits(user.id, { rpm: -1 }))).reason, "invalid_input")
      assert.strictEqual(
        (yield* Effect.flip((yield* Keys).create(user.id, { name: "x", ip_allowlist: ["nonsense"] }))).reason,
        "invalid_input"
      )
      assert.strictEqual((yield* Effect.flip(service.create({ email: user.email.toUpperCase(), plan: null }))).reason, "email_taken")
    })
  )
})

describe("roles", () => {
  const contains = (a: ReadonlySet<string>, b: ReadonlySet<string>) => [...b].every((permission) => a.has(permission))

  it("CM-1.6 there are exactly four roles, each with permissions of its own", () => {
    assert.sameMembers(Object.keys(permissions), ["admin", "team", "dev", "free"])
    assert.throws(() => Schema.decodeUnknownSync(Role)("owner"))
    assert.strictEqual(new Set(Object.values(permissions).map((set) => [...set].sort().join())).size, 4)
  })

  it("CM-1.7 admin may everything the others may, and more", () => {
    const others = new Set([...permissions.free, ...permissions.dev, ...permissions.team])
    assert.isTrue(contains(permissions.admin, others))
    assert.isAbove(permissions.admin.size, others.size)
  })

  it("CM-1.8 free < dev < team < admin", () => {
    const order = [permissions.free, permissions.dev, permissions.team, permissions.admin]
    order.slice(1).forEach((more, at) => {
      const less = order[at] ?? new Set()
      assert.isTrue(contains(more, less) && more.size > less.size)
    })
  })
})
