/**
 * Reads providers' lists of models from time to time, keeps them in the database and serves what they add.
 *
 * **Gotchas**: a list that cannot be read, or is empty, changes nothing: the last good one stays.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric, Semaphore } from "effect"
import { SecureRandom } from "effect/crypto"
import type { ProviderDefinition } from "../../schemas/Provider.ts"
import { ProviderRegistry, type RegisteredProvider, urlOf } from "../providers/ProviderRegistry.ts"
import { headersFor } from "../providers/protocols/HttpProtocol.ts"
import { Transport } from "../providers/Transport.ts"
import { Broadcast } from "../replicas/Broadcast.ts"
import { Singletons } from "../replicas/Singletons.ts"
import { Catalog } from "./Catalog.ts"
import type { CatalogData } from "./CatalogData.ts"
import { merge } from "./CatalogMerge.ts"
import { readListing } from "./ProviderListing.ts"
import { type ListChanges, ProviderLists } from "./ProviderLists.ts"

/** What became of one provider's list. @category models @since 0.1.0 */
export interface SyncResult {
  readonly provider: string
  /** `busy`: another process reads it now. `current`: it was read not long ago. `kept`: it could not be read, and the last good one stays. */
  readonly status: "updated" | "unchanged" | "kept" | "busy" | "current"
  readonly models: number
  readonly unpriced: number
  readonly added: number
  readonly changed: number
  readonly deactivated: number
  /** Prices that are odd or were not believed; the first hundred. */
  readonly alarms: ReadonlyArray<string>
  readonly error: string | null
  readonly duration_ms: number
}

/** Times are milliseconds. @category models @since 0.1.0 */
export interface CatalogSyncOptions {
  /** Between two reads of a list; 0 reads none by itself. */
  readonly everyMs: number
  /** From the start until the first. */
  readonly firstAfterMs: number
  /** For a whole list, 30,000 unless given; twice that where lists are slow to come. */
  readonly patienceMs?: number
  /** The catalog that ships, which lists add to. */
  readonly shipped: () => CatalogData
}

/** @category services @since 0.1.0 */
export class CatalogSync extends Context.Service<
  CatalogSync,
  {
    /** Reads the lists of these providers now. */
    readonly run: (providers: ReadonlyArray<RegisteredProvider>) => Effect.Effect<ReadonlyArray<SyncResult>>
    /** Providers that are switched on and list their models. */
    readonly listing: ReadonlyArray<RegisteredProvider>
  }
>()("sluice/catalog/CatalogSync") {
  static readonly layer = (options: CatalogSyncOptions) => Layer.effect(this, make(options))
}

const CHANNEL = "catalog"
const MAX_BYTES = 32 * 1_024 * 1_024
const PATIENCE = 30_000
/** Providers whose lists are slow to come. */
const SLOW = ["featherless", "chutes", "huggingface", "aimo", "near", "canopywave"]
const MAX_ALARMS = 100
/** Milliseconds until a list that could not be read is tried again. */
const AGAIN = 900_000
/** Lists that are read at once. */
const AT_ONCE = 4

const syncs = Metric.counter("sluice_catalog_syncs_total", {
  description: "Reads of providers' lists, by what became of them",
  incremental: true
})
const zeroModels = Metric.counter("sluice_gateway_zero_model_events_total", {
  description: "Lists that held no model and were not taken",
  incremental: true
})
const priceAlarms = Metric.counter("sluice_price_alarms_total", {
  description: "Listed prices that are odd or were not believed",
  incremental: true
})

/** A whole list in one page, where a protocol pages. */
const wholeList: Readonly<Partial<Record<ProviderDefinition["protocol"], string>>> = { anthropic: "?limit=1000", gemini: "?pageSize=1000" }

const nothing = { models: 0, unpriced: 0, added: 0, changed: 0, deactivated: 0, alarms: [], error: null }

/** The text of a provider's list; fails with words for the operator. */
const fetchList = (
  transport: Transport["Service"],
  provider: RegisteredProvider,
  path: string,
  patience: number
): Effect.Effect<string, string> => {
  const { protocol, slug } = provider.definition
  const { "content-type": _, ...headers } = headersFor(provider)
  const url = urlOf(provider, path) + (wholeList[protocol] ?? "")
  const read = Effect.gen(function* () {
    const { isWhole, status, text } = yield* transport.ask({ method: "GET", url, headers, body: null }, MAX_BYTES)
    if (status !== 200) return yield* Effect.fail(`status ${status}`)
    return isWhole ? text : yield* Effect.fail(`more than ${MAX_BYTES} bytes`)
  })
  return read.pipe(
    Effect.mapError((error) => (typeof error === "string" ? error : error.reason._tag)),
    Effect.timeoutOrElse({
      duration: SLOW.includes(slug) ? 2 * patience : patience,
      orElse: () => Effect.fail("no whole list in time")
    })
  )
}

const make = Effect.fnUntraced(function* (options: CatalogSyncOptions) {
  const registry = yield* ProviderRegistry
  const transport = yield* Transport
  const catalog = yield* Catalog
  const lists = yield* ProviderLists
  const broadcast = yield* Broadcast
  const { register } = yield* Singletons
  const holder = yield* (yield* SecureRandom.SecureRandom).uuidV7()
  const shipped = options.shipped()

  /** Serves what the kept lists say. */
  const turn = yield* Semaphore.make(1)
  const refresh = Effect.gen(function* () {
    const all = yield* Effect.forEach(yield* lists.providers, (provider) => Effect.map(lists.get(provider), (rows) => ({ provider, rows })))
    yield* catalog.replace(merge(shipped, all))
  }).pipe(
    Effect.catchCause((cause) => Effect.logWarning("The kept lists of models could not be read; the catalog stays as it is", cause)),
    Semaphore.withPermits(turn, 1)
  )

  const read = Effect.fnUntraced(function* (provider: RegisteredProvider, path: string) {
    const { slug } = provider.definition
    const text = yield* fetchList(transport, provider, path, options.patienceMs ?? PATIENCE)
    const listing = readListing(slug, text)
    if (listing === null) return yield* Effect.fail("not a list of models")
    if (listing.rows.length === 0) {
      yield* Metric.update(Metric.withAttributes(zeroModels, { gateway: slug, reason: "empty_list" }), 1)
      return yield* Effect.fail("no models in the list")
    }
    const changes: ListChanges = yield* Effect.mapError(lists.write(slug, listing.rows), (error) => error.message)
    if (listing.alarms.length > 0) {
      yield* Metric.update(Metric.withAttributes(priceAlarms, { provider: slug }), listing.alarms.length)
      yield* Effect.logWarning(`${slug} lists ${listing.alarms.length} odd prices, among them ${listing.alarms[0]}`)
    }
    const isSame = changes.added + changes.changed + changes.deactivated === 0
    return {
      status: isSame ? ("unchanged" as const) : ("updated" as const),
      models: listing.rows.length,
      unpriced: listing.rows.filter((row) => row.pricing === null).length,
      added: changes.added,
      changed: changes.changed,
      deactivated: changes.deactivated,
      alarms: listing.alarms.slice(0, MAX_ALARMS),
      error: null
    }
  })

  const syncOne = Effect.fnUntraced(function* (provider: RegisteredProvider, everyMs: number): Effect.fn.Return<SyncResult> {
    const { modelsPath, slug } = provider.definition
    const startedAt = yield* Clock.currentTimeMillis
    const result = (end: Omit<SyncResult, "provider" | "duration_ms">) =>
      Effect.map(Clock.currentTimeMillis, (now): SyncResult => ({ provider: slug, ...end, duration_ms: now - startedAt }))
    const claimed = yield* Effect.result(lists.claim(slug, holder, everyMs, Math.min(everyMs, AGAIN)))
    if (claimed._tag === "Failure") return yield* result({ ...nothing, status: "kept", error: claimed.failure.message })
    if (!claimed.success) return yield* result({ ...nothing, status: everyMs > 0 ? "current" : "busy" })
    const end = yield* read(provider, modelsPath ?? "").pipe(
      Effect.catch((error) => Effect.succeed({ ...nothing, status: "kept" as const, error })),
      // Whoever is stopped in the middle lets the next one try at once.
      Effect.onExit((exit) =>
        Effect.ignore(
          lists.release(slug, holder, {
            ok: exit._tag === "Success" && exit.value.status !== "kept",
            status: exit._tag === "Success" ? exit.value.status : "stopped",
            error: exit._tag === "Success" ? exit.value.error : null
          })
        )
      )
    )
    if (end.error !== null) yield* Effect.logWarning(`The models of ${slug} could not be listed (${end.error}); the last good list stays`)
    yield* Metric.update(Metric.withAttributes(syncs, { provider: slug, status: end.status }), 1)
    return yield* result(end)
  })

  const sync = Effect.fnUntraced(function* (providers: ReadonlyArray<RegisteredProvider>, everyMs: number) {
    const results = yield* Effect.forEach(providers, (provider) => syncOne(provider, everyMs), { concurrency: AT_ONCE })
    const updated = results.filter((result) => result.status === "updated")
    // Heard here as well, but an answer to the operator has the new catalog already served.
    if (updated.length > 0) yield* refresh
    for (const { provider } of updated) yield* broadcast.publish(CHANNEL, `${holder} ${provider}`)
    return results
  })

  let readAt: ReadonlyMap<string, string> = new Map()
  /** Serves what others have read: where replicas cannot hear each other, only the database tells of it. */
  const catchUp = Effect.gen(function* () {
    const now = yield* lists.readAt
    const news = [...now].filter(([provider, at]) => readAt.get(provider) !== at)
    readAt = now
    if (news.length === 0) return
    yield* Effect.forEach(news, ([provider]) => lists.forget(provider), { discard: true })
    yield* refresh
  })

  const listing = registry.all.filter((provider) => provider.active && provider.definition.modelsPath !== null)

  yield* refresh
  yield* broadcast.subscribe(CHANNEL, (heard) => {
    if (heard._tag === "Gap")
      return Effect.andThen(
        Effect.forEach(listing, ({ definition }) => lists.forget(definition.slug)),
        refresh
      )
    const [from, provider = ""] = heard.message.split(" ")
    return from === holder ? Effect.void : Effect.andThen(lists.forget(provider), refresh)
  })
  if (options.everyMs > 0) {
    const round = Effect.catchCause(Effect.andThen(sync(listing, options.everyMs), catchUp), (cause) =>
      Effect.logError("Reading the lists of models failed", cause)
    )
    const rounds = Effect.andThen(round, Effect.sleep(Math.min(options.everyMs, AGAIN)))
    yield* register("catalog lists", Effect.andThen(Effect.sleep(options.firstAfterMs), Effect.forever(rounds)))
  }
  return CatalogSync.of({ run: (providers) => sync(providers, 0), listing })
})
