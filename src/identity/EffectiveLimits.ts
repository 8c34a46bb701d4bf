/**
 * The limits that hold for a key: the plan's, with what was negotiated for the account, or the lower ones that the key sets for itself.
 *
 * @since 0.1.0
 */
import { Option } from "effect"
import * as Money from "../../schemas/Money.ts"
import { type Limits, type NegotiatedLimits, type PlanId, plans } from "../../schemas/Plan.ts"

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

/** What holds of a limit and of what was set for it. */
type Choose = <A extends Money.Money | number>(base: A | "none", set: A | "none" | null | undefined) => A | "none"

/** What is set is negotiated, and holds instead. */
const instead: Choose = (base, set) => set ?? base

/** A key is its owner's, and gives nobody more than the owner has. */
const atMost: Choose = (base, set) => (set === undefined || set === null || set === "none" || (base !== "none" && base < set) ? base : set)

const over = (base: Limits, set: NegotiatedLimits, choose: Choose): Limits => ({
  rpm: choose(base.rpm, set.rpm),
  tokensPerMinute: choose(base.tokensPerMinute, set.tokens_per_minute),
  tokensPerDay: choose(base.tokensPerDay, set.tokens_per_day),
  tokensPerMonth: choose(base.tokensPerMonth, set.tokens_per_month),
  requestsPerDay: choose(base.requestsPerDay, set.requests_per_day),
  concurrency: choose(base.concurrency, set.concurrency),
  burst: choose(base.burst, set.burst),
  dailyUsd: choose(base.dailyUsd, set.daily_usd === undefined || set.daily_usd === null ? null : dailyUsd(set.daily_usd))
})

/** @category constructors @since 0.1.0 */
export const effectiveLimits = (plan: PlanId, account: NegotiatedLimits, key: NegotiatedLimits): Limits =>
  over(over(plans[plan].limits, account, instead), key, atMost)
