/**
 * The catalog as a list, written once and kept: whoever asks again gets the same text.
 *
 * What is kept belongs to one state of the catalog, of the circuits and of health: when one changes, it is written anew.
 *
 * @since 0.1.0
 */
import { Cache, Context, Effect, Layer, Metric } from "effect"
import type { Model } from "../../schemas/Model.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { allowedProviders, order } from "../routing/CandidateOrder.ts"
import { PublishedHealth } from "../routing/PublishedHealth.ts"
import { Catalog, isPriced } from "./Catalog.ts"
import { encodeModel, type Health, type ListedModel, type ListingQuery, type Row, selectRows } from "./ModelListing.ts"
import { orgProviders } from "./ProviderDetection.ts"

/** Rows from `from` on, at most `limit`; without a limit all of them. @category models @since 0.1.0 */
export interface ListingPage {
  readonly from: number
  readonly limit: number | null
}

/** Milliseconds that a written list is kept. */
const KEPT = 300_000
/** Different lists that are kept. */
const LISTS = 128
/** Rows that are written before others get their turn. */
const AT_ONCE = 200

const hits = Metric.counter("sluice_catalog_cache_hits_total", {
  description: "Lists of models given as they were kept",
  incremental: true
})
const misses = Metric.counter("sluice_catalog_cache_misses_total", { description: "Lists of models written", incremental: true })

/** @category services @since 0.1.0 */
export class CatalogListing extends Context.Service<
  CatalogListing,
  {
    /** The body of a list, as JSON. */
    readonly list: (query: ListingQuery, page: ListingPage) => Effect.Effect<string>
    /** The row of the model behind a name, all its providers in it; null when there is none. */
    readonly one: (name: string) => Effect.Effect<Readonly<Record<string, unknown>> | null>
    /** Models with the providers that can be asked now. */
    readonly models: Effect.Effect<ReadonlyArray<ListedModel>>
  }
>()("sluice/catalog/CatalogListing") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** How a model is at a provider. */
type HealthOf = (model: string, slug: string) => Health

const writeRows = Effect.fnUntraced(function* (rows: ReadonlyArray<Row>, healthOf: HealthOf) {
  const written: Array<string> = []
  for (const [model, slugs] of rows) {
    if (written.length % AT_ONCE === AT_ONCE - 1) yield* Effect.yieldNow
    written.push(JSON.stringify(encodeModel(model, slugs, (slug) => healthOf(model.id, slug))))
  }
  return written
})

const make = Effect.gen(function* () {
  const catalog = yield* Catalog
  const registry = yield* ProviderRegistry
  const breakers = yield* Breakers
  const health = yield* PublishedHealth

  const choices = (model: Model) =>
    order(model, { chain: registry.chain, detected: null, org: orgProviders[model.org] ?? [], preference: null })

  const listed = (model: Model, open: ReadonlyArray<string>): ListedModel => {
    const allowed = allowedProviders(model)
    const priced = new Set(model.providers.flatMap((row) => (isPriced(row.pricing, model.free) ? [row.slug] : [])))
    const all = choices(model).filter((slug) => allowed.includes(slug) && priced.has(slug))
    const usable = all.filter((slug) => registry.get(slug)?.active === true && !open.includes(slug))
    return { model, all, usable }
  }

  /** Providers that nobody can reach now: their circuit is open. */
  const openCircuits = Effect.map(breakers.states, (states) =>
    states.flatMap(({ provider, state }) => (state === "open" ? [provider] : [])).sort()
  )

  const everything = yield* Cache.make({
    capacity: 4,
    timeToLive: KEPT,
    lookup: (key: string) =>
      Effect.gen(function* () {
        const open = key.slice(key.indexOf("|") + 1).split(",")
        const models: Array<ListedModel> = []
        for (const model of yield* catalog.models) {
          if (models.length % AT_ONCE === AT_ONCE - 1) yield* Effect.yieldNow
          models.push(listed(model, open))
        }
        return models
      })
  })

  /** Names the state of the catalog and of the circuits. */
  const state = Effect.map(openCircuits, (open) => `${catalog.version()}|${open.join(",")}`)
  const healthIn = (key: string): HealthOf => {
    const open = key.slice(key.indexOf("|") + 1).split(",")
    const seen = health()
    return (model, slug) => (open.includes(slug) ? "down" : seen.of(model, slug))
  }

  const write = Effect.fnUntraced(function* (key: string) {
    yield* Metric.update(misses, 1)
    const [of, query, page]: readonly [string, ListingQuery, ListingPage, number] = JSON.parse(key)
    const rows = selectRows(yield* Cache.get(everything, of), query)
    const next = page.limit === null ? rows.length : page.from + page.limit
    const written = yield* writeRows(rows.slice(page.from, next), healthIn(of))
    return `{"object":"list","data":[${written.join(",")}],"next_cursor":${next < rows.length ? `"${next}"` : "null"}}`
  })
  const lists = yield* Cache.make({ capacity: LISTS, timeToLive: KEPT, lookup: write })

  return CatalogListing.of({
    list: Effect.fnUntraced(function* (query: ListingQuery, page: ListingPage) {
      const key = JSON.stringify([yield* state, query, page, health().version])
      if (yield* Cache.has(lists, key)) yield* Metric.update(hits, 1)
      return yield* Cache.get(lists, key)
    }),
    one: (name) =>
      Effect.map(state, (key) => {
        const model = catalog.find(name)
        if (model === undefined) return null
        const healthOf = healthIn(key)
        return encodeModel(model, choices(model), (slug) => healthOf(model.id, slug))
      }),
    models: Effect.flatMap(state, (key) => Cache.get(everything, key))
  })
})
