/**
 * The webhooks of an account, their log, and when it is told of its credits.
 *
 * @since 0.1.0
 */
import { Effect, Option, Redacted } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import * as Money from "../../schemas/Money.ts"
import { NewWebhook, WebhookChange } from "../../schemas/Webhook.ts"
import { CreditAlerts } from "../events/CreditAlerts.ts"
import { type MadeWebhook, Webhooks, type WebhooksError } from "../events/Webhooks.ts"
import { Accounts } from "../identity/Accounts.ts"
import { Identity } from "../identity/Identity.ts"
import { account, operator } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { cursors, decodeBody, handled, json, list, listWhole, page } from "./Handled.ts"
import { MeChange } from "./WebhookApi.ts"

const MOST_LOW_BALANCE = Money.usd("1000000")

/** A number is read as it is written; a finer amount than the book knows is refused, as in a string. */
const readLowBalance = (value: string | number): Effect.Effect<Money.Money, ApiError.ApiError> => {
  const amount = Option.getOrNull(Money.fromUsd(String(value)))
  return amount !== null && amount >= 0n && amount <= MOST_LOW_BALANCE
    ? Effect.succeed(amount)
    : Effect.fail(ApiError.invalid("`low_balance_usd` must be an amount in USD from 0 to 1000000.", "low_balance_usd"))
}

const shown = ({ secret, webhook }: MadeWebhook) => ({ ...webhook, secret: Redacted.value(secret) })

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "webhooks",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const accounts = yield* Accounts
    const webhooks = yield* Webhooks
    const alerts = yield* CreditAlerts
    const readNew = decodeBody(NewWebhook)
    const readChange = decodeBody(WebhookChange)
    const readMe = decodeBody(MeChange)
    const unavailable = () => ApiError.make(503, "SERVICE_UNAVAILABLE", "The database did not answer. Try again shortly.")

    /** Answers an account with what a service did for it. */
    const forAccount = <A>(
      request: HttpServerRequest.HttpServerRequest,
      act: (account: string) => Effect.Effect<A, WebhooksError>,
      answer: (value: A) => ReturnType<typeof json>
    ) =>
      account(identity, request, "webhooks:manage").pipe(
        Effect.flatMap((caller) => Effect.mapError(act(caller.accountId), ApiError.fromWebhooks)),
        Effect.map(answer),
        handled
      )

    /** The account that the operator asks about. */
    const userOf = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest, name: string) {
      yield* operator(identity, request, "users:list")
      return (yield* Effect.mapError(accounts.find(name), ApiError.fromAccounts)).id
    })

    const changeMe = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      const { accountId } = yield* account(identity, request, "users:update")
      const { low_balance_usd: wanted } = yield* readMe(request)
      const threshold = yield* wanted === undefined
        ? Effect.mapError(alerts.threshold(accountId), unavailable)
        : Effect.mapError(alerts.setThreshold(accountId, wanted === null ? null : yield* readLowBalance(wanted)), unavailable)
      const user = yield* Effect.mapError(accounts.get(accountId), ApiError.fromAccounts)
      return json({ ...user, low_balance_usd: Money.toUsd(threshold) })
    })

    return handlers
      .handleRaw("changeMe", ({ request }) => handled(changeMe(request)))
      .handleRaw("webhooks", ({ query, request }) =>
        Effect.gen(function* () {
          const { accountId } = yield* account(identity, request, "webhooks:manage")
          return yield* listWhole(yield* Effect.mapError(webhooks.list(accountId), ApiError.fromWebhooks), query, ({ id }) => id)
        }).pipe(handled)
      )
      .handleRaw("createWebhook", ({ request }) =>
        Effect.gen(function* () {
          const { accountId } = yield* account(identity, request, "webhooks:manage")
          const made = yield* Effect.mapError(webhooks.create(accountId, yield* readNew(request)), ApiError.fromWebhooks)
          return json(shown(made), 201)
        }).pipe(handled)
      )
      .handleRaw("webhook", ({ params, request }) => forAccount(request, (account) => webhooks.get(account, params.id), json))
      .handleRaw("changeWebhook", ({ params, request }) =>
        Effect.gen(function* () {
          const { accountId } = yield* account(identity, request, "webhooks:manage")
          const change = yield* readChange(request)
          return json(yield* Effect.mapError(webhooks.change(accountId, params.id, change), ApiError.fromWebhooks))
        }).pipe(handled)
      )
      .handleRaw("removeWebhook", ({ params, request }) =>
        forAccount(
          request,
          (account) => webhooks.remove(account, params.id),
          ({ id }) => json({ id, deleted: true })
        )
      )
      .handleRaw("rotateWebhook", ({ params, request }) =>
        forAccount(
          request,
          (account) => webhooks.rotate(account, params.id),
          (made) => json(shown(made))
        )
      )
      .handleRaw("testWebhook", ({ params, request }) =>
        forAccount(
          request,
          (account) => webhooks.test(account, params.id),
          (row) => json(row, 202)
        )
      )
      .handleRaw("deliveries", ({ params, query, request }) =>
        Effect.gen(function* () {
          const { accountId } = yield* account(identity, request, "webhooks:manage")
          const found = yield* Effect.mapError(
            webhooks.deliveries(accountId, params.id, yield* page(query, cursors.counted)),
            ApiError.fromWebhooks
          )
          return list(found.data, found.next)
        }).pipe(handled)
      )
      .handleRaw("redeliver", ({ params, request }) =>
        forAccount(
          request,
          (account) => webhooks.redeliver(account, params.id, params.delivery),
          (row) => json(row, 202)
        )
      )
      .handleRaw("userWebhooks", ({ params, query, request }) =>
        Effect.gen(function* () {
          const user = yield* userOf(request, params.id)
          return yield* listWhole(yield* Effect.mapError(webhooks.list(user), ApiError.fromWebhooks), query, ({ id }) => id)
        }).pipe(handled)
      )
      .handleRaw("userDeliveries", ({ params, query, request }) =>
        Effect.gen(function* () {
          const id = yield* userOf(request, params.id)
          const wanted = yield* page(query, cursors.counted)
          const found = yield* Effect.mapError(webhooks.deliveries(id, params.webhook, wanted), ApiError.fromWebhooks)
          return list(found.data, found.next)
        }).pipe(handled)
      )
  })
)
