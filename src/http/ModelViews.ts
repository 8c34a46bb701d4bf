/**
 * Models in the order of how they do just now: the most used, the quickest.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import type { HttpServerResponse } from "effect/http"
import { CatalogListing } from "../catalog/CatalogListing.ts"
import { Latencies } from "../routing/Latencies.ts"
import { ModelTraffic } from "../usage/ModelTraffic.ts"
import type { UsageReportsError } from "../usage/UsageReports.ts"
import * as ApiError from "./ApiError.ts"
import { cursors, list, page } from "./Handled.ts"

interface Page {
  readonly limit?: string | undefined
  readonly cursor?: string | undefined
}

type View = (query: Page) => Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError.ApiError>

const unavailable = (_: UsageReportsError) => ApiError.make(503, "SERVICE_UNAVAILABLE", "The database did not answer. Try again shortly.")

/** Of a thousand, so that a number says nothing of single requests. */
const share = (part: number, whole: number): number => (whole === 0 ? 0 : Math.round((1_000 * part) / whole) / 1_000)

/** @category constructors @since 0.1.0 */
export const make: Effect.Effect<{ readonly trending: View; readonly quickest: View }, never, CatalogListing | ModelTraffic> = Effect.gen(
  function* () {
    const shown = yield* CatalogListing
    const traffic = yield* ModelTraffic
    const p50Of = yield* Latencies

    /** The rows of a page, each with what it stands there for. */
    const give = Effect.fnUntraced(function* (query: Page, entries: ReadonlyArray<{ readonly model: string; readonly about: object }>) {
      const { cursor, limit } = yield* page(query, cursors.counted)
      const from = Number(cursor ?? 0)
      const rows = yield* Effect.forEach(entries.slice(from, from + limit), ({ about, model }) =>
        Effect.map(shown.one(model), (row) => (row === null ? [] : [{ ...row, ...about }]))
      )
      return list(rows.flat(), from + limit < entries.length ? String(from + limit) : null)
    })

    const trending: View = Effect.fnUntraced(function* (query) {
      const latest = yield* Effect.mapError(traffic.latest, unavailable)
      const usable = new Set((yield* shown.models).flatMap(({ model, usable }) => (usable.length === 0 ? [] : [model.id])))
      const [requests, before] = [
        latest.reduce((sum, entry) => sum + entry.requests, 0),
        latest.reduce((sum, entry) => sum + entry.before, 0)
      ]
      const used = latest.filter(({ model }) => usable.has(model))
      const entries = used.map((entry, at) => ({
        model: entry.model,
        about: { trending: { rank: at + 1, share: share(entry.requests, requests), share_before: share(entry.before, before) } }
      }))
      return yield* give(query, entries)
    })

    const quickest: View = Effect.fnUntraced(function* (query) {
      const timed = (yield* shown.models).flatMap(({ model, usable }) => {
        const times = usable.flatMap((provider) => {
          const p50 = p50Of(model.id, provider)
          return p50 === null ? [] : [{ provider, p50_ms: p50 }]
        })
        const [latency] = times.toSorted((a, b) => a.p50_ms - b.p50_ms)
        return latency === undefined ? [] : [{ model: model.id, about: { latency } }]
      })
      const ordered = timed.toSorted((a, b) => a.about.latency.p50_ms - b.about.latency.p50_ms || (a.model < b.model ? -1 : 1))
      return yield* give(query, ordered)
    })

    return { trending, quickest }
  }
)
