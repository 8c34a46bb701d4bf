/**
 * What an account sees and manages of its own.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { encodeBalance } from "../../schemas/LedgerEntry.ts"
import { Accounts } from "../identity/Accounts.ts"
import { Identity } from "../identity/Identity.ts"
import { Ledger } from "../ledger/Ledger.ts"
import { RequestLog } from "../usage/RequestLog.ts"
import { account } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { handled, json, list, page } from "./Handled.ts"

const unavailable = () => ApiError.make(503, "SERVICE_UNAVAILABLE", "The database did not answer. Try again shortly.")

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "account",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const accounts = yield* Accounts
    const ledger = yield* Ledger
    const requests = yield* RequestLog
    return handlers
      .handleRaw("me", ({ request }) =>
        account(identity, request, "users:read").pipe(
          Effect.flatMap((caller) => Effect.mapError(accounts.get(caller.accountId), ApiError.fromAccounts)),
          Effect.map((user) => json(user)),
          handled
        )
      )
      .handleRaw("credits", ({ request }) =>
        account(identity, request, "usage:read").pipe(
          Effect.flatMap((caller) => Effect.mapError(ledger.balance(caller.accountId), ApiError.fromLedger)),
          Effect.map((balance) => json(encodeBalance(balance))),
          handled
        )
      )
      .handleRaw("entries", ({ query, request }) =>
        Effect.gen(function* () {
          const caller = yield* account(identity, request, "usage:read")
          const found = yield* Effect.mapError(ledger.entries(caller.accountId, yield* page(query)), ApiError.fromLedger)
          return list(found.data, found.next)
        }).pipe(handled)
      )
      .handleRaw("requests", ({ query, request }) =>
        Effect.gen(function* () {
          const caller = yield* account(identity, request, "usage:read")
          const found = yield* Effect.mapError(requests.list(caller.accountId, { ...query, ...(yield* page(query)) }), unavailable)
          return list(found.data, found.next)
        }).pipe(handled)
      )
      .handleRaw("request", ({ params, request }) =>
        Effect.gen(function* () {
          const caller = yield* account(identity, request, "usage:read")
          const row = yield* Effect.mapError(requests.get(caller.accountId, params.id), unavailable)
          return row === null ? yield* Effect.fail(ApiError.notFound("There is no such request.")) : json(row)
        }).pipe(handled)
      )
  })
)
