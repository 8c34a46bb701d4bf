/**
 * The catalog as callers see it: what is in the list, how it is written, and that it is kept.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Metric, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { decode, shipped } from "../../src/catalog/CatalogData.ts"
import { CatalogListing } from "../../src/catalog/CatalogListing.ts"
import type { ListingQuery } from "../../src/catalog/ModelListing.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"

const all: ListingQuery = { view: "unique", active: true, provider: null, modality: null, q: null }
const whole = { from: 0, limit: null }

interface Row {
  readonly id: string
  readonly pricing: { readonly prompt: string; readonly completion: string } | null
  readonly free: boolean
  readonly provider_slug: string
  readonly providers: ReadonlyArray<{ readonly slug: string }>
}

const price = { prompt: "0.000001", completion: "0.000002" }
const supports = { streaming: true, tools: true, vision: false, json_schema: false, logprobs: false, reasoning: false, prefill: false }
const model = (id: string, more: object = {}) => ({
  id,
  name: id,
  org: id.split("/")[0],
  contextLength: 8_192,
  maxOutput: 4_096,
  modality: "text->text",
  supports,
  free: false,
  premium: false,
  openWeights: true,
  benchmarks: {},
  pricing: price,
  providers: [
    { slug: "groq", nativeId: id },
    { slug: "together", nativeId: id }
  ],
  ...more
})

const layerOf = (models: ReadonlyArray<object>, active: ReadonlyArray<string> = ["groq", "together"]) =>
  CatalogListing.layer.pipe(
    Layer.provideMerge(Catalog.layerFrom(() => decode(models, {}))),
    Layer.provideMerge(Breakers.layer({ failures: 1, recoveryMs: 1_000 })),
    Layer.provideMerge(ProviderRegistry.layer(new Map(active.map((slug) => [slug, { apiKey: Redacted.make("key") }]))))
  )

const listed = Effect.fnUntraced(function* (query: Partial<ListingQuery> = {}, page: { from: number; limit: number | null } = whole) {
  const listing = yield* CatalogListing
  const body: { object: string; data: ReadonlyArray<Row>; next_cursor: string | null } = JSON.parse(
    yield* listing.list({ ...all, ...query }, page)
  )
  return body
})

const ids = (query: Partial<ListingQuery> = {}) => Effect.map(listed(query), (body) => body.data.map((row) => row.id))

/** How often a list was written. */
const written = Effect.map(Metric.snapshot, (metrics) => {
  const found = metrics.find((metric) => metric.id === "sluice_catalog_cache_misses_total")
  return found?.type === "Counter" ? Number(found.state.count) : 0
})

describe("the list of models", () => {
  it.effect("CM-9.2.1 a model without a price is not in it, in no view, and zero is a price only where it is free", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ids(), ["a/priced", "a/free:free"])
      assert.deepStrictEqual(yield* ids({ active: false }), ["a/priced", "a/free:free"])
      for (const row of (yield* listed()).data) assert.strictEqual(row.pricing?.prompt === "0.00", row.free)
    }).pipe(
      Effect.provide(
        layerOf(
          [
            model("a/priced"),
            model("a/unpriced", { pricing: null }),
            model("a/zero", { pricing: { prompt: "0", completion: "0" } }),
            model("a/free:free", {
              free: true,
              pricing: { prompt: "0", completion: "0" },
              providers: [{ slug: "openrouter", nativeId: "x" }]
            })
          ],
          ["groq", "openrouter"]
        )
      )
    )
  )

  it.effect("CM-9.2.2 models of a provider that is not registered, not switched on or not reachable are not in it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ids(), ["a/on", "a/both"])
      assert.deepStrictEqual(yield* ids({ active: false }), ["a/on", "a/off", "a/both", "a/nobody"])
      const breakers = yield* Breakers
      yield* (yield* breakers.permit("groq"))?.tell("failure") ?? Effect.void
      assert.deepStrictEqual(yield* ids(), ["a/both"], "while the circuit of groq is open")
      const [both] = (yield* listed()).data
      assert.deepStrictEqual(
        both?.providers.map((row) => row.slug),
        ["together"]
      )
      yield* breakers.reset("groq")
      assert.deepStrictEqual(yield* ids(), ["a/on", "a/both"])
    }).pipe(
      Effect.provide(
        layerOf([
          model("a/on", { providers: [{ slug: "groq", nativeId: "on" }] }),
          model("a/off", { providers: [{ slug: "openrouter", nativeId: "off" }] }),
          model("a/both"),
          model("a/nobody", { providers: [{ slug: "no-such-provider", nativeId: "nobody" }] })
        ])
      )
    )
  )

  it.effect("CM-9.2.3 the unique view has each id once, with its providers", () =>
    Effect.gen(function* () {
      const rows = (yield* listed()).data
      assert.strictEqual(new Set(rows.map((row) => row.id)).size, rows.length)
      for (const row of rows) {
        assert.isNotEmpty(row.providers)
        assert.strictEqual(row.provider_slug, row.providers[0]?.slug)
      }
    }).pipe(
      Effect.provide(
        CatalogListing.layer.pipe(
          Layer.provideMerge(Catalog.layerFrom(shipped)),
          Layer.provideMerge(Breakers.layer({ failures: 1, recoveryMs: 1_000 })),
          Layer.provideMerge(
            ProviderRegistry.layer(
              new Map(["openai", "groq", "together", "fireworks"].map((slug) => [slug, { apiKey: Redacted.make("key") }]))
            )
          )
        )
      )
    )
  )

  it.effect("CM-9.2.4 the full view has one row for each model and provider", () =>
    Effect.gen(function* () {
      const rows = (yield* listed({ view: "all" })).data
      assert.deepStrictEqual(
        rows.map((row) => [row.id, row.providers.map((provider) => provider.slug)]),
        [
          ["a/x", ["together"]],
          ["a/x", ["groq"]],
          ["a/y", ["together"]],
          ["a/y", ["groq"]]
        ]
      )
      assert.deepStrictEqual(
        (yield* listed({ view: "all", provider: "groq" })).data.map((row) => [row.id, row.provider_slug]),
        [
          ["a/x", "groq"],
          ["a/y", "groq"]
        ]
      )
    }).pipe(Effect.provide(layerOf([model("a/x"), model("a/y")])))
  )

  it.effect("X-28 it is searched, filtered and paged; the pages make the whole", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ids({ q: "LLAMA 70" }), ["meta/llama-70b"])
      assert.deepStrictEqual(yield* ids({ modality: "text->image" }), ["b/paints"])
      assert.deepStrictEqual(yield* ids({ provider: "openai" }), [])
      const pages: Array<string> = []
      let cursor: string | null = "0"
      while (cursor !== null) {
        const body: { data: ReadonlyArray<Row>; next_cursor: string | null } = yield* listed({}, { from: Number(cursor), limit: 2 })
        pages.push(...body.data.map((row) => row.id))
        cursor = body.next_cursor
      }
      assert.deepStrictEqual(pages, yield* ids())
    }).pipe(
      Effect.provide(
        layerOf([
          model("meta/llama-70b"),
          model("meta/llama-8b"),
          model("b/paints", { modality: "text->image", pricing: { image: "0.01" } }),
          model("c/d"),
          model("c/e")
        ])
      )
    )
  )

  it.effect("CM-8.2.2 the written list is kept 300 s", () =>
    Effect.gen(function* () {
      const before = yield* written
      yield* listed()
      yield* TestClock.adjust("299 seconds")
      yield* listed()
      assert.strictEqual((yield* written) - before, 1)
      yield* TestClock.adjust("1 seconds")
      yield* listed()
      assert.strictEqual((yield* written) - before, 2)
    }).pipe(Effect.provide(layerOf([model("a/x")])))
  )

  it.effect("X-24 a hundred who miss at once make one list, also when the first of them leaves", () =>
    Effect.gen(function* () {
      const before = yield* written
      const bodies = yield* Effect.forEach(Array.from({ length: 100 }), () => listed(), { concurrency: "unbounded" })
      assert.strictEqual((yield* written) - before, 1)
      for (const body of bodies) assert.lengthOf(body.data, 1_000)
      const catalog = yield* Catalog
      yield* catalog.replace(decode([model("a/other")], {}))
      const first = yield* Effect.forkChild(listed(), { startImmediately: true })
      const second = yield* Effect.forkChild(listed(), { startImmediately: true })
      yield* Fiber.interrupt(first)
      const { data } = yield* Fiber.join(second)
      assert.deepStrictEqual(
        data.map((row) => row.id),
        ["a/other"]
      )
      assert.strictEqual((yield* written) - before, 2)
    }).pipe(Effect.provide(layerOf(Array.from({ length: 1_000 }, (_, i) => model(`a/m${i}`)))))
  )

  it.live("CM-9.3.3 a kept list of ten thousand models is given in under 10 ms", () =>
    Effect.gen(function* () {
      const listing = yield* CatalogListing
      yield* listing.list(all, whole)
      const times: Array<number> = []
      for (let i = 0; i < 50; i++) {
        const start = performance.now()
        const body = yield* listing.list(all, whole)
        times.push(performance.now() - start)
        assert.isAbove(body.length, 1_000_000)
      }
      times.sort((a, b) => a - b)
      assert.isBelow(times[25] ?? Number.POSITIVE_INFINITY, 10)
    }).pipe(Effect.provide(layerOf(Array.from({ length: 10_000 }, (_, i) => model(`a/m${i}`)))))
  )
})
