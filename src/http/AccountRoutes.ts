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
import { account } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { cursors, handled, json, list, page } from "./Handled.ts"

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "account",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const accounts = yield* Accounts
    const ledger = yield* Ledger
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
          const found = yield* Effect.mapError(ledger.entries(caller.accountId, yield* page(query, cursors.counted)), ApiError.fromLedger)
          return list(found.data, found.next)
        }).pipe(handled)
      )
  })
)
