/**
 * Webhooks as the `sluice` command sees them: through a running server.
 *
 * @since 0.1.0
 */

import type { Path } from "effect"
import { Effect, type FileSystem, Schema } from "effect"
import { Webhook, WebhookDelivery } from "../schemas/Webhook.ts"
import type { WebhookDesk } from "../src/cli/WebhookCommands.ts"
import { running } from "./Desk.ts"
import * as Settings from "./Settings.ts"

const Webhooks = Schema.Struct({ data: Schema.Array(Webhook) })
const Deliveries = Schema.Struct({ data: Schema.Array(WebhookDelivery) })

const get = <S extends Schema.Decoder<unknown>>(url: string | null, path: string, schema: S) =>
  Effect.gen(function* () {
    const server = yield* running(url, yield* Settings.readForTools)
    return yield* server.get(path, schema)
  })

/** @category constructors @since 0.1.0 */
export const desk: WebhookDesk<unknown, FileSystem.FileSystem | Path.Path> = {
  list: (user, url) => Effect.map(get(url, `/admin/users/${encodeURIComponent(user)}/webhooks`, Webhooks), ({ data }) => data),
  deliveries: (user, webhook, limit, url) => {
    const path = `/admin/users/${encodeURIComponent(user)}/webhooks/${encodeURIComponent(webhook)}/deliveries?limit=${limit}`
    return Effect.map(get(url, path, Deliveries), ({ data }) => data)
  }
}
