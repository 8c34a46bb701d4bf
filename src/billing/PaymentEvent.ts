/**
 * Stripe's events as the gateway understands them.
 *
 * The user is named by a session's `client_reference_id`, or by `user_id` in the metadata of a session, a payment or a
 * subscription; a subscription's plan by `plan` in its metadata. Only USD is taken.
 *
 * @since 0.1.0
 */
import { Option, Schema } from "effect"
import * as Money from "../../schemas/Money.ts"
import { PlanId } from "../../schemas/Plan.ts"

/** What an event asks for. `payment` names one purchase, whichever of its events tells of it. @category models @since 0.1.0 */
export type PaymentAction =
  | { readonly _tag: "Purchase"; readonly user: string; readonly payment: string; readonly amount: Money.Money }
  /** `refunded` is the sum of all refunds of the payment until then. */
  | { readonly _tag: "Refund"; readonly payment: string; readonly charge: string; readonly refunded: Money.Money }
  | { readonly _tag: "Plan"; readonly user: string; readonly plan: PlanId }
  /** Nothing to do, and why. */
  | { readonly _tag: "Ignore"; readonly why: string }
  /** Something that should not be: kept, tried again, and in the end left for the operator. */
  | { readonly _tag: "Refuse"; readonly why: string }

const Id = Schema.NullOr(Schema.Union([Schema.String, Schema.Struct({ id: Schema.String })]))
const Metadata = Schema.optionalKey(Schema.NullOr(Schema.Record(Schema.String, Schema.String)))
const Cents = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const Session = Schema.Struct({
  id: Schema.String,
  mode: Schema.optionalKey(Schema.NullOr(Schema.String)),
  payment_status: Schema.String,
  payment_intent: Schema.optionalKey(Id),
  client_reference_id: Schema.optionalKey(Schema.NullOr(Schema.String)),
  amount_total: Schema.optionalKey(Schema.NullOr(Cents)),
  currency: Schema.optionalKey(Schema.NullOr(Schema.String)),
  metadata: Metadata
})
const Intent = Schema.Struct({
  id: Schema.String,
  amount: Cents,
  amount_received: Schema.optionalKey(Cents),
  currency: Schema.String,
  metadata: Metadata
})
const Charge = Schema.Struct({ id: Schema.String, payment_intent: Schema.optionalKey(Id), amount_refunded: Cents, currency: Schema.String })
const Subscription = Schema.Struct({ id: Schema.String, status: Schema.String, metadata: Metadata })

/** The part of an event that every type has; `created` is Unix seconds, and taken for the oldest where it is missing. @category schemas @since 0.1.0 */
export const PaymentEvent = Schema.Struct({
  id: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(255)),
  type: Schema.String.check(Schema.isMaxLength(255)),
  created: Schema.optionalKey(Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 253_402_300_799 })))),
  data: Schema.Struct({ object: Schema.Record(Schema.String, Schema.Unknown) })
})
export type PaymentEvent = typeof PaymentEvent.Type

const idOf = (value: typeof Id.Type | undefined): string | null => (value == null ? null : typeof value === "string" ? value : value.id)

const PICODOLLARS_A_CENT = 10_000_000_000n
const cents = (amount: number): Money.Money => Money.make(BigInt(amount) * PICODOLLARS_A_CENT)

const inUsd = (currency: string | null | undefined): boolean => currency?.toLowerCase() === "usd"

const ofSession = (session: typeof Session.Type): PaymentAction => {
  if (session.mode != null && session.mode !== "payment") return { _tag: "Ignore", why: `a session of mode ${session.mode}` }
  if (session.payment_status !== "paid") return { _tag: "Ignore", why: `a session that is ${session.payment_status}` }
  const user = session.client_reference_id ?? session.metadata?.["user_id"]
  if (user === undefined) return { _tag: "Refuse", why: "the session names no user (client_reference_id, or metadata.user_id)" }
  if (!inUsd(session.currency)) return { _tag: "Refuse", why: `the session was paid in ${session.currency}, not in usd` }
  return { _tag: "Purchase", user, payment: idOf(session.payment_intent) ?? session.id, amount: cents(session.amount_total ?? 0) }
}

const ofIntent = (intent: typeof Intent.Type): PaymentAction => {
  const user = intent.metadata?.["user_id"]
  // A session's own payment names nobody: the session's event does.
  if (user === undefined) return { _tag: "Ignore", why: "the payment names no user" }
  if (!inUsd(intent.currency)) return { _tag: "Refuse", why: `the payment was made in ${intent.currency}, not in usd` }
  return { _tag: "Purchase", user, payment: intent.id, amount: cents(intent.amount_received ?? intent.amount) }
}

const ofCharge = (charge: typeof Charge.Type): PaymentAction => {
  const payment = idOf(charge.payment_intent)
  if (payment === null) return { _tag: "Ignore", why: "a charge without a payment" }
  if (!inUsd(charge.currency)) return { _tag: "Refuse", why: `the charge was made in ${charge.currency}, not in usd` }
  return { _tag: "Refund", payment, charge: charge.id, refunded: cents(charge.amount_refunded) }
}

const ofSubscription = (subscription: typeof Subscription.Type, ended: boolean): PaymentAction => {
  const user = subscription.metadata?.["user_id"]
  const plan = Option.getOrUndefined(Schema.decodeUnknownOption(PlanId)(subscription.metadata?.["plan"]))
  if (user === undefined || plan === undefined) return { _tag: "Ignore", why: "the subscription names no user or no plan" }
  if (ended || ["canceled", "unpaid", "incomplete_expired"].includes(subscription.status)) return { _tag: "Plan", user, plan: "dev" }
  if (subscription.status !== "active" && subscription.status !== "trialing")
    return { _tag: "Ignore", why: `a subscription that is ${subscription.status}` }
  return { _tag: "Plan", user, plan }
}

const decoded = <S extends Schema.Decoder<unknown>>(schema: S, object: unknown, to: (value: S["Type"]) => PaymentAction): PaymentAction =>
  Option.match(Schema.decodeUnknownOption(schema)(object), {
    onNone: () => ({ _tag: "Refuse", why: "the event is not of its type's shape" }),
    onSome: to
  })

/** @category conversions @since 0.1.0 */
export const actionOf = (event: PaymentEvent): PaymentAction => {
  const { object } = event.data
  switch (event.type) {
    case "checkout.session.completed":
    case "checkout.session.async_payment_succeeded":
      return decoded(Session, object, ofSession)
    case "payment_intent.succeeded":
      return decoded(Intent, object, ofIntent)
    case "charge.refunded":
      return decoded(Charge, object, ofCharge)
    case "customer.subscription.created":
    case "customer.subscription.updated":
      return decoded(Subscription, object, (subscription) => ofSubscription(subscription, false))
    case "customer.subscription.deleted":
      return decoded(Subscription, object, (subscription) => ofSubscription(subscription, true))
    default:
      return { _tag: "Ignore", why: "a type that means nothing here" }
  }
}

/** What later events of the same thing replace; null where each event stands alone. @category accessors @since 0.1.0 */
export const subjectOf = (event: PaymentEvent): string | null =>
  event.type.startsWith("customer.subscription.") && typeof event.data.object["id"] === "string" ? event.data.object["id"] : null
