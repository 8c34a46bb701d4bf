/**
 * What an answer to an inference request says of itself, and what a request asks of it.
 *
 * @since 0.1.0
 */
import type { CacheMode } from "../../schemas/Account.ts"
import type { GatewayAnswer, GatewayStream } from "../Gateway.ts"
import type { Routing } from "../routing/RouterDecision.ts"

const routed = (routing: Routing): Record<string, string> => ({
  "x-sluice-router": `${routing.router}:${routing.mode}`,
  "x-sluice-router-reason": routing.reason,
  "x-sluice-router-alternatives": routing.alternatives.join(","),
  ...(routing.task_category === undefined ? {} : { "x-sluice-router-task": routing.task_category }),
  ...(routing.tier === undefined ? {} : { "x-sluice-router-tier": String(routing.tier) })
})

/** Who answered, and what chose the model where a router did. @category formatting @since 0.1.0 */
export const answerHeaders = ({ cache, candidate, flags, routing }: GatewayAnswer | GatewayStream): Record<string, string> => {
  const headers: Record<string, string> = {
    "x-sluice-provider": candidate.provider,
    "x-sluice-model": candidate.model.id,
    "x-sluice-cache": cache
  }
  if (flags.length > 0) headers["x-sluice-guardrail"] = flags.join(", ")
  return routing === null ? headers : Object.assign(headers, routed(routing))
}

/** What a request says of the response cache: `x-sluice-cache`, and `cache-control: no-store`, which wins. @category accessors @since 0.1.0 */
export const cacheWish = (headers: Readonly<Record<string, string | undefined>>): CacheMode | null => {
  if (headers["cache-control"]?.toLowerCase().includes("no-store") === true) return "off"
  const wish = headers["x-sluice-cache"]?.trim().toLowerCase()
  return wish === "on" || wish === "off" || wish === "external" ? wish : null
}
