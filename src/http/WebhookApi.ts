/**
 * The routes of webhooks, described.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { NewWebhook, Webhook, WebhookChange, WebhookDelivery, WebhookWithSecret } from "../../schemas/Webhook.ts"
import { ById, failures, json, listOf, PageQuery } from "./ApiShapes.ts"

/** `PATCH /v1/me`: below this balance `credits.low` is told; null is the usual 5 USD. @category schemas @since 0.1.0 */
export const MeChange = Schema.Struct({
  low_balance_usd: Schema.optionalKey(Schema.NullOr(Schema.Union([Schema.String, Schema.Finite])))
})

/** @category models @since 0.1.0 */
export const WebhookApi = HttpApiGroup.make("webhooks").add(
  HttpApiEndpoint.patch("changeMe", "/v1/me", { payload: MeChange, ...json }),
  HttpApiEndpoint.get("webhooks", "/v1/webhooks", { query: PageQuery, success: listOf(Webhook), error: failures }),
  HttpApiEndpoint.post("createWebhook", "/v1/webhooks", {
    payload: NewWebhook,
    success: WebhookWithSecret.pipe(HttpApiSchema.status(201)),
    error: failures
  }),
  HttpApiEndpoint.get("webhook", "/v1/webhooks/:id", { params: ById, success: Webhook, error: failures }),
  HttpApiEndpoint.patch("changeWebhook", "/v1/webhooks/:id", { params: ById, payload: WebhookChange, success: Webhook, error: failures }),
  HttpApiEndpoint.delete("removeWebhook", "/v1/webhooks/:id", { params: ById, ...json }),
  HttpApiEndpoint.post("rotateWebhook", "/v1/webhooks/:id/rotate", { params: ById, success: WebhookWithSecret, error: failures }),
  HttpApiEndpoint.post("testWebhook", "/v1/webhooks/:id/test", {
    params: ById,
    success: WebhookDelivery.pipe(HttpApiSchema.status(202)),
    error: failures
  }),
  HttpApiEndpoint.get("deliveries", "/v1/webhooks/:id/deliveries", {
    params: ById,
    query: PageQuery,
    success: listOf(WebhookDelivery),
    error: failures
  }),
  HttpApiEndpoint.post("redeliver", "/v1/webhooks/:id/deliveries/:delivery/redeliver", {
    params: { ...ById, delivery: Schema.String },
    success: WebhookDelivery.pipe(HttpApiSchema.status(202)),
    error: failures
  }),
  HttpApiEndpoint.get("userWebhooks", "/admin/users/:id/webhooks", {
    params: ById,
    query: PageQuery,
    success: listOf(Webhook),
    error: failures
  }),
  HttpApiEndpoint.get("userDeliveries", "/admin/users/:id/webhooks/:webhook/deliveries", {
    params: { ...ById, webhook: Schema.String },
    query: PageQuery,
    success: listOf(WebhookDelivery),
    error: failures
  })
)
