/**
 * What the operator manages: users, credits, breakers, the ledger's proof.
 *
 * @since 0.1.0
 */
import { Effect, Option, Redacted } from "effect"
import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { encodeBalance } from "../../schemas/LedgerEntry.ts"
import * as Money from "../../schemas/Money.ts"
import { NegotiatedLimits } from "../../schemas/Plan.ts"
import { Accounts } from "../identity/Accounts.ts"
import { type Actor, AuditLog } from "../identity/AuditLog.ts"
import { Identity } from "../identity/Identity.ts"
import type { Permission } from "../identity/Permissions.ts"
import { Ledger } from "../ledger/Ledger.ts"
import { Breakers } from "../providers/Breakers.ts"
import { ProviderRegistry } from "../providers/ProviderRegistry.ts"
import { operator } from "./Access.ts"
import { Api, NewCredits, NewPlan, NewUser } from "./Api.ts"
import * as ApiError from "./ApiError.ts"
import { refuseUnknown } from "./GivenLimits.ts"
import { cursors, decodeBody, handled, json, list, listWhole, type PageRequest, page } from "./Handled.ts"

/** Numbers are read through their shortest decimal form, so 0.1 is a tenth. */
const amountOf = (value: string | number): Option.Option<Money.Money> =>
  Money.fromUsd(typeof value === "number" ? plainDecimal(value) : value.trim())

const plainDecimal = (value: number): string => (String(value).includes("e") ? value.toFixed(12) : String(value))

const tooMuchTaken = ApiError.make(
  409,
  "INSUFFICIENT_CREDITS",
  "The account has less than that in purchased credits, or requests under way hold them. Nothing was taken.",
  { param: "amount_usd" }
)

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(
  Api,
  "operator",
  Effect.fnUntraced(function* (handlers) {
    const identity = yield* Identity
    const accounts = yield* Accounts
    const ledger = yield* Ledger
    const breakers = yield* Breakers
    const registry = yield* ProviderRegistry
    const audit = yield* AuditLog
    const readUser = decodeBody(NewUser)
    const readPlan = decodeBody(NewPlan)
    const readLimits = decodeBody(NegotiatedLimits, (body) => refuseUnknown(body))
    const readCredits = decodeBody(NewCredits)

    const asOperator = <R>(
      request: HttpServerRequest.HttpServerRequest,
      permission: Permission,
      effect: (by: Actor) => Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError.ApiError, R>
    ) => handled(Effect.flatMap(operator(identity, request, permission), effect))

    /** What was done, written down once it is. */
    const recorded = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      by: Actor,
      action: string,
      account: string | null,
      details: Readonly<Record<string, unknown>>
    ) => Effect.tap(effect, () => audit.record({ ...by, action, account, details }))

    const addCredits = Effect.fnUntraced(function* (by: Actor, id: string, request: HttpServerRequest.HttpServerRequest) {
      const body = yield* readCredits(request)
      const amount = Option.getOrNull(amountOf(body.amount_usd))
      if (amount === null || amount === 0n) {
        return yield* Effect.fail(ApiError.invalid('`amount_usd` must be a decimal amount in USD such as "10.00", not zero.', "amount_usd"))
      }
      yield* Effect.mapError(accounts.get(id), ApiError.fromAccounts)
      const grant = {
        accountId: id,
        kind: amount > 0n ? ("topup" as const) : ("adjust" as const),
        allowance: Money.zero,
        purchased: amount
      }
      const granted = Effect.mapError(ledger.grant({ ...grant, reference: body.reference }), (error) =>
        error.reason._tag === "InsufficientCredits" ? tooMuchTaken : ApiError.fromLedger(error)
      )
      const details = { amount_usd: Money.toUsd(amount), reference: body.reference }
      return json(yield* recorded(granted, by, "CREDITS_ADJUSTED", id, details))
    })

    const createUser = Effect.fnUntraced(function* (by: Actor, request: HttpServerRequest.HttpServerRequest) {
      const body = yield* readUser(request)
      const wanted = {
        email: body.email,
        plan: body.plan ?? null,
        partnerCode: body.partner_code ?? undefined,
        referralCode: body.referral_code ?? undefined,
        // The operator vouches for whom it makes an account.
        emailVerified: true
      }
      const made = yield* Effect.mapError(accounts.create(wanted), ApiError.fromAccounts)
      yield* audit.record({ ...by, action: "USER_CREATED", account: made.user.id, details: { plan: made.user.plan } })
      return json({ user: made.user, api_key: Redacted.value(made.apiKey), referral_code: made.referralCode }, 201)
    })

    const setPlan = Effect.fnUntraced(function* (by: Actor, id: string, request: HttpServerRequest.HttpServerRequest) {
      const { plan } = yield* readPlan(request)
      const before = yield* Effect.mapError(accounts.get(id), ApiError.fromAccounts)
      const changed = Effect.mapError(accounts.setPlan(id, plan), ApiError.fromAccounts)
      return json(yield* recorded(changed, by, "PLAN_CHANGED", id, { old_plan: before.plan, new_plan: plan }))
    })

    const setLimits = Effect.fnUntraced(function* (by: Actor, id: string, request: HttpServerRequest.HttpServerRequest) {
      const limits = yield* readLimits(request)
      const changed = Effect.mapError(accounts.setLimits(id, limits), ApiError.fromAccounts)
      return json(yield* recorded(changed, by, "LIMITS_CHANGED", id, { limits }))
    })

    const listBreakers = Effect.fnUntraced(function* (query: PageRequest) {
      const seen = new Map((yield* breakers.states).map((state) => [state.provider, state]))
      const closed = { state: "closed", failures: 0, opened_at: null, retry_at: null }
      const rows = registry.all.map(({ definition }) => seen.get(definition.slug) ?? { provider: definition.slug, ...closed })
      return yield* listWhole(rows, query, ({ provider }) => provider)
    })

    const resetBreaker = Effect.fnUntraced(function* (by: Actor, slug: string) {
      const provider = registry.get(slug)
      if (provider === undefined) return yield* Effect.fail(ApiError.notFound(`There is no provider \`${slug}\`.`))
      const { slug: name } = provider.definition
      yield* recorded(breakers.reset(name), by, "BREAKER_RESET", null, { provider: name })
      return json({ provider: name, state: "closed" })
    })

    return handlers
      .handleRaw("createUser", ({ request }) => asOperator(request, "users:create", (by) => createUser(by, request)))
      .handleRaw("users", ({ query, request }) =>
        asOperator(request, "users:list", () =>
          Effect.flatMap(page(query, cursors.byId), (wanted) =>
            Effect.map(Effect.mapError(accounts.list(wanted), ApiError.fromAccounts), (found) => list(found.data, found.next))
          )
        )
      )
      .handleRaw("user", ({ params, request }) =>
        asOperator(request, "users:list", () =>
          Effect.map(Effect.mapError(accounts.find(params.id), ApiError.fromAccounts), (user) => json(user))
        )
      )
      .handleRaw("userCredits", ({ params, request }) =>
        asOperator(request, "users:list", () =>
          Effect.map(Effect.mapError(ledger.balance(params.id), ApiError.fromLedger), (balance) => json(encodeBalance(balance)))
        )
      )
      .handleRaw("userEntries", ({ params, query, request }) =>
        asOperator(request, "users:list", () =>
          Effect.flatMap(page(query, cursors.counted), (wanted) =>
            Effect.map(Effect.mapError(ledger.entries(params.id, wanted), ApiError.fromLedger), (found) => list(found.data, found.next))
          )
        )
      )
      .handleRaw("setPlan", ({ params, request }) => asOperator(request, "plans:update", (by) => setPlan(by, params.id, request)))
      .handleRaw("setLimits", ({ params, request }) => asOperator(request, "plans:update", (by) => setLimits(by, params.id, request)))
      .handleRaw("addCredits", ({ params, request }) => asOperator(request, "credits:adjust", (by) => addCredits(by, params.id, request)))
      .handleRaw("breakers", ({ query, request }) => asOperator(request, "monitoring:read", () => listBreakers(query)))
      .handleRaw("resetBreaker", ({ params, request }) =>
        asOperator(request, "providers:manage", (by) => resetBreaker(by, params.provider))
      )
      .handleRaw("checkLedger", ({ request }) =>
        asOperator(request, "monitoring:read", () =>
          Effect.map(Effect.mapError(ledger.check, ApiError.fromLedger), (result) => json(result))
        )
      )
  })
)
