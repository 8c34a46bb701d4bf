/**
 * `GET /docs`: the API reference as a page. Its script has three megabytes, which are loaded for the first who asks, not at the start.
 *
 * @since 0.1.0
 */
import { Effect, Scope } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiScalar } from "effect/http-api"
import { Api } from "./Api.ts"

/** The page, to be mounted beside the routes. @category layers @since 0.1.0 */
export const layer = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    const scope = yield* Effect.scope
    const build = HttpRouter.toHttpEffect(HttpApiScalar.layer(Api, { path: "/docs" }))
    const page = yield* Effect.cached(Effect.provideService(build, Scope.Scope, scope))
    yield* router.add("GET", "/docs", Effect.flatten(page))
  })
)
