/**
 * Providers' lists through a real database into the catalog that is served.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { inject } from "vitest"
import * as Postgres from "../../layers/Postgres.ts"
import * as UndiciTransport from "../../layers/UndiciTransport.ts"
import { ProviderConnection } from "../../schemas/Provider.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { shipped } from "../../src/catalog/CatalogData.ts"
import { CatalogListing } from "../../src/catalog/CatalogListing.ts"
import { CatalogSync } from "../../src/catalog/CatalogSync.ts"
import { plainQuery } from "../../src/catalog/ModelListing.ts"
import { ProviderLists } from "../../src/catalog/ProviderLists.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { fromSend, Transport, TransportError } from "../../src/providers/Transport.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"
import { sourceOf } from "../support/bytes.ts"
import { freshDatabase } from "../support/database.ts"
import { type HubAnswer, startHub } from "../support/hub.ts"
import { eventually } from "../support/server.ts"

/** What a provider answers when its list is asked for. */
type Answer = { readonly status?: number; readonly text: string } | "refused" | "silent"

const list = (...rows: ReadonlyArray<object>): Answer => ({ text: JSON.stringify({ object: "list", data: rows }) })
const priced = (id: string, more: object = {}) => ({ id, pricing: { prompt: "0.000001", completion: "0.000002" }, ...more })

interface WorldOptions {
  readonly everyMs?: number
  readonly firstAfterMs?: number
  readonly patienceMs?: number
  /** A provider that is asked for real. */
  readonly url?: string
}

const world = ({ url, ...options }: WorldOptions = {}) => {
  const answers: { next: Answer } = { next: list() }
  const asked: Array<string> = []
  const scripted = Layer.succeed(
    Transport,
    fromSend((request) =>
      Effect.suspend(() => {
        asked.push(request.url)
        const { next } = answers
        if (next === "silent") return Effect.never
        if (next === "refused") {
          return Effect.fail(new TransportError({ reason: new ProviderConnection({ answered: false, message: "ECONNREFUSED" }) }))
        }
        return Effect.succeed({ status: next.status ?? 200, headers: {}, body: sourceOf([new TextEncoder().encode(next.text)]) })
      })
    )
  )
  const transport = url === undefined ? scripted : UndiciTransport.layer({ firstByteTimeoutMs: 30_000, idleTimeoutMs: 30_000 })
  const baseUrl = `${url ?? "http://lists.test"}/v1`
  const registry = ProviderRegistry.layer(new Map([["openrouter", { apiKey: Redacted.make("key"), baseUrl }]]))
  const database = Layer.unwrap(
    Effect.map(
      Effect.promise(() => freshDatabase(inject("databaseUrl"))),
      (url) => Postgres.layer({ url: Redacted.make(url), maxConnections: 4 })
    )
  )
  const base = Layer.mergeAll(registry, Broadcast.layerMemory, SecureRandom.layerWebCrypto, Digest.layerWebCrypto, transport).pipe(
    Layer.provideMerge(Migrations.layer),
    Layer.provideMerge(database)
  )
  /** One process over the database. */
  const process = CatalogListing.layer.pipe(
    Layer.provideMerge(CatalogSync.layer({ everyMs: 0, firstAfterMs: 0, patienceMs: 200, shipped, ...options })),
    Layer.provideMerge(Layer.mergeAll(ProviderLists.layer, Catalog.layer, Breakers.layer({ failures: 5, recoveryMs: 1_000 })))
  )
  return { answers, asked, base, layer: process.pipe(Layer.provideMerge(base)), process }
}

const sync = Effect.gen(function* () {
  const service = yield* CatalogSync
  const [result] = yield* service.run(service.listing)
  return result ?? (yield* Effect.die(new Error("no provider was asked")))
})

const served = Effect.map(
  Effect.flatMap(CatalogListing, (listing) => listing.list({ ...plainQuery, q: "test-" }, { after: null, limit: null })),
  (body) => {
    const parsed: { data: ReadonlyArray<{ id: string }> } = JSON.parse(new TextDecoder().decode(body))
    return parsed.data.map((row) => row.id)
  }
)

describe("the catalog and what providers list", () => {
  it.live("CM-9.2.1 a listed model without a price from any source is kept and not served", () => {
    const { answers, layer } = world()
    return Effect.gen(function* () {
      answers.next = list(
        priced("test-org/priced"),
        { id: "test-org/unpriced" },
        { id: "test-org/dynamic", pricing: { prompt: "-1", completion: "-1" } }
      )
      assert.deepInclude(yield* sync, { status: "updated", models: 3, unpriced: 2, added: 3 })
      assert.deepStrictEqual(yield* served, ["test-org/priced"])
      const catalog = yield* Catalog
      assert.strictEqual((yield* Effect.flip(catalog.candidates("test-org/unpriced", null))).reason._tag, "ModelNotFound")
      const [candidate] = yield* catalog.candidates("test-org/priced", null)
      assert.deepInclude(candidate, { provider: "openrouter", nativeId: "test-org/priced" })
    }).pipe(Effect.provide(layer))
  })

  it.live(
    "CM-9.3.1 a catalog request never asks a provider; CM-8.2.3 a provider's list is read from the database once in half an hour",
    () => {
      const { answers, asked, layer } = world()
      return Effect.gen(function* () {
        answers.next = list(priced("test-org/one"))
        yield* sync
        assert.lengthOf(asked, 1)
        assert.strictEqual(asked[0], "http://lists.test/v1/models")
        const sql = yield* SqlClient.SqlClient
        const lists = yield* ProviderLists
        yield* sql`UPDATE provider_list_rows SET active = false`
        for (let i = 0; i < 5; i++) {
          assert.deepStrictEqual(yield* served, ["test-org/one"])
          assert.lengthOf(yield* lists.get("openrouter"), 1, "from memory")
        }
        yield* lists.forget("openrouter")
        assert.lengthOf(yield* lists.get("openrouter"), 0, "from the database")
        assert.lengthOf(asked, 1)
      }).pipe(Effect.provide(layer))
    }
  )

  it.live("CM-9.3.2 a list that cannot be read, is no list or is empty leaves the last good one", () => {
    const { answers, base, layer, process } = world()
    return Effect.gen(function* () {
      answers.next = list(priced("test-org/one"))
      yield* sync
      const bad: ReadonlyArray<Answer> = [
        "refused",
        "silent",
        { status: 500, text: "{}" },
        { text: "<html>busy</html>" },
        list(),
        { text: '{"data":[{}]}' }
      ]
      for (const next of bad) {
        answers.next = next
        const result = yield* sync
        assert.strictEqual(result.status, "kept")
        assert.isNotNull(result.error)
        assert.deepStrictEqual(yield* served, ["test-org/one"])
      }
      // Another process, with the provider still away, serves what the database has.
      assert.deepStrictEqual(yield* Effect.provide(served, Layer.fresh(process)), ["test-org/one"])
    }).pipe(Effect.provide(layer), Effect.provide(base))
  })

  it.live(
    "CM-9.3.2 over a real connection: a list that is huge, endless, trickles, breaks off or is malformed costs bounded time and changes nothing",
    () => {
      const hub = Effect.acquireRelease(
        Effect.promise(() => startHub()),
        (started) => Effect.promise(() => started.close())
      )
      return Effect.gen(function* () {
        const provider = yield* hub
        const { layer } = world({ url: provider.url, patienceMs: 1_500 })
        const put = (answer: HubAnswer) => provider.put("/v1/models", answer)
        yield* Effect.gen(function* () {
          put({ json: { data: [priced("test-org/one")] } })
          assert.deepInclude(yield* sync, { status: "updated", models: 1, added: 1 })
          const many = Array.from({ length: 20_001 }, (_, i) => ({ id: `test-org/m${i}` }))
          const troubles: ReadonlyArray<readonly [HubAnswer, string]> = [
            [{ bytes: 40 * 1_024 * 1_024 }, "more than 33554432 bytes"],
            [{ bytes: Number.POSITIVE_INFINITY }, "more than 33554432 bytes"],
            [{ silent: "body" }, "no whole list in time"],
            [{ trickle: '{"data":[' }, "no whole list in time"],
            [{ reset: true }, "ProviderConnection"],
            [{ json: { data: many } }, "not a list of models"],
            [{ text: `${"[".repeat(200_000)}` }, "not a list of models"],
            [{ text: '{"data":[{"id":"test-org/two"' }, "not a list of models"],
            [{ text: "\u0000\uffff" }, "not a list of models"],
            [{ json: { data: "x".repeat(1_000_000) } }, "not a list of models"],
            [{ json: { data: [null, 7, [], { id: {} }, { id: "a b" }, { id: "x".repeat(300) }] } }, "no models in the list"],
            [{ status: 302, location: "http://127.0.0.1:1/" }, "status 302"]
          ]
          for (const [answer, error] of troubles) {
            put(answer)
            const result = yield* sync
            assert.strictEqual(result.status, "kept", JSON.stringify(answer).slice(0, 80))
            // On a slow machine the time may be over before all those bytes have come.
            assert.include("bytes" in answer ? [error, "no whole list in time"] : [error], result.error)
            assert.isBelow(result.duration_ms, 10_000)
            assert.deepStrictEqual(yield* served, ["test-org/one"])
          }
          // What can be read among nonsense is taken.
          put({
            json: { data: [null, priced("test-org/one"), { id: 7 }, priced("test-org/three", { context_length: "many", created: -1 })] }
          })
          assert.deepInclude(yield* sync, { status: "updated", models: 2, added: 1 })
          assert.deepStrictEqual(yield* served, ["test-org/one", "test-org/three"])
        }).pipe(Effect.provide(layer))
      }).pipe(Effect.scoped)
    }
  )

  it.live("a model that is absent three times is no longer served, and comes back with the list; one that ships stays", () => {
    const { answers, layer } = world()
    return Effect.gen(function* () {
      answers.next = list(priced("test-org/one"), priced("test-org/two"))
      yield* sync
      answers.next = list(priced("test-org/two"))
      for (const deactivated of [0, 0, 1, 0]) {
        assert.strictEqual((yield* sync).deactivated, deactivated)
        if (deactivated === 0) continue
        assert.deepStrictEqual(yield* served, ["test-org/two"])
      }
      answers.next = list(priced("test-org/one"), priced("test-org/two"))
      assert.deepInclude(yield* sync, { status: "updated", added: 0, changed: 1 })
      assert.deepStrictEqual((yield* served).toSorted(), ["test-org/one", "test-org/two"])
      const catalog = yield* Catalog
      assert.strictEqual((yield* catalog.candidates("openai/gpt-4o", null))[0]?.nativeId, "openai/gpt-4o")
    }).pipe(Effect.provide(layer))
  })

  it.live("X-25 what has not changed is not written; what has is served at once", () => {
    const { answers, layer } = world()
    return Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const stamps = sql<{
        native_id: string
        at: string
      }>`SELECT native_id, changed_at::text AS at FROM provider_list_rows ORDER BY native_id`
      answers.next = list(priced("test-org/one"), priced("test-org/two"))
      yield* sync
      const before = yield* stamps
      assert.deepInclude(yield* sync, { status: "unchanged", models: 2, added: 0, changed: 0 })
      assert.deepStrictEqual(yield* stamps, before)
      answers.next = list(priced("test-org/one"), priced("test-org/two", { pricing: { prompt: "0.000003", completion: "0.000004" } }))
      assert.deepInclude(yield* sync, { status: "updated", changed: 1 })
      const after = yield* stamps
      assert.deepStrictEqual(after[0], before[0])
      assert.notDeepEqual(after[1], before[1])
      const [candidate] = yield* Effect.flatMap(Catalog, (catalog) => catalog.candidates("test-org/two", null))
      assert.strictEqual(candidate?.pricing.prompt, 3_000_000n)
    }).pipe(Effect.provide(layer))
  })

  it.live("X-25 two processes read a list once between them, and both serve it", () => {
    const { answers, asked, base, process } = world()
    return Effect.gen(function* () {
      answers.next = list(priced("test-org/one"))
      const one = yield* Layer.build(Layer.fresh(process))
      const other = yield* Layer.build(Layer.fresh(process))
      const lists = yield* Effect.provide(ProviderLists, one)
      const holds = yield* Effect.all([lists.claim("openrouter", "one", 0, 0), lists.claim("openrouter", "other", 0, 0)], {
        concurrency: 2
      })
      assert.sameMembers(holds, [true, false])
      assert.deepInclude(yield* Effect.provide(sync, other), { status: "busy" })
      assert.lengthOf(asked, 0)
      for (const holder of ["one", "other"]) yield* lists.release("openrouter", holder, { ok: false, status: "stopped", error: null })
      assert.deepInclude(yield* Effect.provide(sync, one), { status: "updated" })
      assert.deepStrictEqual(yield* Effect.provide(served, one), ["test-org/one"])
      // The other hears of it.
      while ((yield* Effect.provide(served, other)).length === 0) yield* Effect.sleep(5)
      assert.deepStrictEqual(yield* Effect.provide(served, other), ["test-org/one"])
      // A schedule does not read what was read not long ago.
      assert.isFalse(yield* lists.claim("openrouter", "third", 60_000, 0))
      assert.isTrue(yield* lists.claim("openrouter", "third", 0, 0))
    }).pipe(Effect.scoped, Effect.provide(base))
  })

  it.live("X-25 what another process read is served here too, though nobody has told of it", () => {
    const { answers, asked, base, process } = world({ everyMs: 300 })
    const deaf = Layer.succeed(Broadcast, { publish: () => Effect.void, subscribe: () => Effect.void, isConnected: () => true })
    return Effect.gen(function* () {
      answers.next = list(priced("test-org/one"))
      const [one, other] = [yield* Layer.build(Layer.fresh(process)), yield* Layer.build(Layer.fresh(process))]
      for (const context of [one, other]) {
        yield* Effect.promise(() =>
          eventually(async () => assert.deepStrictEqual(await Effect.runPromise(Effect.provideContext(served, context)), ["test-org/one"]))
        )
      }
      answers.next = list(priced("test-org/one"), priced("test-org/two"))
      for (const context of [one, other]) {
        yield* Effect.promise(() =>
          eventually(async () =>
            assert.deepStrictEqual(await Effect.runPromise(Effect.provideContext(served, context)), ["test-org/one", "test-org/two"])
          )
        )
      }
      assert.isAtLeast(asked.length, 2)
    }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(deaf, base)))
  })

  it.live("X-25 lists are read by themselves, soon after the start", () => {
    const { answers, layer } = world({ everyMs: 60_000, firstAfterMs: 1 })
    answers.next = list(priced("test-org/scheduled"))
    return Effect.gen(function* () {
      while ((yield* served).length === 0) yield* Effect.sleep(5)
      assert.deepStrictEqual(yield* served, ["test-org/scheduled"])
    }).pipe(Effect.provide(layer))
  })
})
