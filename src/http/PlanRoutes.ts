/**
 * The plans and their figures; no key needed.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import * as Money from "../../schemas/Money.ts"
import { type Plan, PlanId, plans } from "../../schemas/Plan.ts"
import { Api } from "./Api.ts"
import { list } from "./Handled.ts"
import type { PlanRow } from "./PlanApi.ts"

const encode = ({ id, limits, monthlyAllowance, sla }: Plan): typeof PlanRow.Type => ({
  id,
  monthly_allowance_usd: Money.toUsd(monthlyAllowance),
  limits: {
    rpm: limits.rpm,
    tokens_per_minute: limits.tokensPerMinute,
    tokens_per_day: limits.tokensPerDay,
    tokens_per_month: limits.tokensPerMonth,
    requests_per_day: limits.requestsPerDay,
    concurrency: limits.concurrency,
    burst: limits.burst,
    daily_usd: limits.dailyUsd === "none" ? "none" : Money.toUsd(limits.dailyUsd)
  },
  sla: sla === null ? null : { uptime: sla.uptime, p99_latency_ms: sla.p99LatencyMs }
})

/** @category layers @since 0.1.0 */
export const layer = HttpApiBuilder.group(Api, "plans", (handlers) =>
  handlers.handleRaw("plans", () => Effect.sync(() => list(PlanId.literals.map((id) => encode(plans[id])))))
)
