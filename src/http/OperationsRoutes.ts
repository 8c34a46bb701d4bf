/**
 * Health and metrics.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, type Redacted } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { StripeInbox } from "../billing/StripeInbox.ts"
import { Lifecycle } from "../health/Lifecycle.ts"
import { KeyHasher } from "../identity/KeyHasher.ts"
import { Siblings } from "../replicas/Siblings.ts"
import * as Exposition from "../telemetry/Exposition.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { handled, json } from "./Handled.ts"
import { HealthReport } from "./HealthReport.ts"
import { readText } from "./RequestBody.ts"
import { credential } from "./RequestContext.ts"

/** What the operations routes need to be told. @category models @since 0.1.0 */
export interface OperationsOptions {
  readonly version: string
  /** Closes `/metrics` to everybody else; null leaves it open. */
  readonly metricsToken: Redacted.Redacted | null
}

/** @category references @since 0.1.0 */
export const OperationsOptions = Context.Reference<OperationsOptions>("sluice/http/OperationsOptions", {
  defaultValue: () => ({ version: "0.0.0", metricsToken: null })
})

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "operations",
  Effect.fnUntraced(function* (handlers) {
    const report = yield* HealthReport
    const lifecycle = yield* Lifecycle
    const hasher = yield* KeyHasher
    const options = yield* OperationsOptions
    const inbox = yield* StripeInbox
    const siblings = yield* Siblings

    // Whatever becomes of an event, Stripe is told that it came; only one that could not be kept has to come again.
    const stripeWebhook = (request: HttpServerRequest.HttpServerRequest) =>
      Effect.flatMap(
        Effect.orElseSucceed(readText(request), () => ""),
        (body) =>
          Effect.match(inbox.receive(body, request.headers["stripe-signature"] ?? null), {
            onFailure: () => ApiError.toResponse(ApiError.make(503, "SERVICE_UNAVAILABLE", "The event could not be kept. Send it again.")),
            onSuccess: () => json({ received: true })
          })
      )

    const health = Effect.gen(function* () {
      const { components, status } = yield* report.report
      const timestamp = new Date(yield* Clock.currentTimeMillis).toISOString()
      return json({ status, version: options.version, timestamp, components })
    })

    return handlers
      .handleRaw("health", () => health)
      .handleRaw("live", () => Effect.succeed(json({ status: "live" })))
      .handleRaw("stripeWebhook", ({ request }) => stripeWebhook(request))
      .handleRaw("ready", () =>
        Effect.sync(() => {
          const status = lifecycle.state()
          const answered = json({ status }, status === "ready" ? 200 : 503)
          return status === "ready" ? answered : HttpServerResponse.setHeader(answered, "retry-after", "5")
        })
      )
      .handleRaw("metrics", ({ request }) =>
        Effect.gen(function* () {
          const key = credential(request)
          if (options.metricsToken !== null && (key === null || !hasher.equals(key, options.metricsToken))) {
            return yield* Effect.fail(ApiError.make(401, "API_KEY_MISSING", "Send the metrics token as a bearer token."))
          }
          const metrics = yield* siblings.withMetrics(yield* Exposition.format)
          if (metrics === null)
            return yield* Effect.fail(ApiError.make(503, "SERVICE_UNAVAILABLE", "Not every worker can be asked just now."))
          return HttpServerResponse.text(metrics, { contentType: Exposition.CONTENT_TYPE })
        }).pipe(handled)
      )
  })
)
