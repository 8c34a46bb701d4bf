/**
 * What a key's guardrails make of a prompt, before anybody else sees it.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { GuardrailBlocked, type Guardrails } from "../../schemas/Guardrail.ts"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Moderation } from "./Moderation.ts"
import { isInjection, phrases, pii } from "./Patterns.ts"
import { rewriteRequest, userText } from "./PromptText.ts"
import { replace, scan } from "./TextScanner.ts"

/** A request that may go on, and what was found in it: `pii.email`, `injection`, `moderation.hate`, … @category models @since 0.1.0 */
export interface Guarded {
  readonly request: InferenceRequest
  readonly flags: ReadonlyArray<string>
}

/** What stands where something was taken out. In the JSON of arguments a number stays one. @category formatting @since 0.1.0 */
export const mask = (kind: string, found: string, isJson: boolean): string =>
  isJson && kind !== "email" ? found.replace(/[0-9]/g, "9") : `[REDACTED_${kind.toUpperCase()}]`

/** Personal data in all texts of a request, its own instructions included. */
const guardPii = (rule: NonNullable<Guardrails["pii"]>, request: InferenceRequest): Effect.Effect<Guarded, GuardrailBlocked> => {
  const patterns = pii(rule.kinds)
  const found = new Set<string>()
  const rewritten = rewriteRequest(request, (text, isJson) => {
    const findings = scan(patterns, text)
    for (const { kind } of findings) found.add(kind)
    return rule.action === "redact" && findings.length > 0 ? replace(text, findings, (kind, part) => mask(kind, part, isJson)) : text
  })
  const kinds = [...found].sort()
  if (rule.action === "block" && kinds.length > 0) return Effect.fail(new GuardrailBlocked({ rule: "pii", finding: kinds.join(", ") }))
  return Effect.succeed({ request: rewritten, flags: kinds.map((kind) => `pii.${kind}`) })
}

const topicFault = (topics: NonNullable<Guardrails["topics"]>, text: string): string | null => {
  if (scan(phrases(topics.deny), text).length > 0) return "a topic that this key may not ask about"
  const allowed = phrases(topics.allow)
  return allowed.length > 0 && scan(allowed, text).length === 0 ? "none of the topics that this key is for" : null
}

const judged = Effect.fnUntraced(function* (moderation: Moderation["Service"], onFailure: "open" | "closed", text: string) {
  const verdict = yield* Effect.result(moderation.judge(text))
  if (verdict._tag === "Failure") {
    if (onFailure === "closed") return yield* new GuardrailBlocked({ rule: "moderation", finding: "the classifier gave no verdict" })
    return ["moderation.failed"]
  }
  const { categories, isHarmful } = verdict.success
  if (isHarmful) return yield* new GuardrailBlocked({ rule: "moderation", finding: categories.join(", ") || "harmful" })
  return []
})

/** Runs a key's guardrails over a request; what they take out is gone for whoever comes after. @category stages @since 0.1.0 */
export const guard = Effect.fnUntraced(function* (
  guardrails: Guardrails,
  request: InferenceRequest,
  moderation: Moderation["Service"]
): Effect.fn.Return<Guarded, GuardrailBlocked> {
  const flags: Array<string> = []
  const isJudged = guardrails.injection !== undefined || guardrails.topics !== undefined || guardrails.moderation !== undefined
  const text = isJudged ? userText(request) : ""
  if (guardrails.injection !== undefined && isInjection(text)) {
    if (guardrails.injection.action === "block")
      return yield* new GuardrailBlocked({ rule: "injection", finding: "instructions to the model" })
    flags.push("injection")
  }
  const fault = guardrails.topics === undefined ? null : topicFault(guardrails.topics, text)
  if (fault !== null) return yield* new GuardrailBlocked({ rule: "topic", finding: fault })
  const guarded = guardrails.pii === undefined ? { request, flags: [] } : yield* guardPii(guardrails.pii, request)
  flags.push(...guarded.flags)
  // The classifier is outside too: it sees what the provider will see.
  if (guardrails.moderation !== undefined) {
    const seen = guarded.request === request ? text : userText(guarded.request)
    flags.push(...(yield* judged(moderation, guardrails.moderation.on_failure, seen)))
  }
  return { request: guarded.request, flags }
})
