/**
 * Models and providers as the `sluice` command sees them: as a running server has them, else as the settings say.
 *
 * @since 0.1.0
 */
import { Effect, FileSystem, Layer, type Path, Schema } from "effect"
import type { Model } from "../schemas/Model.ts"
import { Catalog, isPremium, isPriced } from "../src/catalog/Catalog.ts"
import { judge } from "../src/catalog/ListingPrice.ts"
import { encodeModel } from "../src/catalog/ModelListing.ts"
import type { CatalogDesk, ModelRow, PriceFinding, ProviderRow } from "../src/cli/CatalogCommands.ts"
import { ProviderRegistry } from "../src/providers/ProviderRegistry.ts"
import { allowedProviders } from "../src/routing/CandidateOrder.ts"
import { addressFile, DeskError, running } from "./Desk.ts"
import { tryOut } from "./ProviderTrial.ts"
import * as Settings from "./Settings.ts"
import * as UndiciTransport from "./UndiciTransport.ts"

const Prices = Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown))
const Row = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  modality: Schema.String,
  context_length: Schema.Number,
  free: Schema.Boolean,
  pricing: Prices,
  providers: Schema.Array(Schema.Struct({ slug: Schema.String, native_id: Schema.String, pricing: Prices }))
})
const Rows = Schema.Struct({ data: Schema.Array(Row) })
const ProviderRows = Schema.Struct({
  data: Schema.Array(
    Schema.Struct({
      slug: Schema.String,
      name: Schema.String,
      protocol: Schema.String,
      active: Schema.Boolean,
      models: Schema.Number,
      breaker: Schema.String
    })
  )
})
const SyncRows = Schema.Struct({
  data: Schema.Array(
    Schema.Struct({
      provider: Schema.String,
      status: Schema.String,
      models: Schema.Number,
      added: Schema.Number,
      changed: Schema.Number,
      deactivated: Schema.Number,
      error: Schema.NullOr(Schema.String)
    })
  )
})

/** The catalog of the settings, without a server. */
const offline = (settings: Settings.Settings) =>
  Catalog.layerFrom(settings.catalog).pipe(Layer.provideMerge(ProviderRegistry.layer(settings.providers, settings.definitions)))

/** The server that is asked: one that was named, or one of these settings that says where it listens; null: none. */
const serverOf = Effect.fnUntraced(function* (url: string | null, settings: Settings.Settings) {
  if (url !== null) return yield* running(url, settings)
  if (settings.databaseUrl === null) {
    const files = yield* FileSystem.FileSystem
    if (!(yield* Effect.orElseSucceed(files.exists(addressFile(settings.dataDir)), () => false))) return null
  }
  return yield* Effect.orElseSucceed(running(null, settings), () => null)
})

const rowOf = (model: Model, isOn: (slug: string) => boolean, all: boolean): ModelRow | null => {
  const slugs = allowedProviders(model).filter((slug) => all || isOn(slug))
  return slugs.length === 0 ? null : encodeModel(model, slugs, () => null)
}

const search = (rows: ReadonlyArray<ModelRow>, q: string | null, provider: string | null) => {
  const words = (q ?? "")
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "")
  return rows.filter(
    (row) =>
      words.every((word) => `${row.id} ${row.name}`.toLowerCase().includes(word)) &&
      (provider === null || row.providers.some(({ slug }) => slug === provider))
  )
}

const models: CatalogDesk<unknown, FileSystem.FileSystem | Path.Path>["models"] = Effect.fnUntraced(function* (query, url) {
  const settings = yield* Settings.readForTools
  const server = yield* serverOf(url, settings)
  if (server !== null) {
    const parameters = new URLSearchParams({
      active: String(!query.all),
      ...(query.q === null ? {} : { q: query.q }),
      ...(query.provider === null ? {} : { provider: query.provider })
    })
    return (yield* server.get(`/v1/models?${parameters}`, Rows)).data
  }
  return yield* Effect.gen(function* () {
    const registry = yield* ProviderRegistry
    const all = yield* (yield* Catalog).models
    const rows = all.flatMap((model) => rowOf(model, (slug) => registry.get(slug)?.active === true, query.all) ?? [])
    return search(rows, query.q, query.provider === null ? null : (registry.get(query.provider)?.definition.slug ?? query.provider))
  }).pipe(Effect.provide(offline(settings)))
})

const model: CatalogDesk<unknown, FileSystem.FileSystem | Path.Path>["model"] = Effect.fnUntraced(function* (name, url) {
  const settings = yield* Settings.readForTools
  const server = yield* serverOf(url, settings)
  if (server !== null) return yield* server.get(`/v1/models/${name.split("/").map(encodeURIComponent).join("/")}`, Row)
  return yield* Effect.gen(function* () {
    const found = (yield* Catalog).find(name)
    const row = found === undefined ? null : rowOf(found, () => true, true)
    return row ?? (yield* new DeskError({ message: `there is no model ${name}` }))
  }).pipe(Effect.provide(offline(settings)))
})

const sync: CatalogDesk<unknown, FileSystem.FileSystem | Path.Path>["sync"] = Effect.fnUntraced(function* (provider, url) {
  const server = yield* running(url, yield* Settings.readForTools)
  return (yield* server.call("POST", "/admin/catalog/sync", SyncRows, { provider })).data
})

/** What of a model's price at a provider is to be looked at; null: nothing. */
const findingOf = (model: Model, slug: string): string | null => {
  const pricing = model.providers.find((row) => row.slug === slug)?.pricing ?? null
  if (!isPriced(pricing, model.free)) return isPremium(model) ? "no price: it is not served there" : "no price: it is charged the default"
  const odd = [pricing.prompt, pricing.completion].filter((price) => price > 0n).map(judge)
  if (odd.includes("unbelievable")) return "a price that is hardly one per token"
  return null
}

const checkPrices = Effect.gen(function* () {
  const settings = yield* Settings.readForTools
  return yield* Effect.gen(function* () {
    const registry = yield* ProviderRegistry
    const found: Array<PriceFinding> = []
    for (const each of yield* (yield* Catalog).models) {
      for (const slug of allowedProviders(each)) {
        const finding = registry.get(slug)?.active === true ? findingOf(each, slug) : null
        if (finding !== null) found.push({ model: each.id, provider: slug, finding })
      }
    }
    return found
  }).pipe(Effect.provide(offline(settings)))
})

const providers: CatalogDesk<unknown, FileSystem.FileSystem | Path.Path>["providers"] = Effect.fnUntraced(function* (url) {
  const settings = yield* Settings.readForTools
  const server = yield* serverOf(url, settings)
  if (server !== null) return (yield* server.get("/v1/providers", ProviderRows)).data
  return yield* Effect.gen(function* () {
    const all = yield* (yield* Catalog).models
    return (yield* ProviderRegistry).all.map(
      ({ active, definition }): ProviderRow => ({
        slug: definition.slug,
        name: definition.name,
        protocol: definition.protocol,
        active,
        models: all.filter((each) => each.providers.some(({ slug }) => slug === definition.slug)).length,
        // Only a running server has circuits.
        breaker: "-"
      })
    )
  }).pipe(Effect.provide(offline(settings)))
})

const AT_ONCE = 8
const PATIENCE = 10_000

/** Tries the providers of these settings that are switched on, or those named. @category operations @since 0.1.0 */
export const tryProviders = (settings: Settings.Settings, names: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const registry = yield* ProviderRegistry
    const active = registry.all.filter((provider) => provider.active && provider.definition.protocol !== "sandbox")
    const chosen = yield* Effect.forEach(names, (name) => {
      const provider = registry.get(name)
      if (provider?.active === true) return Effect.succeed(provider)
      const message =
        provider === undefined
          ? `there is no provider ${name}`
          : `${name} is not switched on: set ${provider.definition.keyNames[0] ?? "its key"}`
      return Effect.fail(new DeskError({ message }))
    })
    return yield* Effect.forEach(names.length === 0 ? active : chosen, tryOut, { concurrency: AT_ONCE })
  }).pipe(
    Effect.provide(
      Layer.mergeAll(
        ProviderRegistry.layer(settings.providers, settings.definitions),
        UndiciTransport.layer({ firstByteTimeoutMs: PATIENCE, idleTimeoutMs: PATIENCE })
      )
    )
  )

/** @category constructors @since 0.1.0 */
export const desk: CatalogDesk<unknown, FileSystem.FileSystem | Path.Path> = {
  models,
  model,
  sync,
  checkPrices,
  providers,
  test: (names) => Effect.flatMap(Settings.readForTools, (settings) => tryProviders(settings, names))
}
