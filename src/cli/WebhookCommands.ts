/**
 * The commands that look at a user's webhooks.
 *
 * @since 0.1.0
 */
import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Webhook, WebhookDelivery } from "../../schemas/Webhook.ts"
import { printJson, table } from "./Printing.ts"
import { json, url } from "./ServerFlags.ts"

/** What these commands ask a running server. @category models @since 0.1.0 */
export interface WebhookDesk<E, R> {
  readonly list: (user: string, url: string | null) => Effect.Effect<ReadonlyArray<Webhook>, E, R>
  readonly deliveries: (
    user: string,
    webhook: string,
    limit: number,
    url: string | null
  ) => Effect.Effect<ReadonlyArray<WebhookDelivery>, E, R>
}

const print = (value: unknown) => printJson(value)
const user = Argument.String("user").pipe(Argument.withDescription("Id or e-mail address"))

const list = <E, R>(desk: WebhookDesk<E, R>) =>
  Command.make("list", { user, url, json }, (flags) =>
    Effect.gen(function* () {
      const rows = yield* desk.list(flags.user, Option.getOrNull(flags.url))
      if (flags.json) return yield* print({ data: rows })
      const cells = rows.map((row) => [row.id, row.url, row.events.join(","), row.enabled ? "on" : "off"])
      yield* Console.log(rows.length === 0 ? "No webhooks." : table([["ID", "URL", "EVENTS", "STATE"], ...cells]))
    })
  ).pipe(
    Command.withDescription("A user's webhooks"),
    Command.withExamples([{ command: "sluice webhooks list ada@example.com", description: "Of the server of these settings" }])
  )

const deliveries = <E, R>(desk: WebhookDesk<E, R>) =>
  Command.make(
    "deliveries",
    {
      user,
      webhook: Argument.String("webhook").pipe(Argument.withDescription("The webhook's id")),
      limit: Flag.Int("limit").pipe(Flag.withDescription("At most so many, 1 to 1000"), Flag.withDefault(50)),
      url,
      json
    },
    (flags) =>
      Effect.gen(function* () {
        const limit = Math.min(1_000, Math.max(1, flags.limit))
        const rows = yield* desk.deliveries(flags.user, flags.webhook, limit, Option.getOrNull(flags.url))
        if (flags.json) return yield* print({ data: rows })
        const cells = rows.map((row) => [
          row.created_at,
          row.type,
          row.status,
          String(row.attempt),
          String(row.status_code ?? ""),
          row.error ?? ""
        ])
        yield* Console.log(
          rows.length === 0 ? "Nothing was sent yet." : table([["TIME", "EVENT", "STATUS", "ATTEMPT", "ANSWER", "WHY"], ...cells])
        )
      })
  ).pipe(
    Command.withDescription("What was sent to a webhook, newest first"),
    Command.withExamples([
      { command: "sluice webhooks deliveries ada@example.com 0198c0de-… --limit 10", description: "The latest ten attempts" }
    ])
  )

/** `sluice webhooks …`. @category constructors @since 0.1.0 */
export const webhooks = <E, R>(desk: WebhookDesk<E, R>) =>
  Command.make("webhooks").pipe(
    Command.withDescription("Webhooks of users, and what was sent to them"),
    Command.withSubcommands([list(desk), deliveries(desk)])
  )
