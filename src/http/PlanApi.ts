/**
 * The route of the plans, described.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { PlanId } from "../../schemas/Plan.ts"
import { failures, listOf } from "./ApiShapes.ts"

const Limit = Schema.Union([Schema.Finite, Schema.Literal("none")])

/** What a plan allows; amounts are decimal strings in USD. @category schemas @since 0.1.0 */
export const PlanRow = Schema.Struct({
  id: PlanId,
  monthly_allowance_usd: Schema.String,
  limits: Schema.Struct({
    rpm: Limit,
    tokens_per_minute: Limit,
    tokens_per_day: Limit,
    tokens_per_month: Limit,
    requests_per_day: Limit,
    concurrency: Limit,
    burst: Limit,
    daily_usd: Schema.String
  }),
  /** What is promised of each hour; null: nothing. */
  sla: Schema.NullOr(Schema.Struct({ uptime: Schema.Finite, p99_latency_ms: Schema.Finite }))
})

/** @category models @since 0.1.0 */
export const PlanApi = HttpApiGroup.make("plans").add(
  HttpApiEndpoint.get("plans", "/v1/plans", { success: listOf(PlanRow), error: failures })
)
