/**
 * What is read of the database over and over, read once.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import * as NodeCrypto from "../../layers/NodeCrypto.ts"
import * as PGlite from "../../layers/PGlite.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { Accounts } from "../../src/identity/Accounts.ts"
import { AuditLog } from "../../src/identity/AuditLog.ts"
import { AuthCache } from "../../src/identity/AuthCache.ts"
import * as Fernet from "../../src/identity/Fernet.ts"
import { Identity } from "../../src/identity/Identity.ts"
import { Keys } from "../../src/identity/Keys.ts"
import { Partners } from "../../src/identity/Partners.ts"
import { Renewals } from "../../src/identity/Renewals.ts"
import { Trials } from "../../src/identity/Trials.ts"
import { Ledger } from "../../src/ledger/Ledger.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"

/** Statements about keys that reached the database. */
let queries = 0

/** The database, its reads of keys counted. */
const counted = Layer.effect(
  SqlClient.SqlClient,
  Effect.map(
    SqlClient.SqlClient,
    (sql) =>
      new Proxy(sql, {
        apply: (target, self, args) => {
          const [words] = args
          if (Array.isArray(words) && words.join("?").includes("WHERE k.key_hash =")) queries++
          return Reflect.apply(target, self, args)
        }
      })
  )
).pipe(Layer.provide(PGlite.layer(null)))

const keys = Layer.unwrap(
  Effect.map(Fernet.make([Redacted.make(Buffer.alloc(32, 9).toString("base64url"))]), (fernet) =>
    Keys.layer({ environment: "test", fernet })
  )
)
const accounts = Accounts.layer.pipe(Layer.provideMerge(Layer.mergeAll(keys, Partners.layer, Renewals.layer, Trials.layer, AuditLog.layer)))
const house = Layer.mergeAll(Identity.layer({ adminKey: Redacted.make("admin") }), accounts).pipe(
  Layer.provideMerge(
    Layer.mergeAll(
      AuthCache.layer.pipe(Layer.provideMerge(Broadcast.layerMemory)),
      NodeCrypto.layer(Redacted.make("sixteen characters")),
      SecureRandom.layerWebCrypto,
      Ledger.layer({ incarnation: { host: "queries", process: "queries", isGone: () => false } })
    )
  ),
  Layer.provideMerge(Migrations.layer.pipe(Layer.provideMerge(counted)))
)

const nowhere = { ip: null, host: null }

layer(house, { excludeTestServices: true, timeout: 60_000 })("the database behind its caches", (it) => {
  it.effect("CM-8.3.4 each of N keys used five times is read N times: a fifth of the reads", () =>
    Effect.gen(function* () {
      const service = yield* Accounts
      const identity = yield* Identity
      const cache = yield* AuthCache
      const made = yield* Effect.forEach([0, 1, 2, 3], (i) => service.create({ email: `n${i}@example.com`, plan: "dev" }))
      yield* cache.clear
      queries = 0
      for (let round = 0; round < 5; round++) {
        for (const { apiKey, user } of made) assert.strictEqual((yield* identity.authenticate(apiKey, nowhere)).accountId, user.id)
      }
      assert.strictEqual(queries, made.length)
    })
  )

  it.effect("CM-8.3.2 X-23 a key that no cache knows is read, then known; what is written is read anew: user, plan and limits", () =>
    Effect.gen(function* () {
      const service = yield* Accounts
      const identity = yield* Identity
      const cache = yield* AuthCache
      const { apiKey, user } = yield* service.create({ email: "written@example.com", plan: "dev" })
      yield* cache.clear
      queries = 0
      const before = yield* identity.authenticate(apiKey, nowhere)
      yield* identity.authenticate(apiKey, nowhere)
      assert.strictEqual(queries, 1)
      yield* service.setPlan(user.id, "team")
      const after = yield* identity.authenticate(apiKey, nowhere)
      assert.strictEqual(queries, 2)
      assert.deepStrictEqual([before.plan, after.plan], ["dev", "team"])
      yield* service.setLimits(user.id, { rpm: 7 })
      assert.strictEqual((yield* identity.authenticate(apiKey, nowhere)).limits.rpm, 7)
      assert.strictEqual(queries, 3)
    })
  )
})
