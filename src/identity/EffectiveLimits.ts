/**
 * The limits that hold for a key: the plan's, with what was negotiated for the account, or the lower ones that the key sets for itself.
 *
 * @since 0.1.0
 */
import { Option } from "effect"
import * as Money from "../../schemas/Money.ts"
import { type Limit, type Limits, type NegotiatedLimits, type PlanId, plans } from "../../schemas/Plan.ts"

const dailyUsd = (value: string | number): Money.Money | "none" | null =>
  value === "none" ? "none" : Option.getOrNull(Money.fromUsd(String(value)))

/** What is wrong with limits that somebody wants to set; null when nothing is. @category validation @since 0.1.0 */
export const validate = (limits: NegotiatedLimits): string | null => {
  for (const [name, value] of Object.entries(limits)) {
    if (value === null || value === undefined || value === "none") continue
    if (name === "daily_usd") {
      const amount = dailyUsd(value)
      if (amount === null || amount === "none" || amount < 0n) return '`daily_usd` must be an amount in USD, "none" or null.'
    } else if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
      return `\`${name}\` must be a whole number, "none" or null.`
    }
  }
  return null
}

const over = (base: Limits, set: NegotiatedLimits): Limits => {
  const pick = (value: Limit | null | undefined, fallback: Limit): Limit => value ?? fallback
  const daily = set.daily_usd === undefined || set.daily_usd === null ? null : dailyUsd(set.daily_usd)
  return {
    rpm: pick(set.rpm, base.rpm),
    tokensPerMinute: pick(set.tokens_per_minute, base.tokensPerMinute),
    tokensPerDay: pick(set.tokens_per_day, base.tokensPerDay),
    tokensPerMonth: pick(set.tokens_per_month, base.tokensPerMonth),
    requestsPerDay: pick(set.requests_per_day, base.requestsPerDay),
    concurrency: pick(set.concurrency, base.concurrency),
    burst: pick(set.burst, base.burst),
    dailyUsd: daily ?? base.dailyUsd
  }
}

const lower = <A extends Money.Money | number>(a: A | "none", b: A | "none"): A | "none" =>
  a === "none" || (b !== "none" && b < a) ? b : a

/** A key is its owner's, and gives nobody more than the owner has. */
const within = (most: Limits, set: NegotiatedLimits): Limits => {
  const wanted = over(most, set)
  return {
    rpm: lower(most.rpm, wanted.rpm),
    tokensPerMinute: lower(most.tokensPerMinute, wanted.tokensPerMinute),
    tokensPerDay: lower(most.tokensPerDay, wanted.tokensPerDay),
    tokensPerMonth: lower(most.tokensPerMonth, wanted.tokensPerMonth),
    requestsPerDay: lower(most.requestsPerDay, wanted.requestsPerDay),
    concurrency: lower(most.concurrency, wanted.concurrency),
    burst: lower(most.burst, wanted.burst),
    dailyUsd: lower(most.dailyUsd, wanted.dailyUsd)
  }
}

/** @category constructors @since 0.1.0 */
export const effectiveLimits = (plan: PlanId, account: NegotiatedLimits, key: NegotiatedLimits): Limits =>
  within(over(plans[plan].limits, account), key)
