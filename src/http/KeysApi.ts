/**
 * The routes of an account's keys, described.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { ApiKey, CacheMode } from "../../schemas/Account.ts"
import { GivenGuardrails } from "../../schemas/Guardrail.ts"
import { NegotiatedLimits } from "../../schemas/Plan.ts"
import { ById, failures, listOf, PageQuery } from "./ApiShapes.ts"

const Strings = Schema.optional(Schema.Array(Schema.String))
const settings = {
  scopes: Strings,
  ip_allowlist: Strings,
  domain_allowlist: Strings,
  limits: Schema.optional(NegotiatedLimits),
  max_requests: Schema.optional(Schema.NullOr(Schema.Finite)),
  cache: Schema.optional(Schema.NullOr(CacheMode)),
  guardrails: Schema.optional(Schema.NullOr(GivenGuardrails)),
  expires_at: Schema.optional(Schema.NullOr(Schema.String))
}

/** `POST /v1/keys`. @category schemas @since 0.1.0 */
export const NewKeyBody = Schema.Struct({ name: Schema.String, ...settings })

/** `PATCH /v1/keys/{id}`: what is absent stays as it is. @category schemas @since 0.1.0 */
export const KeyChangeBody = Schema.Struct({ name: Schema.optional(Schema.String), ...settings })

/** A key as it was just made: `key` is the plain one, shown here only. @category schemas @since 0.1.0 */
export const MadeKey = Schema.Struct({ ...ApiKey.fields, key: Schema.String }).annotate({ httpApiStatus: 201 })

/** @category models @since 0.1.0 */
export const KeysApi = HttpApiGroup.make("keys").add(
  HttpApiEndpoint.get("keys", "/v1/keys", { query: PageQuery, success: listOf(ApiKey), error: failures }),
  HttpApiEndpoint.post("createKey", "/v1/keys", { payload: NewKeyBody, success: MadeKey, error: failures }),
  HttpApiEndpoint.patch("updateKey", "/v1/keys/:id", { params: ById, payload: KeyChangeBody, success: ApiKey, error: failures }),
  HttpApiEndpoint.delete("revokeKey", "/v1/keys/:id", { params: ById, success: ApiKey, error: failures })
)
