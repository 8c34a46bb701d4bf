/**
 * What the operator manages of people: roles, their keys, the audit log; described.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { ApiKey, Role, User } from "../../schemas/Account.ts"
import { AuditEntry } from "../identity/AuditLog.ts"
import { RotationStep } from "../identity/KeyRotation.ts"
import { ById, failures, listOf, PageQuery } from "./ApiShapes.ts"
import { MadeKey, NewKeyBody } from "./KeysApi.ts"

/** `PUT /admin/users/{id}/role`. @category schemas @since 0.1.0 */
export const NewRole = Schema.Struct({
  role: Role,
  reason: Schema.optional(Schema.NullOr(Schema.String.check(Schema.isMaxLength(1_000))))
})

/** `POST /admin/keys/rotate`. @category schemas @since 0.1.0 */
export const RotateKeys = Schema.Struct({ after: Schema.optional(Schema.NullOr(Schema.String)) })

/** @category models @since 0.1.0 */
export const AdministrationApi = HttpApiGroup.make("administration").add(
  HttpApiEndpoint.put("setRole", "/admin/users/:id/role", { params: ById, payload: NewRole, success: User, error: failures }),
  HttpApiEndpoint.get("userKeys", "/admin/users/:id/keys", { params: ById, query: PageQuery, success: listOf(ApiKey), error: failures }),
  HttpApiEndpoint.post("createUserKey", "/admin/users/:id/keys", {
    params: ById,
    payload: NewKeyBody,
    success: MadeKey,
    error: failures
  }),
  HttpApiEndpoint.delete("revokeUserKey", "/admin/users/:id/keys/:key", {
    params: { id: Schema.String, key: Schema.String },
    success: ApiKey,
    error: failures
  }),
  HttpApiEndpoint.post("rotateKeys", "/admin/keys/rotate", { payload: RotateKeys, success: RotationStep, error: failures }),
  HttpApiEndpoint.get("audit", "/admin/audit", {
    query: { ...PageQuery, action: Schema.optional(Schema.String), account: Schema.optional(Schema.String) },
    success: listOf(AuditEntry),
    error: failures
  })
)
