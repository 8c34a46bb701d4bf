/**
 * What is served, and by whom; no key needed.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Catalog } from "../catalog/Catalog.ts"
import { CatalogListing } from "../catalog/CatalogListing.ts"
import { CatalogSync } from "../catalog/CatalogSync.ts"
import { HubSync } from "../catalog/HubSync.ts"
import { Identity } from "../identity/Identity.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { PublishedHealth } from "../routing/PublishedHealth.ts"
import { operator } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { SyncRequest } from "./CatalogApi.ts"
import { decodeBody, handled, json, list, listWhole } from "./Handled.ts"
import { type Query, readListing } from "./ListingRequest.ts"
import * as ModelViews from "./ModelViews.ts"

const unavailable = ApiError.make(503, "SERVICE_UNAVAILABLE", "The database did not answer. Try again shortly.")

/** Models that can be held against each other at once. */
const MAX_COMPARED = 20

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "catalog",
  Effect.fnUntraced(function* (handlers) {
    const catalog = yield* Catalog
    const shown = yield* CatalogListing
    const registry = yield* ProviderRegistry
    const breakers = yield* Breakers
    const sync = yield* CatalogSync
    const hub = yield* HubSync
    const identity = yield* Identity
    const health = yield* PublishedHealth
    const { quickest, trending } = yield* ModelViews.make

    const listing = Effect.fnUntraced(function* (query: Query) {
      const { page, wanted } = yield* readListing(query, (slug) => registry.get(slug)?.definition.slug ?? slug)
      return HttpServerResponse.uint8Array(yield* shown.list(wanted, page), { contentType: "application/json" })
    })

    const row = Effect.fnUntraced(function* (name: string) {
      const found = yield* shown.one(name)
      if (found !== null) return found
      const message = `The model \`${name.slice(0, 256)}\` does not exist.`
      return yield* Effect.fail(ApiError.make(404, "model_not_found", message, { param: "model" }))
    })
    const one = (name: string) => Effect.map(row(name), (found) => json(found))

    const compare = Effect.fnUntraced(function* (ids: string | undefined) {
      const names = [...new Set((ids ?? "").split(",").map((id) => id.trim()))].filter((id) => id !== "")
      if (names.length < 2 || names.length > MAX_COMPARED) {
        return yield* Effect.fail(ApiError.invalid(`\`ids\` takes 2 to ${MAX_COMPARED} models, separated by commas.`, "ids"))
      }
      return list(yield* Effect.forEach(names, row))
    })

    const providers = Effect.fnUntraced(function* (query: Query) {
      const states = yield* breakers.states
      const served = new Map<string, number>()
      for (const model of yield* catalog.models) {
        for (const { slug } of model.providers) served.set(slug, (served.get(slug) ?? 0) + 1)
      }
      const seen = health()
      const rows = registry.all.map(({ active, definition }) => {
        const breaker = states.find((state) => state.provider === definition.slug)?.state ?? "closed"
        return {
          slug: definition.slug,
          name: definition.name,
          protocol: definition.protocol,
          active,
          models: served.get(definition.slug) ?? 0,
          capabilities: definition.capabilities,
          failover_position: definition.failoverPosition,
          breaker,
          health: breaker === "open" ? "down" : seen.ofProvider(definition.slug)
        }
      })
      return yield* listWhole(rows, query, ({ slug }) => slug)
    })

    const readSync = decodeBody(SyncRequest)
    const syncNow = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      yield* operator(identity, request, "models:manage")
      const hasBody = Number(request.headers["content-length"] ?? "0") > 0
      const asked = hasBody ? (yield* readSync(request)).provider : null
      if (asked === undefined || asked === null) return list(yield* sync.run(sync.listing))
      const provider = sync.listing.find((candidate) => candidate === registry.get(asked))
      if (provider !== undefined) return list(yield* sync.run([provider]))
      return yield* Effect.fail(ApiError.invalid(`\`${asked}\` is no active provider that lists its models.`, "provider"))
    })

    const readHub = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      yield* operator(identity, request, "models:manage")
      return list(yield* Effect.mapError(hub.run, () => unavailable))
    })

    return handlers
      .handleRaw("models", ({ query }) => handled(listing(query)))
      .handleRaw("model", ({ params }) => handled(one(`${params.org}/${params.name}`)))
      .handleRaw("modelByName", ({ params }) => handled(one(params.id)))
      .handleRaw("modelByPath", ({ params }) => handled(one([params.org, params.name, params.more, params["*"]].filter(Boolean).join("/"))))
      .handleRaw("compareModels", ({ query }) => handled(compare(query.ids)))
      .handleRaw("trendingModels", ({ query }) => handled(trending(query)))
      .handleRaw("lowLatencyModels", ({ query }) => handled(quickest(query)))
      .handleRaw("providers", ({ query }) => handled(providers(query)))
      .handleRaw("syncCatalog", ({ request }) => handled(syncNow(request)))
      .handleRaw("syncHub", ({ request }) => handled(readHub(request)))
  })
)
