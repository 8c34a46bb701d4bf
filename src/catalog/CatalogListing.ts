/**
 * The catalog as a list, written once and kept: whoever asks again gets the same bytes.
 *
 * What is kept belongs to one state of the catalog, of the circuits, of health and of the Hub: when one changes, the list is
 * put together anew out of rows of which only those are written again that look different now.
 *
 * @since 0.1.0
 */
import { Cache, Context, Effect, Exit, Layer, Metric } from "effect"
import type { Model } from "../../schemas/Model.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { allowedProviders, order } from "../routing/CandidateOrder.ts"
import { PublishedHealth } from "../routing/PublishedHealth.ts"
import { Catalog, isPriced } from "./Catalog.ts"
import { type KnownRepository, PublishedHubMetrics } from "./HubMetrics.ts"
import { encode, type ListingCursor } from "./ListingCursor.ts"
import {
  encodeModel,
  encodeWithHub,
  type Health,
  type ListedModel,
  type ListingQuery,
  pageOf,
  type Row,
  selectRows
} from "./ModelListing.ts"
import { orgProviders } from "./ProviderDetection.ts"

/** Rows after a place, at most `limit`; without a limit all of them. @category models @since 0.1.0 */
export interface ListingPage {
  readonly after: ListingCursor | null
  readonly limit: number | null
}

/** Milliseconds that a written list is kept. */
const KEPT = 300_000
/** Different lists that are kept, and bytes of all of them. */
const LISTS = 128
const BYTES = 64 * 1_024 * 1_024
/** Rows that are written before others get their turn. */
const AT_ONCE = 200
/** Rows of one model that are kept as they were written. */
const TEXTS = 24

const hits = Metric.counter("sluice_catalog_cache_hits_total", {
  description: "Lists of models given as they were kept",
  incremental: true
})
const misses = Metric.counter("sluice_catalog_cache_misses_total", { description: "Lists of models written", incremental: true })

/** @category services @since 0.1.0 */
export class CatalogListing extends Context.Service<
  CatalogListing,
  {
    /** The body of a list: JSON as UTF-8. */
    readonly list: (query: ListingQuery, page: ListingPage) => Effect.Effect<Uint8Array>
    /** The row of the model behind a name, all its providers in it; null when there is none. */
    readonly one: (name: string) => Effect.Effect<Readonly<Record<string, unknown>> | null>
    /** Models by id, with the providers that can be asked now. */
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
type KnownOf = (model: Model) => KnownRepository | null

/** Rows as they were written: gone with the model that they are of. */
const makeTexts = () => {
  const written = new WeakMap<Model, Map<string, string>>()
  return ({ model, slugs }: Row, healthOf: HealthOf, known: KnownRepository | null | undefined): string => {
    const states = slugs.map((slug) => healthOf(model.id, slug))
    const key = `${slugs.join(",")}|${states.join(",")}|${known === undefined ? "" : (known?.syncedAt ?? "none")}`
    const own = written.get(model) ?? new Map<string, string>()
    const found = own.get(key)
    if (found !== undefined) return found
    const stateOf = (slug: string): Health => states[slugs.indexOf(slug)] ?? null
    const row = known === undefined ? encodeModel(model, slugs, stateOf) : encodeWithHub(model, slugs, stateOf, known)
    const text = JSON.stringify(row)
    if (own.size >= TEXTS) own.clear()
    written.set(model, own.set(key, text))
    return text
  }
}

const makeWriter = () => {
  const textOf = makeTexts()
  return Effect.fnUntraced(function* (rows: ReadonlyArray<Row>, healthOf: HealthOf, knownOf: KnownOf | null) {
    const written: Array<string> = []
    for (const row of rows) {
      if (written.length % AT_ONCE === AT_ONCE - 1) yield* Effect.yieldNow
      written.push(textOf(row, healthOf, knownOf?.(row.model)))
    }
    return written
  })
}

/** Keeps lists, the oldest given up where they are too much together. Those who miss at once wait for one. */
const makeLists = (write: (key: string) => Effect.Effect<Uint8Array>) =>
  Effect.gen(function* () {
    const weights = new Map<string, number>()
    let weight = 0
    const drop = (key: string) => {
      weight -= weights.get(key) ?? 0
      weights.delete(key)
    }
    const cache = yield* Cache.makeWith(write, {
      capacity: LISTS,
      timeToLive: (exit, key) => {
        drop(key)
        if (Exit.isFailure(exit) || exit.value.length > BYTES) return 0
        weights.set(key, exit.value.length)
        weight += exit.value.length
        return KEPT
      }
    })
    /** What has left the cache by itself weighs nothing any more. */
    const trim = Effect.suspend(() => {
      const stale: Array<string> = []
      for (const key of weights.keys()) {
        if (weight <= BYTES && weights.size <= LISTS) break
        drop(key)
        stale.push(key)
      }
      return Effect.forEach(stale, (key) => Cache.invalidate(cache, key), { discard: true })
    })
    return Effect.fnUntraced(function* (key: string) {
      if (yield* Cache.has(cache, key)) {
        yield* Metric.update(hits, 1)
        return yield* Cache.get(cache, key)
      }
      return yield* Effect.tap(Cache.get(cache, key), () => trim)
    })
  })

const encoder = new TextEncoder()

const make = Effect.gen(function* () {
  const catalog = yield* Catalog
  const registry = yield* ProviderRegistry
  const breakers = yield* Breakers
  const health = yield* PublishedHealth
  const hub = yield* PublishedHubMetrics
  const writeRows = makeWriter()

  const choices = (model: Model) =>
    order(model, { chain: registry.chain, detected: null, org: orgProviders[model.org] ?? [], preference: null })

  const listed = (model: Model, open: ReadonlyArray<string>): ListedModel => {
    const allowed = allowedProviders(model)
    const priced = new Set(model.providers.flatMap((row) => (isPriced(row.pricing, model.free) ? [row.slug] : [])))
    const all = choices(model).filter((slug) => allowed.includes(slug) && priced.has(slug))
    const usable = all.filter((slug) => registry.get(slug)?.active === true && !open.includes(slug))
    return { model, all, usable, text: `${model.id} ${model.name}`.toLowerCase() }
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
        return models.sort((a, b) => (a.model.id < b.model.id ? -1 : 1))
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
    const [of, query, page]: readonly [string, ListingQuery, ListingPage] = JSON.parse(key)
    const told = hub()
    const { next, rows } = pageOf(selectRows(yield* Cache.get(everything, of), query, told), query, page.after, page.limit)
    const written = yield* writeRows(rows, healthIn(of), query.hub ? told.of : null)
    return encoder.encode(
      `{"object":"list","data":[${written.join(",")}],"next_cursor":${next === null ? "null" : JSON.stringify(encode(next))}}`
    )
  })
  const lists = yield* makeLists(write)

  return CatalogListing.of({
    list: (query, page) => Effect.flatMap(state, (key) => lists(JSON.stringify([key, query, page, health().version, hub().version]))),
    one: (name) =>
      Effect.map(state, (key) => {
        const model = catalog.find(name)
        if (model === undefined) return null
        const healthOf = healthIn(key)
        return encodeWithHub(model, choices(model), (slug) => healthOf(model.id, slug), hub().of(model))
      }),
    models: Effect.flatMap(state, (key) => Cache.get(everything, key))
  })
})
