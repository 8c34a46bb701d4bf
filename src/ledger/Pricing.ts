/**
 * What usage costs: exact, never rounded.
 *
 * @since 0.1.0
 */

import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Pricing } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { estimateTokens, type Usage } from "../../schemas/Usage.ts"

/**
 * The price of some usage. Classes without a price of their own take their family's: cached reads and cache writes the
 * prompt's, reasoning the completion's.
 *
 * @category pricing
 * @since 0.1.0
 */
export const cost = (pricing: Pricing, usage: Usage): Money.Money =>
  Money.make(
    pricing.prompt * BigInt(usage.input) +
      (pricing.cachedRead ?? pricing.prompt) * BigInt(usage.cachedRead) +
      (pricing.cacheWrite ?? pricing.prompt) * BigInt(usage.cacheWrite) +
      pricing.completion * BigInt(usage.output) +
      (pricing.reasoning ?? pricing.completion) * BigInt(usage.reasoning) +
      (pricing.image ?? 0n) * BigInt(usage.images) +
      (pricing.audioSecond ?? 0n) * BigInt(Math.ceil(usage.audioSeconds)) +
      (pricing.request ?? 0n)
  )

/** The dearest a prompt token can be. @category pricing @since 0.1.0 */
export const dearestInput = (pricing: Pricing): Money.Money =>
  Money.max(pricing.prompt, Money.max(pricing.cacheWrite ?? pricing.prompt, pricing.cachedRead ?? pricing.prompt))

/** The dearest an output token can be. @category pricing @since 0.1.0 */
export const dearestOutput = (pricing: Pricing): Money.Money => Money.max(pricing.completion, pricing.reasoning ?? pricing.completion)

/** Tokens that an image in a prompt is taken for before a provider has counted: the most that the usual sizes cost. */
const IMAGE_TOKENS = 1_600

/** What a prompt is taken for: characters / 4, and a fixed count for each image. @category pricing @since 0.1.0 */
export const promptTokens = (request: InferenceRequest): number =>
  estimateTokens(request.promptCharacters) + request.promptImages * IMAGE_TOKENS

/** What a price is asked for. `maxOutput` is tokens of one choice. @category models @since 0.1.0 */
export interface Estimate {
  readonly promptTokens: number
  readonly choices: number
}

/** The most a request can cost: every token of its class at the dearest price. @category pricing @since 0.1.0 */
export const estimate = (pricing: Pricing, wanted: Estimate & { readonly maxOutput: number }): Money.Money =>
  Money.make(
    dearestInput(pricing) * BigInt(wanted.promptTokens) +
      dearestOutput(pricing) * BigInt(wanted.maxOutput) * BigInt(wanted.choices) +
      (pricing.request ?? 0n)
  )

/** How many output tokens of each choice some money pays for, after the prompt. @category pricing @since 0.1.0 */
export const affordableOutput = (pricing: Pricing, held: Money.Money, wanted: Estimate): number => {
  const rest = held - estimate(pricing, { ...wanted, maxOutput: 0 })
  const perToken = dearestOutput(pricing) * BigInt(wanted.choices)
  if (rest <= 0n) return 0
  return perToken === 0n ? Number.MAX_SAFE_INTEGER : Number(rest / perToken)
}

/** A price as it is kept on a charge: decimal strings in USD, so that the charge can be recomputed. @category encoding @since 0.1.0 */
export const encodePricing = (pricing: Pricing): Record<string, string> =>
  Object.fromEntries(Object.entries(pricing).flatMap(([name, price]) => (price === undefined ? [] : [[name, Money.toUsd(price)]])))
