/**
 * What the Hugging Face Hub tells of open models: read off the path, over a real connection, through a real database.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { inject } from "vitest"
import * as Postgres from "../../layers/Postgres.ts"
import * as UndiciTransport from "../../layers/UndiciTransport.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { shipped } from "../../src/catalog/CatalogData.ts"
import { canonicalId, merge } from "../../src/catalog/CatalogMerge.ts"
import { HubBook } from "../../src/catalog/HubBook.ts"
import { isRepository, readMetrics, repositoryOf } from "../../src/catalog/HubMetrics.ts"
import { HubSync, type HubSyncOptions } from "../../src/catalog/HubSync.ts"
import { readListing } from "../../src/catalog/ProviderListing.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { Broadcast } from "../../src/replicas/Broadcast.ts"
import { freshDatabase } from "../support/database.ts"
import { house } from "../support/house.ts"
import { described, type FakeHub, startHub } from "../support/hub.ts"
import { eventually, jsonCall, newCustomer } from "../support/server.ts"

const metrics = {
  downloads: 1_234_567,
  likes: 890,
  parameterCount: 70_553_706_496,
  pipelineTag: "text-generation",
  author: "deepseek-ai",
  inferenceHosts: ["groq", "together"]
}

describe("what the Hub says", () => {
  it("X-27 downloads, likes, parameters, pipeline, author and live hosts are read, in each form that the Hub has had", () => {
    const of = (more: object) => {
      const answer = described("deepseek-ai/DeepSeek-R1", more)
      return "json" in answer ? readMetrics(JSON.stringify(answer.json)) : null
    }
    assert.deepStrictEqual(of({}), metrics)
    const mapping = { novita: { status: "live", providerId: "a" }, sambanova: { status: "staging", providerId: "b" } }
    assert.deepStrictEqual(of({ inferenceProviderMapping: mapping })?.inferenceHosts, ["novita"])
    assert.strictEqual(of({ safetensors: undefined, gguf: { total: 8_030_261_248 } })?.parameterCount, 8_030_261_248)
    const little = readMetrics('{"id":"a/b"}')
    assert.deepStrictEqual(little, {
      downloads: null,
      likes: null,
      parameterCount: null,
      pipelineTag: null,
      author: null,
      inferenceHosts: []
    })
  })

  it("X-27 what is not the Hub's word on a model is none, and figures that cannot be are left out", () => {
    for (const text of ["", "<html>", "null", "[]", "{}", '{"error":"Repository not found"}', '{"id":7}'])
      assert.isNull(readMetrics(text), text)
    const odd = { id: "a/b", downloads: -1, likes: 1.5, pipeline_tag: "x".repeat(101), author: {}, safetensors: { total: "7" } }
    const found = readMetrics(JSON.stringify({ ...odd, inferenceProviderMapping: "x" }))
    assert.deepStrictEqual(found, readMetrics('{"id":"a/b"}'))
  })

  it("X-27 the repositories of open models are known by a table, a list or a host; of closed ones there is none", () => {
    const models = new Map(shipped().models.map(({ model }) => [model.id, model]))
    const of = (id: string) => {
      const model = models.get(id)
      return model === undefined ? undefined : repositoryOf(model)
    }
    assert.strictEqual(of("meta-llama/llama-3.3-70b-instruct"), "meta-llama/Llama-3.3-70B-Instruct")
    assert.strictEqual(of("meta-llama/llama-3.3-70b-instruct:free"), "meta-llama/Llama-3.3-70B-Instruct")
    assert.isNull(of("openai/gpt-4o"))
    for (const model of models.values()) {
      const repository = repositoryOf(model)
      if (!model.openWeights) assert.isNull(repository, model.id)
      if (repository !== null) assert.isTrue(isRepository(repository), repository)
    }
    assert.isAtLeast([...models.values()].filter((model) => repositoryOf(model) !== null).length, 80)
    const row = { id: "new-org/new-model", hugging_face_id: "NewOrg/New-Model", pricing: { prompt: "0.000001", completion: "0.000002" } }
    const rows =
      readListing("openrouter", JSON.stringify({ data: [row, { ...row, id: "new-org/odd", hugging_face_id: "../../etc" }] }))?.rows ?? []
    const hosted =
      readListing("featherless", JSON.stringify({ data: [{ id: "Else/Hosted", pricing: { prompt: 1, completion: 2 } }] }))?.rows ?? []
    const lists = [
      { provider: "openrouter", rows },
      { provider: "featherless", rows: hosted }
    ]
    const added = new Map(merge(shipped(), lists).models.map(({ model }) => [model.id, model]))
    const ofAdded = (id: string) => repositoryOf(added.get(id) ?? assert.fail(id))
    assert.strictEqual(ofAdded("new-org/new-model"), "NewOrg/New-Model")
    assert.isNull(ofAdded("new-org/odd"))
    assert.strictEqual(ofAdded(canonicalId("featherless", "Else/Hosted")), "Else/Hosted")
    for (const bad of ["a", "a/b/c", "../x", "a/..", "a/b?x", "a b/c", "/a"]) assert.isFalse(isRepository(bad), bad)
  })
})

const R1 = "deepseek-ai/DeepSeek-R1"

/** One process over a database, with the models of `novita`, and over the Hub that is given. */
const world = (hub: () => FakeHub, options: Partial<HubSyncOptions> = {}) => {
  const database = Layer.unwrap(
    Effect.map(
      Effect.promise(() => freshDatabase(inject("databaseUrl"))),
      (url) => Postgres.layer({ url: Redacted.make(url), maxConnections: 4 })
    )
  )
  const base = Layer.mergeAll(Broadcast.layerMemory, SecureRandom.layerWebCrypto, HubBook.layer).pipe(
    Layer.provideMerge(Migrations.layer),
    Layer.provideMerge(database)
  )
  const process = Layer.suspend(() => HubSync.layer({ url: hub().url, everyMs: 0, firstAfterMs: 0, patienceMs: 1_000, ...options })).pipe(
    Layer.provideMerge(Catalog.layer),
    Layer.provideMerge(ProviderRegistry.layer(new Map([["novita", { apiKey: Redacted.make("key") }]]))),
    Layer.provide(UndiciTransport.layer({ firstByteTimeoutMs: 30_000, idleTimeoutMs: 30_000 }))
  )
  return { base, process, layer: process.pipe(Layer.provideMerge(base)) }
}

const known = (id: string) =>
  Effect.gen(function* () {
    const model = (yield* Catalog).find(id)
    return model === undefined ? null : (yield* HubSync).snapshot().of(model)
  })

const resultOf = (repository: string) =>
  Effect.map(
    Effect.flatMap(HubSync, ({ run }) => run),
    (results) => results.find((result) => result.repository === repository)
  )

describe("reading the Hub", () => {
  let hub: FakeHub
  beforeAll(async () => {
    hub = await startHub()
  })
  afterAll(() => hub.close())

  it.live("X-27 is kept in the database, served from memory, and stays when the Hub fails, is slow, answers too much or nonsense", () =>
    Effect.gen(function* () {
      const { layer } = world(() => hub)
      yield* Effect.gen(function* () {
        hub.put(R1, described(R1))
        assert.deepInclude(yield* resultOf(R1), { status: "updated", error: null })
        assert.deepStrictEqual((yield* known("deepseek/deepseek-r1"))?.metrics, metrics)
        assert.deepStrictEqual(hub.latest().searchParams.getAll("expand[]").toSorted(), [
          "author",
          "downloads",
          "gguf",
          "inferenceProviderMapping",
          "likes",
          "pipeline_tag",
          "safetensors"
        ])
        assert.deepInclude(yield* resultOf(R1), { status: "unchanged" })
        const troubles = [
          [{ status: 500 }, "status 500"],
          [{ status: 429 }, "status 429"],
          [{ status: 404 }, "status 404"],
          [{ silent: "head" }, "no whole answer in time"],
          [{ silent: "body" }, "no whole answer in time"],
          [{ bytes: 8 * 1_024 * 1_024 }, "more than 1048576 bytes"],
          [{ text: "<html>maintenance</html>" }, "not what the Hub tells of a model"],
          [{ text: '{"id":"deepseek-ai/De' }, "not what the Hub tells of a model"],
          [{ reset: true }, "no answer"],
          [{ status: 307, location: "http://169.254.169.254/latest" }, "status 307"],
          [{ status: 307, location: `/api/models/${R1}` }, "status 307"]
        ] as const
        for (const [answer, error] of troubles) {
          hub.put(R1, answer)
          assert.deepStrictEqual(yield* resultOf(R1), { repository: R1, status: "kept", error }, JSON.stringify(answer))
          assert.deepStrictEqual((yield* known("deepseek/deepseek-r1"))?.metrics, metrics, "what was known stays")
        }
        hub.put(R1, { status: 307, location: "/api/models/deepseek-ai/Renamed" })
        hub.put("deepseek-ai/Renamed", described("deepseek-ai/Renamed", { downloads: 7 }))
        assert.deepInclude(yield* resultOf(R1), { status: "updated", error: null })
        assert.strictEqual((yield* known("deepseek/deepseek-r1"))?.metrics.downloads, 7)
      }).pipe(Effect.provide(layer))
    })
  )

  it.live("X-27 only models that somebody can be asked for are looked up, and a Hub that does not answer is left alone", () => {
    const { layer } = world(() => hub)
    return Effect.gen(function* () {
      const before = hub.asked.length
      hub.otherwise({ status: 503 })
      const results = yield* (yield* HubSync).run
      hub.otherwise({ status: 404 })
      const wanted = shipped().models.flatMap(({ model }) => {
        const repository = model.providers.some(({ slug }) => slug === "novita") ? repositoryOf(model) : null
        return repository === null ? [] : [repository]
      })
      assert.sameMembers(
        results.map(({ repository }) => repository),
        [...new Set(wanted)]
      )
      // Five failures in a row, and what was under way already.
      assert.isAtMost(hub.asked.length - before, 5 + 4)
      assert.isAbove(results.filter(({ status }) => status === "left").length, 10)
    }).pipe(Effect.provide(layer))
  })

  it.live("X-27 replicas read each repository once between them, and one that starts later serves what the others read", () => {
    const { base, process } = world(() => hub, { everyMs: 3_600_000 })
    return Effect.gen(function* () {
      hub.put(R1, described(R1))
      const before = hub.asked.length
      const seen = known("deepseek/deepseek-r1")
      const both = Effect.gen(function* () {
        // Each looks as soon as it stands.
        const one = yield* Layer.build(Layer.fresh(process))
        const other = yield* Layer.build(Layer.fresh(process))
        for (const context of [one, other]) {
          yield* Effect.promise(() =>
            eventually(async () => assert.strictEqual(Effect.runSync(Effect.provideContext(seen, context))?.metrics.likes, 890))
          )
        }
      })
      yield* Effect.scoped(both)
      const asked = hub.asked.slice(before)
      assert.strictEqual(asked.filter((repository) => repository === R1).length, 1)
      assert.strictEqual(new Set(asked).size, asked.length)
      const late = yield* Layer.build(Layer.fresh(process))
      assert.strictEqual((yield* Effect.provideContext(seen, late))?.metrics.likes, 890)
    }).pipe(Effect.scoped, Effect.provide(base))
  })

  it.live("X-27 a repository is read once a day, one that failed once an hour, the longest neglected first", () => {
    const { base } = world(() => hub)
    const [hour, day] = [3_600_000, 86_400_000]
    return Effect.gen(function* () {
      const book = yield* HubBook
      const rhythm = { everyMs: day, againMs: hour }
      const all = ["a/a", "b/b", "c/c"]
      const at = (hours: number, most = 10) => book.claim(all, 1_800_000_000_000 + hours * hour, rhythm, most)
      assert.deepStrictEqual(yield* at(0, 2), ["a/a", "b/b"])
      assert.deepStrictEqual(yield* at(0), ["c/c"])
      yield* book.write("a/a", 1_800_000_000_000, metrics)
      yield* book.fail("b/b", "status 500")
      assert.deepStrictEqual(yield* at(0.9), [])
      assert.deepStrictEqual(yield* at(1), ["b/b", "c/c"])
      assert.deepStrictEqual(yield* at(23.5), ["b/b", "c/c"])
      assert.deepStrictEqual(yield* at(24, 1), ["a/a"])
      let reads = 0
      for (let hours = 25; hours < 25 + 7 * 24; hours++) {
        for (const repository of yield* at(hours)) {
          if (repository !== "a/a") continue
          reads++
          assert.isFalse(yield* book.write("a/a", 1_800_000_000_000 + hours * hour, metrics), "nothing new")
        }
      }
      assert.strictEqual(reads, 7, "in a week")
    }).pipe(Effect.provide(base))
  })
})

interface Row {
  readonly id: string
  readonly huggingface_metrics?: Readonly<Record<string, unknown>> | null
}

describe("the Hub's word over HTTP", () => {
  const hub: { current: FakeHub | null } = { current: null }
  beforeAll(async () => {
    hub.current = await startHub()
  })
  const here = house(() => ({
    HUGGING_FACE_URL: hub.current?.url ?? "",
    CATALOG_SYNC_INTERVAL_MS: "0",
    FIREWORKS_API_KEY: "fw",
    FIREWORKS_BASE_URL: "http://127.0.0.1:9/v1"
  }))
  afterAll(() => hub.current?.close())
  const get = <A>(path: string) => jsonCall<A>(here.server.url, null, "GET", path)

  it("X-27 the operator has it read; it stands in a model's detail, in lists that ask for it, and orders them", async () => {
    const llama = "meta-llama/Llama-3.3-70B-Instruct"
    hub.current?.put(llama, described(llama, { downloads: 5 }))
    hub.current?.put(R1, described(R1))
    const customer = await newCustomer(here.server)
    assert.strictEqual((await jsonCall(here.server.url, customer.key, "POST", "/admin/catalog/huggingface")).status, 403)
    const read = await here.server.admin<{ data: ReadonlyArray<Record<string, unknown>> }>("POST", "/admin/catalog/huggingface")
    assert.strictEqual(read.status, 200)
    assert.deepInclude(
      read.body.data.find((row) => row["repository"] === R1),
      { status: "updated", error: null }
    )
    const one = (await get<Row>("/v1/models/deepseek/deepseek-r1")).body.huggingface_metrics
    assert.deepInclude(one, {
      repository: R1,
      downloads: 1_234_567,
      likes: 890,
      parameter_count: 70_553_706_496,
      pipeline_tag: "text-generation",
      author: "deepseek-ai",
      inference_hosts: ["groq", "together"]
    })
    assert.match(String(one?.["synced_at"]), /^\d{4}-\d\d-\d\dT/)
    assert.isNull((await get<Row>("/v1/models/openai/gpt-4o")).body.huggingface_metrics)
    const plain = (await get<{ data: ReadonlyArray<Row> }>("/v1/models?limit=5")).body.data
    assert.isUndefined(plain[0]?.huggingface_metrics)
    const before = hub.current?.asked.length
    const sorted = (
      await get<{ data: ReadonlyArray<Row>; next_cursor: string }>("/v1/models?sort=downloads&include_huggingface=true&limit=3")
    ).body
    assert.deepStrictEqual(
      sorted.data.slice(0, 2).map((row) => [row.id, row.huggingface_metrics?.["downloads"]]),
      [
        ["deepseek/deepseek-r1", 1_234_567],
        ["meta-llama/llama-3.3-70b-instruct", 5]
      ]
    )
    assert.strictEqual(hub.current?.asked.length, before, "no request of a caller reaches the Hub")
  })
})
