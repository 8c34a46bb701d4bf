/**
 * The catalog as callers see it: what is in the list, how it is written, and that it is kept.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Metric, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { decode, shipped } from "../../src/catalog/CatalogData.ts"
import { CatalogListing, type ListingPage } from "../../src/catalog/CatalogListing.ts"
import { decode as decodeCursor, type ListingCursor } from "../../src/catalog/ListingCursor.ts"
import { plainQuery as all, type ListingQuery } from "../../src/catalog/ModelListing.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"

const whole: ListingPage = { after: null, limit: null }

interface Row {
  readonly id: string
  readonly pricing: Readonly<Record<string, string | null>> | null
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

const listed = Effect.fnUntraced(function* (query: Partial<ListingQuery> = {}, page: ListingPage = whole) {
  const listing = yield* CatalogListing
  const body: { object: string; data: ReadonlyArray<Row>; next_cursor: string | null } = JSON.parse(
    new TextDecoder().decode(yield* listing.list({ ...all, ...query }, page))
  )
  return body
})

const ids = (query: Partial<ListingQuery> = {}) => Effect.map(listed(query), (body) => body.data.map((row) => row.id))

const rowName = (row: Row) => `${row.id} ${row.providers.map(({ slug }) => slug).join(",")}`
const rowsIn = (query: Partial<ListingQuery>) => Effect.map(listed(query), (body) => body.data.map(rowName))

const cursorOf = (text: string): ListingCursor => decodeCursor(text) ?? assert.fail(`no cursor: ${text}`)

/** Every row from a cursor on, page by page. */
const pagesOf = Effect.fnUntraced(function* (query: Partial<ListingQuery>, limit: number, from: string | null = null) {
  const rows: Array<string> = []
  let cursor = from
  do {
    const body: { data: ReadonlyArray<Row>; next_cursor: string | null } = yield* listed(query, {
      after: cursor === null ? null : cursorOf(cursor),
      limit
    })
    rows.push(...body.data.map(rowName))
    cursor = body.next_cursor
  } while (cursor !== null)
  return rows
})

/** Dearer by number. */
const priced = (i: number) =>
  model(`a/m-${String(i).padStart(2, "0")}`, { pricing: { prompt: `0.0000${10 + Math.floor(i)}`, completion: "0.0002" } })

/** How often a list was written. */
const written = Effect.map(Metric.snapshot, (metrics) => {
  const found = metrics.find((metric) => metric.id === "sluice_catalog_cache_misses_total")
  return found?.type === "Counter" ? Number(found.state.count) : 0
})

describe("the list of models", () => {
  it.effect("CM-9.2.1 a model without a price is not in it, in no view, and zero is a price only where it is free", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ids(), ["a/free:free", "a/priced"])
      assert.deepStrictEqual(yield* ids({ active: false }), ["a/free:free", "a/priced"])
      for (const row of (yield* listed()).data) assert.strictEqual(row.pricing?.["prompt"] === "0.00", row.free)
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
      assert.deepStrictEqual(yield* ids(), ["a/both", "a/on"])
      assert.deepStrictEqual(yield* ids({ active: false }), ["a/both", "a/nobody", "a/off", "a/on"])
      const breakers = yield* Breakers
      yield* (yield* breakers.permit("groq"))?.tell("failure") ?? Effect.void
      assert.deepStrictEqual(yield* ids(), ["a/both"], "while the circuit of groq is open")
      const [both] = (yield* listed()).data
      assert.deepStrictEqual(
        both?.providers.map((row) => row.slug),
        ["together"]
      )
      yield* breakers.reset("groq")
      assert.deepStrictEqual(yield* ids(), ["a/both", "a/on"])
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
      assert.deepStrictEqual(yield* ids({ provider: "openai" }), [])
      for (const view of ["unique", "all"] as const) {
        const asked = yield* rowsIn({ view })
        for (const limit of [1, 2, 3, 100]) assert.deepStrictEqual(yield* pagesOf({ view }, limit), asked, `${view} by ${limit}`)
      }
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

  it.effect("X-28 a modality is one that goes in or comes out, or both sides just so", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ids({ modality: "image" }), ["b/paints", "b/sees"])
      assert.deepStrictEqual(yield* ids({ modality: "text" }), ["b/embeds", "b/hears", "b/paints", "b/sees", "b/talks"])
      assert.deepStrictEqual(yield* ids({ modality: "Audio" }), ["b/hears"])
      assert.deepStrictEqual(yield* ids({ modality: "embedding" }), ["b/embeds"])
      assert.deepStrictEqual(yield* ids({ modality: "text->image" }), ["b/paints"])
      assert.deepStrictEqual(yield* ids({ modality: "text→text" }), ["b/talks"])
      assert.deepStrictEqual(yield* ids({ modality: "smell" }), [])
    }).pipe(
      Effect.provide(
        layerOf([
          model("b/talks"),
          model("b/sees", { modality: "text+image->text" }),
          model("b/paints", { modality: "text->image", pricing: { image: "0.01" } }),
          model("b/hears", { modality: "audio->text", pricing: { audioSecond: "0.0001" } }),
          model("b/embeds", { modality: "text->embedding", pricing: { prompt: "0.00000002", completion: "0" } })
        ])
      )
    )
  )

  it.effect("CM-9.1.3 what is not paid by tokens has no price for them: zero is one only of what is free", () =>
    Effect.gen(function* () {
      const prices = new Map((yield* listed()).data.map((row) => [row.id, row.pricing]))
      assert.deepStrictEqual(prices.get("b/paints"), { prompt: null, completion: null, image: "0.01" })
      assert.deepStrictEqual(prices.get("b/hears"), { prompt: null, completion: null, audio_second: "0.0001" })
      assert.deepStrictEqual(prices.get("b/embeds"), { prompt: "0.00000002", completion: null })
      assert.deepStrictEqual(prices.get("b/gift:free"), { prompt: "0.00", completion: "0.00" })
    }).pipe(
      Effect.provide(
        layerOf(
          [
            model("b/paints", { modality: "text->image", pricing: { image: "0.01" } }),
            model("b/hears", { modality: "audio->text", pricing: { audioSecond: "0.0001" } }),
            model("b/embeds", { modality: "text->embedding", pricing: { prompt: "0.00000002", completion: "0" } }),
            model("b/gift:free", {
              free: true,
              pricing: { prompt: "0", completion: "0" },
              providers: [{ slug: "openrouter", nativeId: "gift" }]
            })
          ],
          ["groq", "openrouter"]
        )
      )
    )
  )

  it.effect("X-28 models that come and go between two pages make no other one come twice or be left out", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      for (const view of ["unique", "all"] as const) {
        for (const sort of ["id", "price"] as const) {
          yield* catalog.replace(
            decode(
              Array.from({ length: 20 }, (_, i) => priced(i)),
              {}
            )
          )
          const staying = (yield* rowsIn({ view, sort })).filter((row) => !/m-(03|06|07|10|11)/.test(row))
          const first = yield* listed({ view, sort }, { after: null, limit: 7 })
          // The last one given goes, others before and after it too, and new ones come in front and behind.
          yield* catalog.replace(
            decode([...Array.from({ length: 20 }, (_, i) => i).filter((i) => ![3, 6, 7, 10, 11].includes(i)), 50, 0.5].map(priced), {})
          )
          const rest = yield* pagesOf({ view, sort }, 7, first.next_cursor)
          const given = [...first.data.map(rowName), ...rest]
          assert.strictEqual(new Set(given).size, given.length, `${view} ${sort}: twice`)
          assert.deepStrictEqual(
            staying.filter((row) => !given.includes(row)),
            [],
            `${view} ${sort}: left out`
          )
        }
      }
    }).pipe(Effect.provide(layerOf([])))
  )

  it.effect("X-28 in the order of price or of context, what has none last", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ids({ sort: "price" }), ["z/cheap", "b/dear", "a/paints"])
      assert.deepStrictEqual(yield* ids({ sort: "context_length" }), ["b/dear", "a/paints", "z/cheap"])
    }).pipe(
      Effect.provide(
        layerOf([
          model("a/paints", { modality: "text->image", pricing: { image: "0.01" } }),
          model("b/dear", { pricing: { prompt: "0.00001", completion: "0.00002" }, contextLength: 200_000 }),
          model("z/cheap", { contextLength: 4_096 })
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

  it.live(
    "CM-9.3.3 a kept list of ten thousand models is given in under 10 ms, whole, searched, filtered, sorted or with every provider",
    () =>
      Effect.gen(function* () {
        const listing = yield* CatalogListing
        const asked: ReadonlyArray<readonly [Partial<ListingQuery>, ListingPage]> = [
          [{}, whole],
          [{ view: "all" }, whole],
          [{ q: "m99" }, whole],
          [{ provider: "groq" }, whole],
          [{ modality: "text" }, { after: null, limit: 1_000 }],
          [
            { sort: "price", view: "all" },
            { after: null, limit: 100 }
          ],
          [
            { sort: "context_length", hub: true },
            { after: null, limit: 200 }
          ]
        ]
        const before = yield* written
        for (const [query, page] of asked) {
          const first = yield* listing.list({ ...all, ...query }, page)
          assert.isAbove(first.length, 50_000)
          const times: Array<number> = []
          for (let i = 0; i < 300; i++) {
            const start = performance.now()
            assert.strictEqual(yield* listing.list({ ...all, ...query }, page), first)
            times.push(performance.now() - start)
          }
          times.sort((a, b) => a - b)
          assert.isBelow(times[296] ?? Number.POSITIVE_INFINITY, 10, JSON.stringify(query))
        }
        assert.strictEqual((yield* written) - before, asked.length, "each was written once")
      }).pipe(Effect.provide(layerOf(Array.from({ length: 10_000 }, (_, i) => model(`a/m${i}`)))))
  )

  it.effect("many different lists of ten thousand models are kept within bounds", () =>
    Effect.gen(function* () {
      const before = yield* written
      // Some forty megabytes each.
      for (const q of ["a", "m", "/"]) yield* listed({ view: "all", q })
      yield* listed({ view: "all", q: "/" })
      assert.strictEqual((yield* written) - before, 3, "the latest is kept")
      yield* listed({ view: "all", q: "a" })
      assert.strictEqual((yield* written) - before, 4, "the oldest was given up")
    }).pipe(Effect.provide(layerOf(Array.from({ length: 10_000 }, (_, i) => model(`a/m${i}`, { name: "x".repeat(1_400) })))))
  )
})
