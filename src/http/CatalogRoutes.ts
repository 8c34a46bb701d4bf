/**
 * What is served, and by whom; no key needed.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import type { Model } from "../../schemas/Model.ts"
import { Catalog } from "../catalog/Catalog.ts"
import { encodeModel, listModels } from "../catalog/ModelListing.ts"
import { orgProviders } from "../catalog/ProviderDetection.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { order } from "../routing/CandidateOrder.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { handled, json, list, page } from "./Handled.ts"

const positionOf = (cursor: string | null): number => (cursor !== null && /^\d{1,9}$/.test(cursor) ? Number(cursor) : 0)

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "catalog",
  Effect.fnUntraced(function* (handlers) {
    const catalog = yield* Catalog
    const registry = yield* ProviderRegistry
    const breakers = yield* Breakers
    const models = yield* catalog.models
    const isActive = (slug: string) => registry.get(slug)?.active === true
    const choices = (model: Model) =>
      order(model, { chain: registry.chain, detected: null, org: orgProviders[model.org] ?? [], preference: null })

    const listing = Effect.fnUntraced(function* (query: Readonly<Record<string, string | undefined>>) {
      const view = query["view"] ?? "unique"
      if (view !== "unique" && view !== "all") return yield* Effect.fail(ApiError.invalid("`view` is `unique` or `all`.", "view"))
      const asked = query["provider"]
      const provider = asked === undefined ? null : (registry.get(asked)?.definition.slug ?? asked)
      const active = query["active"] !== "false"
      const rows = listModels(
        models,
        { view, active, provider, modality: query["modality"] ?? null, q: query["q"] ?? null },
        isActive,
        choices
      )
      // Clients of the plain protocol do not page: without a page asked for, everything is given.
      if (query["limit"] === undefined && query["cursor"] === undefined) return list(rows)
      const wanted = yield* page({ limit: query["limit"], cursor: query["cursor"] })
      const from = positionOf(wanted.cursor)
      const next = from + wanted.limit
      return list(rows.slice(from, next), next < rows.length ? String(next) : null)
    })

    const one = (name: string) => {
      const id = catalog.canonical(name)
      const model = models.find((entry) => entry.id === id)
      return model === undefined
        ? Effect.fail(ApiError.make(404, "model_not_found", `The model \`${name.slice(0, 256)}\` does not exist.`, { param: "model" }))
        : Effect.succeed(json(encodeModel(model, choices(model))))
    }

    const providers = Effect.map(breakers.states, (states) =>
      list(
        registry.all.map(({ active, definition }) => ({
          slug: definition.slug,
          name: definition.name,
          protocol: definition.protocol,
          active,
          models: models.filter((model) => model.providers.some((provider) => provider.slug === definition.slug)).length,
          capabilities: definition.capabilities,
          failover_position: definition.failoverPosition,
          breaker: states.find((state) => state.provider === definition.slug)?.state ?? "closed"
        }))
      )
    )

    return handlers
      .handleRaw("models", ({ query }) => handled(listing(query)))
      .handleRaw("model", ({ params }) => handled(one(`${params.org}/${params.name}`)))
      .handleRaw("modelByName", ({ params }) => handled(one(params.id)))
      .handleRaw("providers", () => providers)
  })
)
