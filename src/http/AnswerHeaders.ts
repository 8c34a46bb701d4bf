/**
 * What an answer to an inference request says of itself.
 *
 * @since 0.1.0
 */
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
export const answerHeaders = ({ candidate, flags, routing }: GatewayAnswer | GatewayStream): Record<string, string> => ({
  "x-sluice-provider": candidate.provider,
  "x-sluice-model": candidate.model.id,
  "x-sluice-cache": "bypass",
  ...(flags.length === 0 ? {} : { "x-sluice-guardrail": flags.join(", ") }),
  ...(routing === null ? {} : routed(routing))
})
