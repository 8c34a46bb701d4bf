/**
 * How much a Claude may think, out of what the caller asked for and what bounds the answer.
 *
 * @since 0.1.0
 */
import type { Conversation, Thinking } from "../../../schemas/Conversation.ts"
import type * as Json from "../../../schemas/Json.ts"
import type { ProviderCall } from "../ProviderAdapter.ts"
import { abilitiesOf } from "./ClaudeModels.ts"

/** What is sent of it. @category models @since 0.1.0 */
export interface ThinkingPlan {
  readonly maxTokens: number
  readonly thinking: Json.JsonObject | null
  readonly effort: string | null
}

/** Anthropic's least budget, and the most that an effort alone asks for. */
const LEAST = 1_024
const MOST = 32_000

/** Assumed where a model's own limit is not known. */
const UNKNOWN_MAX_OUTPUT = 4_096

/** The share of the output that an effort stands for. */
const shares = { none: 0, minimal: 0.1, low: 0.2, medium: 0.5, high: 0.8, xhigh: 0.95 } as const

const isOff = (wanted: Thinking | null): boolean => wanted === null || wanted.effort === "none" || wanted.budgetTokens === 0

/** Thinking goes on only from signed thoughts while tools are at work. */
const lostItsThoughts = (conversation: Conversation): boolean => {
  const last = conversation.turns.findLast((turn) => turn.role === "assistant")
  const atWork = conversation.turns.at(-1)?.parts.some((part) => part._tag === "ToolResult") === true
  const signed = last?.parts.some((part) => part._tag === "Reasoning" && (part.signature !== null || part.redacted !== null)) === true
  return atWork && !signed && last?.parts.some((part) => part._tag === "ToolCall") === true
}

/** The bound on the output: the caller's, else the hold's, else the model's own. @category encoding @since 0.1.0 */
export const boundOf = (call: ProviderCall): number =>
  call.request.maxTokens ?? call.maxTokens ?? call.model.maxOutput ?? UNKNOWN_MAX_OUTPUT

const budgetOf = (wanted: Thinking, bound: number): number =>
  Math.max(LEAST, wanted.budgetTokens ?? Math.min(MOST, Math.floor(shares[wanted.effort ?? "medium"] * bound)))

const withBudget = (call: ProviderCall, wanted: Thinking, maxTokens: number): ThinkingPlan => {
  const budget = budgetOf(wanted, maxTokens)
  if (budget < maxTokens) return { maxTokens, thinking: { type: "enabled", budget_tokens: budget }, effort: null }
  // A budget comes on top of what the caller wants to read; a hold that bounds the output bounds this too.
  const most = call.maxTokens ?? call.model.maxOutput ?? maxTokens + budget
  const raised = Math.max(maxTokens, Math.min(most, maxTokens + budget))
  const fits = Math.min(budget, raised - 1)
  return fits < LEAST
    ? { maxTokens, thinking: null, effort: null }
    : { maxTokens: raised, thinking: { type: "enabled", budget_tokens: fits }, effort: null }
}

/** Anthropic's words for an effort. */
const effortOf = (wanted: Thinking, xhigh: boolean): string | null => {
  if (wanted.effort === null || wanted.effort === "none") return null
  if (wanted.effort === "minimal") return "low"
  return wanted.effort === "xhigh" && !xhigh ? "high" : wanted.effort
}

/** `forced`: a tool must be used, which leaves no thought. @category encoding @since 0.1.0 */
export const planThinking = (call: ProviderCall, conversation: Conversation, forced: boolean): ThinkingPlan => {
  const wanted = conversation.thinking
  const abilities = abilitiesOf(call.nativeId)
  const maxTokens = boundOf(call)
  const none: ThinkingPlan = { maxTokens, thinking: null, effort: null }
  if (abilities.thinking === "none" || wanted === null) return none
  if (isOff(wanted) || forced) {
    return abilities.thinking === "adaptive" && abilities.canRest ? { ...none, thinking: { type: "disabled" } } : none
  }
  if (abilities.thinking === "budget") return lostItsThoughts(conversation) ? none : withBudget(call, wanted, maxTokens)
  // The latest generations leave their thoughts out unless they are asked to show them.
  const display = abilities.sampling ? {} : { display: "summarized" }
  return { maxTokens, thinking: { type: "adaptive", ...display }, effort: effortOf(wanted, abilities.xhigh) }
}
