/**
 * The keys of an account, managed by itself.
 *
 * @since 0.1.0
 */
import { Effect, Redacted } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import type { Caller } from "../../schemas/Account.ts"
import { AuditLog } from "../identity/AuditLog.ts"
import { Identity } from "../identity/Identity.ts"
import { Keys } from "../identity/Keys.ts"
import { mayGive } from "../identity/Permissions.ts"
import { AttemptLimits } from "../limits/AttemptLimits.ts"
import { account, actorOf } from "./Access.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { refuseUnknown } from "./GivenLimits.ts"
import { cursors, decodeBody, handled, json, list, page } from "./Handled.ts"
import { KeyChangeBody, NewKeyBody } from "./KeysApi.ts"

/** A key gives no scope that it does not have itself. */
const refuseScopes = (caller: Caller, scopes: ReadonlyArray<string> | undefined): Effect.Effect<void, ApiError.ApiError> =>
  scopes === undefined || mayGive(caller.scopes, scopes)
    ? Effect.void
    : Effect.fail(ApiError.make(403, "INSUFFICIENT_PERMISSIONS", "A key cannot give scopes that it does not have.", { param: "scopes" }))

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "keys",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const keys = yield* Keys
    const attempts = yield* AttemptLimits
    const audit = yield* AuditLog
    const readKey = decodeBody(NewKeyBody, ({ limits }) => refuseUnknown(limits, "limits."))
    const readChange = decodeBody(KeyChangeBody, ({ limits }) => refuseUnknown(limits, "limits."))

    const record = Effect.fnUntraced(function* (
      request: HttpServerRequest.HttpServerRequest,
      caller: Caller,
      action: string,
      details: Readonly<Record<string, unknown>>
    ) {
      const by = yield* actorOf(request, caller.accountId)
      yield* audit.record({ ...by, action, account: caller.accountId, details: { ...details, by_key: caller.keyId } })
    })

    const create = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
      const caller = yield* account(identity, request, "api_keys:create")
      const body = yield* readKey(request)
      const wanted = { ...body, scopes: body.scopes ?? caller.scopes }
      yield* refuseScopes(caller, wanted.scopes)
      yield* Effect.mapError(keys.check(wanted), ApiError.fromAccounts)
      yield* Effect.mapError(attempts.attempt("key", caller.accountId), ApiError.fromAttempts)
      const made = yield* Effect.mapError(keys.create(caller.accountId, wanted), ApiError.fromAccounts)
      yield* record(request, caller, "KEY_CREATED", { key: made.row.id, name: made.row.name, scopes: made.row.scopes })
      return json({ ...made.row, key: Redacted.value(made.key) }, 201)
    })

    const update = Effect.fnUntraced(function* (id: string, request: HttpServerRequest.HttpServerRequest) {
      const caller = yield* account(identity, request, "api_keys:update")
      const body = yield* readChange(request)
      yield* refuseScopes(caller, body.scopes)
      const row = yield* Effect.mapError(keys.update(caller.accountId, id, body), ApiError.fromAccounts)
      yield* record(request, caller, "KEY_CHANGED", { key: id, change: body })
      return json(row)
    })

    const revoke = Effect.fnUntraced(function* (id: string, request: HttpServerRequest.HttpServerRequest) {
      const caller = yield* account(identity, request, "api_keys:delete")
      const row = yield* Effect.mapError(keys.revoke(caller.accountId, id), ApiError.fromAccounts)
      yield* record(request, caller, "KEY_REVOKED", { key: id, name: row.name })
      return json(row)
    })

    const listed = Effect.fnUntraced(function* (query: Parameters<typeof page>[0], request: HttpServerRequest.HttpServerRequest) {
      const caller = yield* account(identity, request, "api_keys:list")
      const found = yield* Effect.mapError(keys.list(caller.accountId, yield* page(query, cursors.byId)), ApiError.fromAccounts)
      return list(found.data, found.next)
    })

    return handlers
      .handleRaw("keys", ({ query, request }) => handled(listed(query, request)))
      .handleRaw("createKey", ({ request }) => handled(create(request)))
      .handleRaw("updateKey", ({ params, request }) => handled(update(params.id, request)))
      .handleRaw("revokeKey", ({ params, request }) => handled(revoke(params.id, request)))
  })
)
