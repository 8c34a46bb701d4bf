/**
 * What is counted of requests over HTTP, by route.
 *
 * @since 0.1.0
 */
import { type Context, Effect, Metric } from "effect"
import * as Series from "../telemetry/Series.ts"
import * as RouteTemplates from "./RouteTemplates.ts"

const DURATIONS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const methods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

const inference: ReadonlySet<string> = new Set([
  "/v1/chat/completions",
  "/v1/messages",
  "/v1/responses",
  "/v1/embeddings",
  "/v1/images/generations",
  "/v1/audio/transcriptions"
])

const makeSeries = () => ({
  requests: Series.counter("sluice_http_requests_total", "Requests by route and status", [
    "method",
    "endpoint",
    "status_code",
    "status_class"
  ]),
  duration: Series.histogram(
    "sluice_http_request_duration_seconds",
    "Requests to the end of their answer, in seconds",
    ["method", "endpoint"],
    DURATIONS
  ),
  inProgress: Series.gauge("sluice_http_requests_in_progress", "Requests that are not answered to the end", ["method", "endpoint"]),
  active: Metric.gauge("sluice_concurrency_active_requests", { description: "Inference requests under way" }),
  queued: Metric.gauge("sluice_concurrency_queued_requests", { description: "Inference requests that wait to begin: none ever does" })
})

type Counter = Series.Updates<number, Metric.CounterState<number>>
type Gauge = Series.Updates<number, Metric.GaugeState<number>>

/** One route, for one method. */
class Route {
  readonly method: string
  readonly endpoint: string
  private readonly isInference: boolean
  private readonly duration: Series.Updates<number, Metric.HistogramState>
  private readonly inProgress: Gauge
  private readonly active: Gauge
  private readonly byStatus = new Map<number, Counter>()
  private readonly series: ReturnType<typeof makeSeries>
  private readonly context: Context.Context<never>

  constructor(series: ReturnType<typeof makeSeries>, context: Context.Context<never>, method: string, endpoint: string) {
    this.method = method
    this.endpoint = endpoint
    this.isInference = method === "POST" && inference.has(endpoint)
    this.duration = new Series.Updates(series.duration(method, endpoint), context)
    this.inProgress = new Series.Updates(series.inProgress(method, endpoint), context)
    this.active = new Series.Updates(series.active, context)
    this.series = series
    this.context = context
  }

  enter(): void {
    this.inProgress.modify(1)
    if (this.isInference) this.active.modify(1)
  }

  leave(status: number, ms: number): void {
    this.inProgress.modify(-1)
    if (this.isInference) this.active.modify(-1)
    const ended = this.byStatus.get(status) ?? this.endedWith(status)
    ended.update(1)
    this.duration.update(ms / 1_000)
  }

  private endedWith(status: number): Counter {
    const series = this.series.requests(this.method, this.endpoint, String(status), `${Math.floor(status / 100)}xx`)
    const fresh = new Series.Updates(series, this.context)
    this.byStatus.set(status, fresh)
    return fresh
  }
}

/** @category models @since 0.1.0 */
export type { Route }

/** Finds the route of a request, to be entered and left. @category constructors @since 0.1.0 */
export const make: Effect.Effect<(method: string, url: string) => Route> = Effect.map(Effect.context<never>(), (context) => {
  const series = makeSeries()
  series.queued.updateUnsafe(0, context)
  series.active.updateUnsafe(0, context)
  const templateOf = RouteTemplates.make()
  const known = new Map<string, Map<string, Route>>()
  const find = (asked: string, url: string): Route => {
    const query = url.indexOf("?")
    const path = query === -1 ? url : url.slice(0, query)
    const method = methods.has(asked) ? asked : "other"
    const routes = Series.obtain(known, method, () => new Map<string, Route>())
    const endpoint = templateOf(method, path)
    return Series.obtain(routes, endpoint, () => new Route(series, context, method, endpoint))
  }
  // A path without parameters is its own template.
  return (method, url) => known.get(method)?.get(url) ?? find(method, url)
})
