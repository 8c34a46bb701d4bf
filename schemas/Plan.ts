/**
 * The four plans and what each allows.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import * as Money from "./Money.ts"

/** Exactly four plan tiers. @category schemas @since 0.1.0 */
export const PlanId = Schema.Literals(["trial", "dev", "team", "enterprise"])
export type PlanId = typeof PlanId.Type

/** A count that limits something; `"none"` is no limit. @category models @since 0.1.0 */
export type Limit = number | "none"

/** What a key or an account may do in a window of time. @category models @since 0.1.0 */
export interface Limits {
  /** Requests in one UTC minute. */
  readonly rpm: Limit
  readonly tokensPerMinute: Limit
  readonly tokensPerDay: Limit
  readonly tokensPerMonth: Limit
  readonly requestsPerDay: Limit
  /** Requests in flight at one moment; a stream counts until it ends. */
  readonly concurrency: Limit
  readonly burst: Limit
  /** Spending in one UTC day. */
  readonly dailyUsd: Money.Money | "none"
}

/** What a plan promises of each hour. @category models @since 0.1.0 */
export interface Sla {
  /** The part of requests that do not fail by our or a provider's fault, from 0 to 1. */
  readonly uptime: number
  /** Of the time to the first chunk of a stream, to the whole answer otherwise. */
  readonly p99LatencyMs: number
}

/** @category models @since 0.1.0 */
export interface Plan {
  readonly id: PlanId
  readonly limits: Limits
  /** Granted at each monthly reset; unspent allowance is lost then. */
  readonly monthlyAllowance: Money.Money
  readonly sla: Sla | null
}

/** The figures of every plan, the same in every environment. @category models @since 0.1.0 */
export const plans: Readonly<Record<PlanId, Plan>> = {
  trial: {
    id: "trial",
    limits: {
      rpm: 60,
      tokensPerMinute: 10_000,
      tokensPerDay: 500_000,
      tokensPerMonth: 1_000_000,
      requestsPerDay: 10_000,
      concurrency: 5,
      burst: 10,
      dailyUsd: Money.usd("1")
    },
    monthlyAllowance: Money.zero,
    sla: null
  },
  dev: {
    id: "dev",
    limits: {
      rpm: 250,
      tokensPerMinute: 50_000,
      tokensPerDay: 1_000_000,
      tokensPerMonth: 15_000_000,
      requestsPerDay: 25_000,
      concurrency: 20,
      burst: 50,
      dailyUsd: Money.usd("100")
    },
    monthlyAllowance: Money.zero,
    sla: { uptime: 0.99, p99LatencyMs: 60_000 }
  },
  team: {
    id: "team",
    limits: {
      rpm: 300,
      tokensPerMinute: 200_000,
      tokensPerDay: 5_000_000,
      tokensPerMonth: 100_000_000,
      requestsPerDay: 50_000,
      concurrency: 50,
      burst: 100,
      dailyUsd: Money.usd("1000")
    },
    monthlyAllowance: Money.usd("150"),
    sla: { uptime: 0.995, p99LatencyMs: 45_000 }
  },
  enterprise: {
    id: "enterprise",
    limits: {
      rpm: 1_000,
      tokensPerMinute: 1_000_000,
      tokensPerDay: 20_000_000,
      tokensPerMonth: 500_000_000,
      requestsPerDay: 200_000,
      concurrency: 200,
      burst: 300,
      dailyUsd: "none"
    },
    monthlyAllowance: Money.zero,
    sla: { uptime: 0.999, p99LatencyMs: 30_000 }
  }
}

const Negotiated = Schema.optionalKey(Schema.NullOr(Schema.Union([Schema.Finite, Schema.Literal("none")])))

/**
 * Limits set on top of a plan's: a number, `"none"` for no limit, null for the plan's. `daily_usd` is in USD, a number or a
 * decimal string.
 *
 * @category schemas
 * @since 0.1.0
 */
export const NegotiatedLimits = Schema.Struct({
  rpm: Negotiated,
  tokens_per_minute: Negotiated,
  tokens_per_day: Negotiated,
  tokens_per_month: Negotiated,
  requests_per_day: Negotiated,
  concurrency: Negotiated,
  burst: Negotiated,
  daily_usd: Schema.optionalKey(Schema.NullOr(Schema.Union([Schema.Finite, Schema.String])))
})
export type NegotiatedLimits = typeof NegotiatedLimits.Type
