/**
 * What the status page tells, put together from what the rooms know, and kept for a few seconds.
 *
 * @since 0.1.0
 */
import { Cache, Clock, Context, Duration, Effect, Exit, Layer } from "effect"
import type { HealthState, Incident } from "../../schemas/Health.ts"
import { CatalogListing } from "../catalog/CatalogListing.ts"
import { HealthBook, HealthBookError, type IncidentQuery } from "../health/HealthBook.ts"
import { type HistoryQuery, type Uptime, type UptimeBucket, type UptimeGroup, UptimeReports } from "../health/UptimeReports.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { PublishedHealth } from "../routing/PublishedHealth.ts"

/** `unknown`: nothing is known of any model. @category models @since 0.1.0 */
export type Overall = "operational" | "degraded" | "major_outage" | "unknown"

/** How one is; `unknown` where nobody asked it lately. @category models @since 0.1.0 */
export type Shown = HealthState | "unknown"

/** @category models @since 0.1.0 */
export interface Page {
  readonly status: Overall
  readonly updated_at: string
  readonly providers: ReadonlyArray<{ readonly slug: string; readonly name: string; readonly status: Shown }>
  readonly models: ReadonlyArray<{
    readonly id: string
    readonly status: Shown
    readonly providers: ReadonlyArray<{ readonly slug: string; readonly status: Shown }>
  }>
}

/** @category services @since 0.1.0 */
export class StatusPage extends Context.Service<
  StatusPage,
  {
    /** Of active providers and of the models that they serve. */
    readonly page: Effect.Effect<Page>
    /** Of the latest days. */
    readonly uptimes: (group: UptimeGroup, days: number) => Effect.Effect<ReadonlyMap<string, Uptime>, HealthBookError>
    readonly history: (query: HistoryQuery) => Effect.Effect<ReadonlyArray<UptimeBucket>, HealthBookError>
    readonly incidents: (
      query: IncidentQuery
    ) => Effect.Effect<{ readonly data: ReadonlyArray<Incident>; readonly next: string | null }, HealthBookError>
  }
>()("sluice/http/StatusPage") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** Milliseconds that the page, incidents and uptimes are kept. */
const PAGE_KEPT = 5_000
const INCIDENTS_KEPT = 5_000
const UPTIMES_KEPT = 30_000
const QUERIES = 512
/** How long the database is waited for. */
const PATIENCE = 3_000

/** A part of the models that is down from which it is a major outage. */
const MAJOR = 0.1

/** How all is, by the models of which something is known. @category accessors @since 0.1.0 */
export const overallOf = (states: ReadonlyArray<Shown>): Overall => {
  const known = states.filter((state) => state !== "unknown")
  if (known.length === 0) return "unknown"
  const down = known.filter((state) => state === "down").length
  return down === 0 ? "operational" : down / known.length < MAJOR ? "degraded" : "major_outage"
}

/** A model is as well as the best of its providers that something is known of. */
const best = (states: ReadonlyArray<Shown>): Shown =>
  (["healthy", "degraded", "down"] as const).find((state) => states.includes(state)) ?? "unknown"

/** Answers for a while the same to the same question; a failure is not kept, and a silent database not waited for. */
const kept = <Q, A>(ask: (query: Q) => Effect.Effect<A, HealthBookError>, ms: number) =>
  Effect.map(
    Cache.makeWith(
      (key: string) => {
        const query: Q = JSON.parse(key)
        return ask(query).pipe(
          Effect.timeoutOrElse({
            duration: PATIENCE,
            orElse: () => Effect.fail(new HealthBookError({ message: "The database did not answer in time." }))
          })
        )
      },
      { capacity: QUERIES, timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.millis(ms) : Duration.zero) }
    ),
    (cache) => (query: Q) => Cache.get(cache, JSON.stringify(query))
  )

const make = Effect.gen(function* () {
  const listing = yield* CatalogListing
  const registry = yield* ProviderRegistry
  const breakers = yield* Breakers
  const health = yield* PublishedHealth
  const book = yield* HealthBook
  const reports = yield* UptimeReports

  const openCircuits = Effect.map(breakers.states, (states) =>
    states.flatMap(({ provider, state }) => (state === "open" ? [provider] : []))
  )

  const write = Effect.gen(function* () {
    const open = new Set(yield* openCircuits)
    const seen = health()
    const active = new Set(registry.all.flatMap((provider) => (provider.active ? [provider.definition.slug] : [])))
    const at = (model: string, slug: string): Shown => (open.has(slug) ? "down" : (seen.of(model, slug) ?? "unknown"))
    const models = (yield* listing.models).flatMap(({ all, model }) => {
      const providers = all.flatMap((slug) => (active.has(slug) ? [{ slug, status: at(model.id, slug) }] : []))
      return providers.length === 0 ? [] : [{ id: model.id, status: best(providers.map(({ status }) => status)), providers }]
    })
    const providers = registry.all.flatMap(({ active, definition: { name, slug } }) =>
      active ? [{ slug, name, status: open.has(slug) ? ("down" as const) : (seen.ofProvider(slug) ?? ("unknown" as const)) }] : []
    )
    const updatedAt = new Date(yield* Clock.currentTimeMillis).toISOString()
    return { status: overallOf(models.map(({ status }) => status)), updated_at: updatedAt, providers, models }
  })

  // Written anew as soon as something changes.
  const page = yield* Cache.make({ capacity: 4, timeToLive: PAGE_KEPT, lookup: (_: string) => write })
  const uptimes = yield* kept(
    ({ days, group }: { group: UptimeGroup; days: number }) => Effect.map(reports.by(group, days), (found) => [...found]),
    UPTIMES_KEPT
  )
  return StatusPage.of({
    page: Effect.flatMap(openCircuits, (open) => Cache.get(page, `${health().version} ${open.join(" ")}`)),
    uptimes: (group, days) => Effect.map(uptimes({ group, days }), (found) => new Map(found)),
    history: yield* kept(reports.history, UPTIMES_KEPT),
    incidents: yield* kept(book.incidents, INCIDENTS_KEPT)
  })
})
