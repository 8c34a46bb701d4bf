/**
 * What an account sees and manages of its own.
 *
 * @since 0.1.0
 */
import { Effect, Redacted } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { encodeBalance } from "../../schemas/LedgerEntry.ts"
import { Accounts } from "../identity/Accounts.ts"
import { Identity } from "../identity/Identity.ts"
import { Keys } from "../identity/Keys.ts"
import { Ledger } from "../ledger/Ledger.ts"
import { RequestLog } from "../usage/RequestLog.ts"
import { customer } from "./Access.ts"
import { Api, NewKeyBody } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { decodeBody, handled, json, list, page } from "./Handled.ts"

const unavailable = () => ApiError.make(503, "SERVICE_UNAVAILABLE", "The database did not answer. Try again shortly.")

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "account",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const accounts = yield* Accounts
    const keys = yield* Keys
    const ledger = yield* Ledger
    const requests = yield* RequestLog
    const readKey = decodeBody(NewKeyBody)
    return handlers
      .handleRaw("me", ({ request }) =>
        customer(identity, request).pipe(
          Effect.flatMap((caller) => Effect.mapError(accounts.get(caller.accountId), ApiError.fromAccounts)),
          Effect.map((user) => json(user)),
          handled
        )
      )
      .handleRaw("credits", ({ request }) =>
        customer(identity, request).pipe(
          Effect.flatMap((caller) => Effect.mapError(ledger.balance(caller.accountId), ApiError.fromLedger)),
          Effect.map((balance) => json(encodeBalance(balance))),
          handled
        )
      )
      .handleRaw("entries", ({ query, request }) =>
        Effect.gen(function* () {
          const caller = yield* customer(identity, request)
          const found = yield* Effect.mapError(ledger.entries(caller.accountId, yield* page(query)), ApiError.fromLedger)
          return list(found.data, found.next)
        }).pipe(handled)
      )
      .handleRaw("keys", ({ request }) =>
        customer(identity, request).pipe(
          Effect.flatMap((caller) => Effect.mapError(keys.list(caller.accountId), ApiError.fromAccounts)),
          Effect.map((rows) => list(rows)),
          handled
        )
      )
      .handleRaw("createKey", ({ request }) =>
        Effect.gen(function* () {
          const caller = yield* customer(identity, request)
          const body = yield* readKey(request)
          const wanted = {
            name: body.name,
            ip_allowlist: body.ip_allowlist ?? [],
            domain_allowlist: body.domain_allowlist ?? [],
            expires_at: body.expires_at ?? null,
            limits: body.limits ?? {}
          }
          const made = yield* Effect.mapError(keys.create(caller.accountId, wanted), ApiError.fromAccounts)
          return json({ ...made.row, key: Redacted.value(made.key) }, 201)
        }).pipe(handled)
      )
      .handleRaw("revokeKey", ({ params, request }) =>
        Effect.gen(function* () {
          const caller = yield* customer(identity, request)
          return json(yield* Effect.mapError(keys.revoke(caller.accountId, params.id), ApiError.fromAccounts))
        }).pipe(handled)
      )
      .handleRaw("requests", ({ query, request }) =>
        Effect.gen(function* () {
          const caller = yield* customer(identity, request)
          const found = yield* Effect.mapError(requests.list(caller.accountId, { ...query, ...(yield* page(query)) }), unavailable)
          return list(found.data, found.next)
        }).pipe(handled)
      )
      .handleRaw("request", ({ params, request }) =>
        Effect.gen(function* () {
          const caller = yield* customer(identity, request)
          const row = yield* Effect.mapError(requests.get(caller.accountId, params.id), unavailable)
          return row === null ? yield* Effect.fail(ApiError.notFound("There is no such request.")) : json(row)
        }).pipe(handled)
      )
  })
)
