/**
 * What is counted, logged and traced of every request, whatever it asks for.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, LogLevel, References, Tracer } from "effect"
import type { HttpServerRequest } from "effect/http"
import * as HttpMetrics from "./HttpMetrics.ts"
import { RequestIds } from "./RequestContext.ts"

/** The status of a request whose caller has left before it was answered; never sent. */
const CLIENT_CLOSED_REQUEST = 499

/** One request, from its head to the last byte of its answer. @category models @since 0.1.0 */
export interface Watched {
  /** The status of the answer, as soon as it is known. */
  status: number
  /** To be run when the request's Scope closes. */
  readonly leave: () => Effect.Effect<void>
  /** Names the request on its span; null where nobody traces. */
  readonly trace: Effect.Effect<void> | null
}

/** Enters a request that has come at `now`, in epoch milliseconds. @category models @since 0.1.0 */
export type RequestWatch = (request: HttpServerRequest.HttpServerRequest, ids: RequestIds, now: number) => Watched

const namesOf = ({ clientId, id }: RequestIds): Record<string, string> =>
  clientId === null ? { request_id: id } : { request_id: id, client_request_id: clientId }

/** Lays a request's ids over a context, also for whatever is logged there. @category combinators @since 0.1.0 */
export const named = <R>(context: Context.Context<R>, ids: RequestIds): Context.Context<R> =>
  Context.add(Context.add(context, RequestIds, ids), References.CurrentLogAnnotations, namesOf(ids))

/** The same for what happens outside of that context. @category combinators @since 0.1.0 */
export const annotate = <A, E, R>(effect: Effect.Effect<A, E, R>, ids: RequestIds): Effect.Effect<A, E, R> =>
  Effect.annotateLogs(effect, namesOf(ids))

/** What is known of one that was entered. */
interface Entered extends Watched {
  span: Tracer.Span | null
}

const trace = (ids: RequestIds, route: HttpMetrics.Route, note: (span: Tracer.Span) => void): Effect.Effect<void> =>
  Effect.matchEffect(Effect.currentSpan, {
    onFailure: () => Effect.void,
    onSuccess: (span) =>
      Effect.sync(() => {
        note(span)
        span.attribute("http.route", route.endpoint)
        span.attribute("sluice.request_id", ids.id)
        if (ids.clientId !== null) span.attribute("sluice.client_request_id", ids.clientId)
      })
  })

/** @category constructors @since 0.1.0 */
export const make: Effect.Effect<RequestWatch> = Effect.gen(function* () {
  const routeOf = yield* HttpMetrics.make
  const clock = yield* Clock.Clock
  const isTraced = (yield* Effect.tracer) !== Tracer.nativeTracer
  const tellsEach = LogLevel.isLessThanOrEqualTo(yield* References.MinimumLogLevel, "Debug")

  /** What is written of each at the level that asks for it. */
  const told = (request: HttpServerRequest.HttpServerRequest, ids: RequestIds, route: HttpMetrics.Route, watched: Entered, ms: number) => {
    const facts = { method: request.method, route: route.endpoint, status: watched.status, duration_ms: ms }
    const line = annotate(Effect.annotateLogs(Effect.logDebug("A request was answered"), facts), ids)
    return watched.span === null ? line : Effect.withParentSpan(line, watched.span)
  }

  return (request, ids, now) => {
    const route = routeOf(request.method, request.url)
    const watched: Entered = {
      status: CLIENT_CLOSED_REQUEST,
      span: null,
      leave: () => {
        const ms = clock.currentTimeMillisUnsafe() - now
        route.leave(watched.status, ms)
        return tellsEach ? told(request, ids, route, watched, ms) : Effect.void
      },
      trace: isTraced
        ? trace(ids, route, (span) => {
            watched.span = span
          })
        : null
    }
    route.enter()
    return watched
  }
})
