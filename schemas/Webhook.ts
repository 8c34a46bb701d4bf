/**
 * What customers are told of: events, the endpoints they go to, and how their delivery went.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

/** @category schemas @since 0.1.0 */
export const EventType = Schema.Literals([
  "credits.low",
  "credits.depleted",
  "credits.added",
  "model.degraded",
  "rate_limit.approaching",
  "batch.completed",
  "sla.breached"
])
export type EventType = typeof EventType.Type

/** An endpoint as the API shows it; times are ISO-8601 in UTC. @category schemas @since 0.1.0 */
export const Webhook = Schema.Struct({
  id: Schema.String,
  url: Schema.String,
  events: Schema.Array(EventType),
  description: Schema.NullOr(Schema.String),
  enabled: Schema.Boolean,
  /** Until when the secret before the present one signs too. */
  previous_secret_until: Schema.NullOr(Schema.String),
  created_at: Schema.String
}).annotate({ identifier: "Webhook" })
export type Webhook = typeof Webhook.Type

/** An endpoint with its secret, which is shown when it is made and never again. @category schemas @since 0.1.0 */
export const WebhookWithSecret = Schema.Struct({ ...Webhook.fields, secret: Schema.String })

/** One attempt to deliver one event; `next_at` is when it is due, or when the attempt after a failed one is. @category schemas @since 0.1.0 */
export const WebhookDelivery = Schema.Struct({
  id: Schema.String,
  event_id: Schema.String,
  type: Schema.String,
  attempt: Schema.Number,
  status: Schema.Literals(["delivered", "failed", "pending"]),
  status_code: Schema.NullOr(Schema.Number),
  duration_ms: Schema.NullOr(Schema.Number),
  error: Schema.NullOr(Schema.String),
  next_at: Schema.NullOr(Schema.String),
  created_at: Schema.String
}).annotate({ identifier: "WebhookDelivery" })
export type WebhookDelivery = typeof WebhookDelivery.Type

const Events = Schema.Array(EventType).check(Schema.isMinLength(1), Schema.isMaxLength(32))
const Description = Schema.String.check(Schema.isMaxLength(500))

/** `POST /v1/webhooks`. @category schemas @since 0.1.0 */
export const NewWebhook = Schema.Struct({
  url: Schema.String,
  events: Events,
  description: Schema.optionalKey(Schema.NullOr(Description))
})
export type NewWebhook = typeof NewWebhook.Type

/** `PATCH /v1/webhooks/{id}`: what is absent stays. @category schemas @since 0.1.0 */
export const WebhookChange = Schema.Struct({
  url: Schema.optionalKey(Schema.String),
  events: Schema.optionalKey(Events),
  description: Schema.optionalKey(Schema.NullOr(Description)),
  enabled: Schema.optionalKey(Schema.Boolean)
})
export type WebhookChange = typeof WebhookChange.Type
