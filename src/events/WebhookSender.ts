/**
 * The way out for webhooks: one signed message to one endpoint.
 *
 * @since 0.1.0
 */
import { Context, type Effect, type Redacted } from "effect"

/** One message, to be signed with each of the secrets. @category models @since 0.1.0 */
export interface WebhookMessage {
  readonly url: URL
  readonly id: string
  /** Seconds since 1970. */
  readonly timestamp: number
  readonly body: string
  readonly secrets: ReadonlyArray<Redacted.Redacted>
}

/** What came of it: a status, or in words why there is none. @category models @since 0.1.0 */
export type WebhookReply = { readonly status: number } | { readonly failure: string }

/** @category services @since 0.1.0 */
export class WebhookSender extends Context.Service<
  WebhookSender,
  {
    /**
     * Sends a message within a bounded time, judging the address that it connects to. Follows no redirect and reads no more
     * of an answer than its head.
     */
    readonly send: (message: WebhookMessage) => Effect.Effect<WebhookReply>
    /** What is wrong with a URL and with where it leads now, in words for who gave it; null when nothing is, or when its name is not known now. */
    readonly judge: (url: string) => Effect.Effect<string | null>
  }
>()("sluice/events/WebhookSender") {}
