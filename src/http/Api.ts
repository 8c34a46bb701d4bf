/**
 * Every route, described once: the server and `/openapi.json` are made from the same value.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { User } from "../../schemas/Account.ts"
import { EncodedBalance, LedgerCheck, LedgerEntry } from "../../schemas/LedgerEntry.ts"
import { NegotiatedLimits, PlanId } from "../../schemas/Plan.ts"
import { AdministrationApi } from "./AdministrationApi.ts"
import { complete } from "./ApiDescription.ts"
import { ById, failures, json, listOf, PageQuery, Row } from "./ApiShapes.ts"
import { AuthApi } from "./AuthApi.ts"
import { CatalogApi } from "./CatalogApi.ts"
import { InferenceApi } from "./InferenceApi.ts"
import { KeysApi } from "./KeysApi.ts"
import { PlanApi } from "./PlanApi.ts"
import { StatusApi } from "./StatusApi.ts"
import { UsageApi } from "./UsageApi.ts"
import { WebhookApi } from "./WebhookApi.ts"

/** `POST /admin/users`. @category schemas @since 0.1.0 */
export const NewUser = Schema.Struct({
  email: Schema.String,
  plan: Schema.optional(Schema.NullOr(PlanId)),
  partner_code: Schema.optional(Schema.NullOr(Schema.String)),
  referral_code: Schema.optional(Schema.NullOr(Schema.String))
})

const MadeUser = Schema.Struct({ user: User, api_key: Schema.String, referral_code: Schema.String }).annotate({ httpApiStatus: 201 })

/** `PUT /admin/users/{id}/plan`. @category schemas @since 0.1.0 */
export const NewPlan = Schema.Struct({ plan: PlanId })

/** `POST /admin/users/{id}/credits`: USD as a decimal string or a number; the same reference is applied once. @category schemas @since 0.1.0 */
export const NewCredits = Schema.Struct({
  amount_usd: Schema.Union([Schema.String, Schema.Finite]),
  reference: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(255))
})

const Account = HttpApiGroup.make("account").add(
  HttpApiEndpoint.get("me", "/v1/me", { success: User, error: failures }),
  HttpApiEndpoint.get("credits", "/v1/credits", {
    success: EncodedBalance,
    error: failures
  }),
  HttpApiEndpoint.get("entries", "/v1/credits/entries", { query: PageQuery, success: listOf(LedgerEntry), error: failures })
)

const Operator = HttpApiGroup.make("operator").add(
  HttpApiEndpoint.post("createUser", "/admin/users", { payload: NewUser, success: MadeUser, error: failures }),
  HttpApiEndpoint.get("users", "/admin/users", { query: PageQuery, success: listOf(User), error: failures }),
  HttpApiEndpoint.get("user", "/admin/users/:id", { params: ById, success: User, error: failures }),
  HttpApiEndpoint.get("userCredits", "/admin/users/:id/credits", { params: ById, success: EncodedBalance, error: failures }),
  HttpApiEndpoint.get("userEntries", "/admin/users/:id/credits/entries", {
    params: ById,
    query: PageQuery,
    success: listOf(LedgerEntry),
    error: failures
  }),
  HttpApiEndpoint.put("setPlan", "/admin/users/:id/plan", { params: ById, payload: NewPlan, success: User, error: failures }),
  HttpApiEndpoint.put("setLimits", "/admin/users/:id/limits", { params: ById, payload: NegotiatedLimits, success: User, error: failures }),
  HttpApiEndpoint.post("addCredits", "/admin/users/:id/credits", {
    params: ById,
    payload: NewCredits,
    success: LedgerEntry,
    error: failures
  }),
  HttpApiEndpoint.get("breakers", "/admin/breakers", { query: PageQuery, success: listOf(Row), error: failures }),
  HttpApiEndpoint.post("resetBreaker", "/admin/breakers/:provider/reset", { params: { provider: Schema.String }, ...json }),
  HttpApiEndpoint.get("checkLedger", "/admin/ledger/check", { success: LedgerCheck, error: failures })
)

const Operations = HttpApiGroup.make("operations").add(
  HttpApiEndpoint.get("health", "/health", { success: Row }),
  HttpApiEndpoint.get("live", "/health/live", { success: Row }),
  HttpApiEndpoint.get("ready", "/health/ready", { success: Row, error: failures }),
  HttpApiEndpoint.get("metrics", "/metrics", { success: Schema.String, error: failures }),
  HttpApiEndpoint.post("stripeWebhook", "/api/stripe/webhook", { success: Schema.Struct({ received: Schema.Boolean }), error: failures })
)

/** @category models @since 0.1.0 */
export const Api = HttpApi.make("sluice")
  .add(
    InferenceApi,
    CatalogApi,
    AuthApi,
    Account,
    KeysApi,
    Operator,
    AdministrationApi,
    Operations,
    StatusApi,
    UsageApi,
    WebhookApi,
    PlanApi
  )
  .annotateMerge(
    OpenApi.annotations({ title: "Sluice", description: "An AI inference gateway: one key, every model, one bill.", transform: complete })
  )
