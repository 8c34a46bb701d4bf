/**
 * What authentication asks the database, and what it keeps of the answers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Queue, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as NodeCrypto from "../../layers/NodeCrypto.ts"
import * as PGlite from "../../layers/PGlite.ts"
import { plans } from "../../schemas/Plan.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { AuditLog } from "../../src/identity/AuditLog.ts"
import { AuthCache, type KeyRecord } from "../../src/identity/AuthCache.ts"
import { Identity } from "../../src/identity/Identity.ts"
import { KeyHasher } from "../../src/identity/KeyHasher.ts"
import * as KeyLookups from "../../src/identity/KeyLookups.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"

describe("look-ups of keys", () => {
  it.live("a thousand guessed keys at once are a few statements, each with many; a good key among them is found", () =>
    Effect.gen(function* () {
      const statements: Array<number> = []
      const look = yield* KeyLookups.make((hashes) =>
        Effect.sync(() => {
          statements.push(hashes.length)
          return new Map(hashes.includes("good") ? [["good", 1]] : [])
        })
      )
      const guesses = Array.from({ length: 1_000 }, (_, i) => (i === 700 ? "good" : `guess ${i}`))
      const answers = yield* Effect.forEach(guesses, look, { concurrency: "unbounded" })
      assert.deepStrictEqual(
        answers.filter((answer) => answer !== "unknown"),
        [1]
      )
      assert.isAtMost(statements.length, 4)
      assert.strictEqual(
        statements.reduce((sum, count) => sum + count, 0),
        1_000
      )
    }).pipe(Effect.scoped)
  )

  it.live("who asks for the same key waits for one look; a failure is told to all, and asked again by the next", () =>
    Effect.gen(function* () {
      const asked = yield* Queue.unbounded<Deferred.Deferred<ReadonlyMap<string, number>, string>>()
      const look = yield* KeyLookups.make(() =>
        Effect.gen(function* () {
          const answer = yield* Deferred.make<ReadonlyMap<string, number>, string>()
          yield* Queue.offer(asked, answer)
          return yield* Deferred.await(answer)
        })
      )
      // While one look is under way the next gathers.
      const first = yield* Effect.forkChild(look("first"), { startImmediately: true })
      const under = yield* Queue.take(asked)
      const many = yield* Effect.forkChild(
        Effect.forEach(["a", "a", "a"], (hash) => Effect.result(look(hash)), { concurrency: 3 }),
        {
          startImmediately: true
        }
      )
      yield* Deferred.succeed(under, new Map())
      assert.strictEqual(yield* Fiber.join(first), "unknown")
      yield* Deferred.fail(yield* Queue.take(asked), "away")
      assert.deepStrictEqual(
        (yield* Fiber.join(many)).map((result) => result._tag),
        ["Failure", "Failure", "Failure"]
      )
      const next = yield* Effect.forkChild(look("a"), { startImmediately: true })
      yield* Deferred.succeed(yield* Queue.take(asked), new Map([["a", 1]]))
      assert.strictEqual(yield* Fiber.join(next), 1)
      assert.strictEqual(Queue.sizeUnsafe(asked), 0)
    }).pipe(Effect.scoped)
  )

  it.live("more than may wait are turned away", () =>
    Effect.gen(function* () {
      const look = yield* KeyLookups.make(() => Effect.never)
      const refused = yield* Deferred.make<string>()
      for (let i = 0; i < 6_000; i++) {
        yield* Effect.forkChild(
          Effect.catch(look(`key ${i}`), (error) => Deferred.succeed(refused, error)),
          { startImmediately: true }
        )
      }
      assert.strictEqual(yield* Deferred.await(refused), KeyLookups.OVERLOADED)
    }).pipe(Effect.scoped)
  )
})

const record = (accountId: string): KeyRecord => ({
  caller: {
    accountId,
    keyId: "k",
    role: "dev",
    plan: "dev",
    limits: plans.dev.limits,
    trialEndsAt: null,
    scopes: ["*"],
    maxRequests: null,
    cache: null
  },
  userStatus: "active",
  ipAllowlist: [],
  domainAllowlist: [],
  expiresAt: null,
  revokedAt: null
})

describe("what is remembered of keys", () => {
  const cached = AuthCache.layer.pipe(Layer.provideMerge(Broadcast.layerMemory))

  it.effect("what was read before a change is not kept after it", () =>
    Effect.gen(function* () {
      const cache = yield* AuthCache
      const before = cache.generation()
      yield* cache.invalidate(["a"])
      yield* cache.set("hash", record("a"), before)
      assert.isUndefined(yield* cache.get("hash"))
      yield* cache.set("hash", record("a"), cache.generation())
      assert.isDefined(yield* cache.get("hash"))
      yield* cache.invalidate(["b"])
      assert.isDefined(yield* cache.get("hash"))
      yield* cache.invalidate(["a"])
      assert.isUndefined(yield* cache.get("hash"))
    }).pipe(Effect.provide(cached))
  )

  it.effect("a good key is known for five minutes, nobody's for half of one; there is a bound", () =>
    Effect.gen(function* () {
      const cache = yield* AuthCache
      yield* cache.set("good", record("a"), cache.generation())
      yield* cache.set("guess", "unknown", cache.generation())
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(yield* cache.get("guess"), "unknown")
      yield* TestClock.adjust("1 seconds")
      assert.isUndefined(yield* cache.get("guess"))
      yield* TestClock.adjust("269 seconds")
      assert.isDefined(yield* cache.get("good"))
      // A flood of guesses pushes no good key out.
      for (let i = 0; i < 20_000; i++) yield* cache.set(`guess ${i}`, "unknown", cache.generation())
      assert.isDefined(yield* cache.get("good"))
      assert.isUndefined(yield* cache.get("guess 0"))
      yield* TestClock.adjust("1 seconds")
      assert.isUndefined(yield* cache.get("good"))
    }).pipe(Effect.provide(cached))
  )

  it.effect("what others say is heard; after a gap nothing is believed", () =>
    Effect.gen(function* () {
      const cache = yield* AuthCache
      yield* cache.set("hash", record("a"), cache.generation())
      yield* (yield* Broadcast).publish("identity", "a")
      yield* Effect.yieldNow
      assert.isUndefined(yield* cache.get("hash"))
    }).pipe(Effect.provide(cached))
  )

  const house = Identity.layer({ adminKey: Redacted.make("admin"), pollMs: null }).pipe(
    Layer.provideMerge(cached),
    Layer.provideMerge(NodeCrypto.layer(Redacted.make("sixteen characters"))),
    Layer.provideMerge(AuditLog.layer),
    Layer.provideMerge(SecureRandom.layerWebCrypto),
    Layer.provideMerge(Migrations.layer.pipe(Layer.provideMerge(PGlite.layer(null))))
  )

  it.live(
    "a key that was good is known at once as long as it is good, and wherever it is used from does not matter",
    () =>
      Effect.gen(function* () {
        const identity = yield* Identity
        const cache = yield* AuthCache
        const text = `gw_dev_${"a".repeat(43)}`
        const key = Redacted.make(text)
        const hash = (yield* KeyHasher).hash(key)
        const from = { ip: "192.0.2.1", host: null }
        const never = () => Effect.die(new Error("looked up"))
        const remember = (more: Partial<KeyRecord>) => cache.set(hash, { ...record("a"), ...more }, cache.generation())
        const shown = identity.authenticate(key, from, never)
        yield* remember({})
        assert.isNull(identity.recall(text), "never shown before")
        const caller = yield* shown
        assert.strictEqual(identity.recall(text), caller)
        assert.isNull(identity.recall(`${text} `))
        for (const [bad, reason] of [
          [{ revokedAt: 1 }, "revoked"],
          [{ expiresAt: 1 }, "expired"],
          [{ userStatus: "suspended" }, "inactive"]
        ] as const) {
          yield* remember(bad)
          assert.isNull(identity.recall(text))
          assert.strictEqual((yield* Effect.flip(shown)).reason, reason)
          yield* remember({})
          yield* shown
          assert.isNotNull(identity.recall(text))
        }
        yield* remember({ ipAllowlist: ["192.0.2.0/24"] })
        yield* shown
        assert.isNull(identity.recall(text), "it matters where it is used from")
        yield* remember({})
        assert.isNotNull(identity.recall(text))
        yield* cache.invalidate(["a"])
        assert.isNull(identity.recall(text))
      }).pipe(Effect.provide(house)),
    30_000
  )

  it.live(
    "what is not even of a key's form is refused without being looked up; the audit log cannot be changed",
    () =>
      Effect.gen(function* () {
        const identity = yield* Identity
        const never = () => Effect.die(new Error("looked up"))
        for (const text of ["", "gw_dev_short", `gw_prod_${"a".repeat(43)}`, `gws_${"a".repeat(42)}`, `gw_dev_${"a".repeat(42)}!`]) {
          const error = yield* Effect.flip(identity.identify(Redacted.make(text), { ip: null, host: null }, never))
          assert.strictEqual(error.reason, "unknown")
        }
        const audit = yield* AuditLog
        yield* audit.record({ action: "TEST", actor: "operator", account: null, ip: null, requestId: null })
        assert.strictEqual((yield* audit.list({ limit: 10, cursor: null })).data.length, 1)
        const sql = yield* SqlClient.SqlClient
        for (const change of ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log"]) {
          assert.isTrue(yield* Effect.isFailure(sql.unsafe(change)), change)
        }
        assert.strictEqual((yield* audit.list({ limit: 10, cursor: null })).data.length, 1)
      }).pipe(Effect.provide(house)),
    30_000
  )
})
