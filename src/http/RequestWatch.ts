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
  readonly leave: Effect.Effect<void>
  /** Names the request on its span; null where nobody traces. */
  readonly trace: Effect.Effect<void> | null
}

/** @category models @since 0.1.0 */
export type RequestWatch = (request: HttpServerRequest.HttpServerRequest, ids: RequestIds) => Watched

const namesOf = ({ clientId, id }: RequestIds): Record<string, string> =>
  clientId === null ? { request_id: id } : { request_id: id, client_request_id: clientId }

/** Lays a request's ids over a context, also for whatever is logged there. @category combinators @since 0.1.0 */
export const named = <R>(context: Context.Context<R>, ids: RequestIds): Context.Context<R> =>
  Context.add(Context.add(context, RequestIds, ids), References.CurrentLogAnnotations, namesOf(ids))

/** The same for what happens outside of that context. @category combinators @since 0.1.0 */
export const annotate = <A, E, R>(effect: Effect.Effect<A, E, R>, ids: RequestIds): Effect.Effect<A, E, R> =>
  Effect.annotateLogs(effect, namesOf(ids))

/** @category constructors @since 0.1.0 */
export const make: Effect.Effect<RequestWatch> = Effect.gen(function* () {
  const routeOf = yield* HttpMetrics.make
  const clock = yield* Clock.Clock
  const isTraced = (yield* Effect.tracer) !== Tracer.nativeTracer
  const tellsEach = LogLevel.isLessThanOrEqualTo(yield* References.MinimumLogLevel, "Debug")

  return (request, ids) => {
    const route = routeOf(request.method, request.url)
    const startedAt = clock.currentTimeMillisUnsafe()
    let span: Tracer.Span | null = null
    const told = (ms: number) => {
      const facts = { method: request.method, route: route.endpoint, status: watched.status, duration_ms: ms }
      const line = annotate(Effect.annotateLogs(Effect.logDebug("A request was answered"), facts), ids)
      return span === null ? line : Effect.withParentSpan(line, span)
    }
    const watched: Watched = {
      status: CLIENT_CLOSED_REQUEST,
      leave: Effect.suspend(() => {
        const ms = clock.currentTimeMillisUnsafe() - startedAt
        route.leave(watched.status, ms)
        return tellsEach ? told(ms) : Effect.void
      }),
      trace: isTraced
        ? Effect.matchEffect(Effect.currentSpan, {
            onFailure: () => Effect.void,
            onSuccess: (current) =>
              Effect.sync(() => {
                span = current
                current.attribute("http.route", route.endpoint)
                current.attribute("sluice.request_id", ids.id)
                if (ids.clientId !== null) current.attribute("sluice.client_request_id", ids.clientId)
              })
          })
        : null
    }
    route.enter()
    return watched
  }
})
