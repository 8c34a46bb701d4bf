/**
 * The HTTP app: every route, behind what every answer has in common.
 *
 * @since 0.1.0
 */
import { Cause, Clock, Context, Effect, Layer, Scope, Tracer } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpRouter, HttpServerError, HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder, HttpApiError } from "effect/http-api"
import { Lifecycle } from "../health/Lifecycle.ts"
import { AuditLog } from "../identity/AuditLog.ts"
import { Identity } from "../identity/Identity.ts"
import { visitor } from "./Access.ts"
import * as AccountRoutes from "./AccountRoutes.ts"
import * as AdministrationRoutes from "./AdministrationRoutes.ts"
import * as AnthropicError from "./AnthropicError.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import * as AuthRoutes from "./AuthRoutes.ts"
import * as CatalogRoutes from "./CatalogRoutes.ts"
import * as Cors from "./Cors.ts"
import * as DocsPage from "./DocsPage.ts"
import * as InferenceRoutes from "./InferenceRoutes.ts"
import { IpGate } from "./IpGate.ts"
import * as KeyRoutes from "./KeyRoutes.ts"
import * as OperationsRoutes from "./OperationsRoutes.ts"
import * as OperatorRoutes from "./OperatorRoutes.ts"
import * as PlanRoutes from "./PlanRoutes.ts"
import { clientRequestId, type RequestIds, TrustedProxies } from "./RequestContext.ts"
import { RANDOM_BYTES, RequestNames } from "./RequestNames.ts"
import * as RequestWatch from "./RequestWatch.ts"
import { preparedOf } from "./Responses.ts"
import * as RouteTemplates from "./RouteTemplates.ts"
import * as StatusRoutes from "./StatusRoutes.ts"
import * as UsageRoutes from "./UsageRoutes.ts"
import * as WebhookRoutes from "./WebhookRoutes.ts"

/** The routes, to be mounted in any Effect HTTP server; `/openapi.json` and `/docs` among them. @category layers @since 0.1.0 */
export const routes = Layer.mergeAll(
  HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
    Layer.provide([
      InferenceRoutes.layer,
      CatalogRoutes.layer,
      AccountRoutes.layer,
      AdministrationRoutes.layer,
      AuthRoutes.layer,
      KeyRoutes.layer,
      OperatorRoutes.layer,
      OperationsRoutes.layer,
      PlanRoutes.layer,
      StatusRoutes.layer,
      UsageRoutes.layer,
      WebhookRoutes.layer
    ])
  ),
  DocsPage.layer
)

/** Paths whose failures have the shape of the Anthropic protocol. */
const isAnthropic = (request: HttpServerRequest.HttpServerRequest): boolean => request.url.startsWith("/v1/messages")

const refuse = (request: HttpServerRequest.HttpServerRequest, error: ApiError.ApiError, id: string) =>
  isAnthropic(request) ? AnthropicError.toResponse(error, id) : ApiError.toResponse(error)

const pathOf = (request: HttpServerRequest.HttpServerRequest): string => (request.url.split("?")[0] ?? "").replace(/(.)\/$/, "$1")

const notFound = (request: HttpServerRequest.HttpServerRequest): ApiError.ApiError =>
  ApiError.make(
    404,
    "ENDPOINT_NOT_FOUND",
    `There is no ${request.method} ${request.url.split("?")[0]}. GET /openapi.json describes every route.`
  )

const notAllowed = (request: HttpServerRequest.HttpServerRequest, allowed: ReadonlyArray<string>): ApiError.ApiError =>
  ApiError.make(405, "METHOD_NOT_ALLOWED", `${pathOf(request)} takes ${allowed.join(" and ")}, not ${request.method}.`)

/** What reached nobody: no such route, a query that is not of its schema, or something of ours that broke. */
const fromCause = (request: HttpServerRequest.HttpServerRequest, cause: Cause.Cause<unknown>): ApiError.ApiError | null => {
  for (const reason of cause.reasons) {
    if (reason._tag === "Fail" && HttpServerError.isHttpServerError(reason.error)) {
      if (reason.error.reason._tag === "RouteNotFound") return notFound(request)
      if (reason.error.reason._tag === "RequestParseError") return ApiError.invalid("The request could not be read.")
    }
    if (reason._tag === "Die" && HttpApiError.HttpApiSchemaError.is(reason.defect)) {
      return ApiError.invalid(`The ${reason.defect.kind.toLowerCase()} is not as described: ${reason.defect.message.slice(0, 300)}`)
    }
  }
  return Cause.hasInterruptsOnly(cause) ? null : ApiError.internal
}

/** Routes that take no key, and cost more than to say that all is well. */
const openRoutes = ["/v1/models", "/v1/providers", "/v1/plans", "/v1/status", "/auth/", "/docs", "/openapi.json"]

const isOpen = (url: string): boolean => openRoutes.some((route) => url.startsWith(route))

const zeroCharacter = ApiError.invalid("The address of the request holds a zero character.")

const undecodable = ApiError.invalid(
  "The address of the request cannot be read: after each % of its path stands a byte of UTF-8, in hexadecimal."
)

/** What is wrong with the letters of an address; null where nothing is. */
const refuseAddress = (url: string): ApiError.ApiError | null => {
  // No id, name or cursor holds a zero character, and the database takes none.
  if (url.includes("%00")) return zeroCharacter
  try {
    decodeURIComponent(url.split("?")[0] ?? "")
    return null
  } catch {
    // The router would take it for a path that there is not.
    return undecodable
  }
}

/**
 * Runs a handler over what the server was built with, the few things of one request laid over it: that costs less than to merge
 * what a route was built with into the context of each request. As the router has it, whoever leaves before there is an answer
 * ends the request.
 */
const overBuilt =
  (built: Context.Context<IpGate>) =>
  (handler: InferenceRoutes.InferenceHandler, request: HttpServerRequest.HttpServerRequest, ids: RequestIds) =>
    Effect.updateContext(Effect.interruptible(handler(request)), (input: Context.Context<Scope.Scope>) => {
      const over = RequestWatch.named(Context.add(built, Scope.Scope, Context.get(input, Scope.Scope)), ids)
      const span = Context.getOrUndefined(input, Tracer.ParentSpan)
      return span === undefined ? over : Context.add(over, Tracer.ParentSpan, span)
    })

/** The name of a request that its caller knows it by. */
const shownOf = ({ clientId, id }: RequestIds): string => clientId ?? id

/** The names of a request, with what every answer says of them. */
const idsOf = (request: HttpServerRequest.HttpServerRequest, id: string): RequestIds => {
  const clientId = clientRequestId(request)
  const shown = clientId ?? id
  const names = isAnthropic(request) ? { [SHOWN]: shown, [OWN]: id, "request-id": shown } : { [SHOWN]: shown, [OWN]: id }
  const cors = Cors.headersFor(request)
  return { id, clientId, headers: cors === null ? names : { ...names, ...cors } }
}

const SHOWN = "x-request-id"
const OWN = "x-sluice-request-id"

type Answer<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

/** Answers to what nobody has answered. */
const refusals = (lifecycle: Lifecycle["Service"], identity: Identity["Service"], gate: Context.Context<IpGate | AuditLog>) => {
  const templates = RouteTemplates.make()
  /** Counts a visitor by address; whatever else a route does is done after. */
  const counted = <E, R>(request: HttpServerRequest.HttpServerRequest, ids: RequestIds, answer: Answer<E, R>) =>
    Effect.matchEffect(Effect.provideContext(visitor(identity, request), gate), {
      onFailure: (error) => Effect.succeed(refuse(request, error, shownOf(ids))),
      onSuccess: () => answer
    })
  /** Another method, or nothing at all, would have been found there. */
  const unrouted = (request: HttpServerRequest.HttpServerRequest, error: ApiError.ApiError, id: string) => {
    const allowed = RouteTemplates.methodsOf(templates, pathOf(request))
    if (allowed.length === 0) return refuse(request, error, id)
    return HttpServerResponse.setHeader(refuse(request, notAllowed(request, allowed), id), "allow", allowed.join(", "))
  }
  /** An answer of the usual shape to whatever went wrong. */
  const refusal = <E>(request: HttpServerRequest.HttpServerRequest, ids: RequestIds, cause: Cause.Cause<E>) => {
    const shown = shownOf(ids)
    const error = fromCause(request, cause) ?? (lifecycle.state() === "stopped" ? ApiError.stopping : null)
    if (error === null) return Effect.failCause(cause)
    if (error.code === "ENDPOINT_NOT_FOUND") {
      const nowhere = Effect.succeed(unrouted(request, error, shown))
      return isOpen(request.url) ? nowhere : counted(request, ids, nowhere)
    }
    const response = Effect.succeed(refuse(request, error, shown))
    if (error !== ApiError.internal) return response
    return Effect.andThen(RequestWatch.annotate(Effect.logError("A request failed by a defect", cause), ids), response)
  }
  return { counted, refusal }
}

/**
 * Wraps an app in what every answer has: `x-request-id`, `x-sluice-request-id`, and an error of the usual shape for
 * whatever no route has answered.
 *
 * @category middleware
 * @since 0.1.0
 */
export const wrap = <E, R>(app: Answer<E, R>) =>
  Effect.gen(function* () {
    const random = yield* SecureRandom.SecureRandom
    const clock = yield* Clock.Clock
    const lifecycle = yield* Lifecycle
    const inference = InferenceRoutes.byUrl(yield* InferenceRoutes.InferenceHandlers)
    const gate = Context.make(IpGate, yield* IpGate).pipe(
      Context.add(TrustedProxies, yield* TrustedProxies),
      Context.add(AuditLog, yield* AuditLog)
    )
    const { counted, refusal } = refusals(lifecycle, yield* Identity, gate)
    const direct = overBuilt(Context.merge(yield* Effect.context<never>(), gate))
    const routed = (
      request: HttpServerRequest.HttpServerRequest,
      ids: RequestIds
    ): Answer<E, Exclude<R, IpGate | AuditLog> | Scope.Scope> => {
      if (Cors.isPreflight(request)) return Effect.succeed(Cors.preflight(request))
      const handler = request.method === "POST" ? inference.get(request.url) : undefined
      if (handler !== undefined) return direct(handler, request, ids)
      const refused = request.url.includes("%") ? refuseAddress(request.url) : null
      if (refused !== null) return counted(request, ids, Effect.succeed(refuse(request, refused, shownOf(ids))))
      return Effect.provideContext(isOpen(request.url) ? counted(request, ids, app) : app, RequestWatch.named(gate, ids))
    }
    const watch = yield* RequestWatch.make
    const answer = (request: HttpServerRequest.HttpServerRequest, scope: Scope.Scope, now: number, id: string) => {
      const ids = idsOf(request, id)
      const watched = watch(request, ids, now)
      const finish = (answered: HttpServerResponse.HttpServerResponse) => {
        watched.status = answered.status
        return Effect.succeed(
          (preparedOf(answered) ?? answered).headers[OWN] === id ? answered : HttpServerResponse.setHeaders(answered, ids.headers)
        )
      }
      const isLate = lifecycle.state() === "stopped" && !request.url.startsWith("/health")
      const finished = isLate
        ? finish(HttpServerResponse.setHeader(refuse(request, ApiError.stopping, shownOf(ids)), "connection", "close"))
        : Effect.matchCauseEffect(routed(request, ids), {
            onSuccess: finish,
            onFailure: (cause) => Effect.flatMap(refusal(request, ids, cause), finish)
          })
      const left = Scope.addFinalizerExit(scope, watched.leave)
      return Effect.flatMap(watched.trace === null ? left : Effect.andThen(left, watched.trace), () => finished)
    }
    const names = new RequestNames()
    const begin: Answer<E, Exclude<R, IpGate | AuditLog> | Scope.Scope | HttpServerRequest.HttpServerRequest> = Effect.contextWith(
      (context: Context.Context<HttpServerRequest.HttpServerRequest | Scope.Scope>) => {
        const now = clock.currentTimeMillisUnsafe()
        const id = names.next(now)
        if (id !== null)
          return answer(Context.get(context, HttpServerRequest.HttpServerRequest), Context.get(context, Scope.Scope), now, id)
        return Effect.flatMap(random.randomBytes(RANDOM_BYTES), (bytes) => {
          names.fill(bytes)
          return begin
        })
      }
    )
    return begin
  })

/** The whole app as one effect, for `HttpServer.serve` or a web handler. @category constructors @since 0.1.0 */
export const make = Effect.flatMap(HttpRouter.toHttpEffect(routes), wrap).pipe(Effect.provide(InferenceRoutes.InferenceHandlers.layer))

/** The gateway's app as a service, so that other programs can mount it. @category services @since 0.1.0 */
export class App extends Context.Service<App, Effect.Success<typeof make>>()("sluice/http/App") {
  static readonly layer = Layer.effect(this, make)
}
