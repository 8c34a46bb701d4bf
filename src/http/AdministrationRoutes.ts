/**
 * What the operator manages of people: roles, their keys, the audit log.
 *
 * @since 0.1.0
 */
import { Effect, Redacted } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Accounts } from "../identity/Accounts.ts"
import { AuditLog } from "../identity/AuditLog.ts"
import { Identity } from "../identity/Identity.ts"
import { KeyRotation } from "../identity/KeyRotation.ts"
import { Keys } from "../identity/Keys.ts"
import { operator } from "./Access.ts"
import { NewRole, RotateKeys } from "./AdministrationApi.ts"
import { Api } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { refuseUnknown } from "./GivenLimits.ts"
import { cursors, decodeBody, handled, json, list, page } from "./Handled.ts"
import { NewKeyBody } from "./KeysApi.ts"

type Request = HttpServerRequest.HttpServerRequest

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "administration",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const accounts = yield* Accounts
    const keys = yield* Keys
    const rotation = yield* KeyRotation
    const audit = yield* AuditLog
    const readRole = decodeBody(NewRole)
    const readKey = decodeBody(NewKeyBody, ({ limits }) => refuseUnknown(limits, "limits."))
    const readRotation = decodeBody(RotateKeys)

    const setRole = Effect.fnUntraced(function* (id: string, request: Request) {
      const by = yield* operator(identity, request, "users:create")
      const { reason, role } = yield* readRole(request)
      return json(yield* Effect.mapError(accounts.setRole(id, role, reason ?? null, by), ApiError.fromAccounts))
    })

    const userKeys = Effect.fnUntraced(function* (id: string, query: Parameters<typeof page>[0], request: Request) {
      yield* operator(identity, request, "users:list")
      const user = yield* Effect.mapError(accounts.find(id), ApiError.fromAccounts)
      const found = yield* Effect.mapError(keys.list(user.id, yield* page(query, cursors.byId)), ApiError.fromAccounts)
      return list(found.data, found.next)
    })

    const createKey = Effect.fnUntraced(function* (id: string, request: Request) {
      const by = yield* operator(identity, request, "users:create")
      const body = yield* readKey(request)
      const user = yield* Effect.mapError(accounts.find(id), ApiError.fromAccounts)
      const made = yield* Effect.mapError(keys.create(user.id, body), ApiError.fromAccounts)
      const details = { key: made.row.id, name: made.row.name, scopes: made.row.scopes }
      yield* audit.record({ ...by, action: "KEY_CREATED", account: user.id, details })
      return json({ ...made.row, key: Redacted.value(made.key) }, 201)
    })

    const revokeKey = Effect.fnUntraced(function* (id: string, key: string, request: Request) {
      const by = yield* operator(identity, request, "users:create")
      const user = yield* Effect.mapError(accounts.find(id), ApiError.fromAccounts)
      const row = yield* Effect.mapError(keys.revoke(user.id, key), ApiError.fromAccounts)
      yield* audit.record({ ...by, action: "KEY_REVOKED", account: user.id, details: { key, name: row.name } })
      return json(row)
    })

    const rotate = Effect.fnUntraced(function* (request: Request) {
      const by = yield* operator(identity, request, "users:create")
      const { after } = yield* readRotation(request)
      const step = yield* Effect.mapError(rotation.step(after ?? null), ApiError.fromAccounts)
      const { failed, rotated } = step
      if (rotated + failed.length > 0) yield* audit.record({ ...by, action: "KEYS_ROTATED", account: null, details: { rotated, failed } })
      return json(step)
    })

    const listAudit = Effect.fnUntraced(function* (
      query: Parameters<typeof page>[0] & { readonly action?: string | undefined; readonly account?: string | undefined },
      request: Request
    ) {
      yield* operator(identity, request, "audit_logs:read")
      const { action, account } = query
      const found = yield* Effect.mapError(audit.list({ ...(yield* page(query, cursors.byId)), action, account }), ApiError.fromAccounts)
      return list(found.data, found.next)
    })

    return handlers
      .handleRaw("setRole", ({ params, request }) => handled(setRole(params.id, request)))
      .handleRaw("userKeys", ({ params, query, request }) => handled(userKeys(params.id, query, request)))
      .handleRaw("createUserKey", ({ params, request }) => handled(createKey(params.id, request)))
      .handleRaw("revokeUserKey", ({ params, request }) => handled(revokeKey(params.id, params.key, request)))
      .handleRaw("rotateKeys", ({ request }) => handled(rotate(request)))
      .handleRaw("audit", ({ query, request }) => handled(listAudit(query, request)))
  })
)
