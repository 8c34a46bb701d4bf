/**
 * What a request can cost, whoever of its route answers.
 *
 * @since 0.1.0
 */
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import * as Pricing from "./Pricing.ts"

/** Tokens that every answer may have where the caller gave no bound: less money than this pays for is a 402. */
const MINIMUM_OUTPUT = 256

/** Assumed where a model's own limit is not known. */
const UNKNOWN_MAX_OUTPUT = 4_096

/** @category accessors @since 0.1.0 */
export const maxOutputOf = (candidate: Candidate): number => candidate.model.maxOutput ?? UNKNOWN_MAX_OUTPUT

/** The most and the least that has to be held: the dearest of the route. @category constructors @since 0.1.0 */
export const priceRoute = (request: InferenceRequest, candidates: ReadonlyArray<Candidate>) => {
  const prompt = { promptTokens: Pricing.promptTokens(request), choices: request.choices }
  let amount = Money.zero
  let minimum = Money.zero
  for (const candidate of candidates) {
    if (request.operation !== "chat") {
      amount = minimum = Money.max(amount, Pricing.estimateWhole(candidate.pricing, request))
      continue
    }
    const maxOutput = request.maxTokens ?? maxOutputOf(candidate)
    const least = request.maxTokens ?? Math.min(MINIMUM_OUTPUT, maxOutput)
    amount = Money.max(amount, Pricing.estimate(candidate.pricing, { ...prompt, maxOutput }))
    minimum = Money.max(minimum, Pricing.estimate(candidate.pricing, { ...prompt, maxOutput: least }))
  }
  return { amount, minimum, prompt }
}
