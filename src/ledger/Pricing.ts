/**
 * What usage costs: exact, never rounded.
 *
 * @since 0.1.0
 */

import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Pricing } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import { estimateTokens, none, type Usage } from "../../schemas/Usage.ts"

/** The flat price of a prompt of that many tokens, every class counted: a tier holds for the whole request. @category pricing @since 0.1.0 */
export const at = (pricing: Pricing, promptTokens: number): Pricing => {
  if (pricing.tiers === undefined) return pricing
  const { tiers, ...base } = pricing
  const found = tiers.findLast((tier) => promptTokens > tier.aboveInput)
  if (found === undefined) return base
  const { aboveInput: _, ...dearer } = found
  return { ...base, ...dearer }
}

/** The flat price that holds for some usage. @category pricing @since 0.1.0 */
export const holding = (pricing: Pricing, usage: Usage): Pricing => at(pricing, usage.input + usage.cachedRead + usage.cacheWrite)

/**
 * The price of some usage. Classes without a price of their own take their family's: cached reads and cache writes the
 * prompt's, reasoning the completion's.
 *
 * @category pricing
 * @since 0.1.0
 */
export const cost = (pricing: Pricing, usage: Usage): Money.Money => {
  const price = holding(pricing, usage)
  return Money.make(
    price.prompt * BigInt(usage.input) +
      (price.cachedRead ?? price.prompt) * BigInt(usage.cachedRead) +
      (price.cacheWrite ?? price.prompt) * BigInt(usage.cacheWrite) +
      price.completion * BigInt(usage.output) +
      (price.reasoning ?? price.completion) * BigInt(usage.reasoning) +
      images(price, usage.images) +
      (price.audioSecond ?? 0n) * BigInt(Math.ceil(usage.audioSeconds)) +
      (price.request ?? 0n)
  )
}

/** Images by the quarter, as their sizes are priced; a price that does not divide is rounded up. */
const images = (pricing: Pricing, count: number): bigint => ((pricing.image ?? 0n) * BigInt(Math.ceil(count * 4)) + 3n) / 4n

/**
 * The usage that is charged. Where a model prices both tokens and a unit (an image, a second), the tokens count if the
 * provider has counted them, and the unit if not.
 *
 * @category pricing
 * @since 0.1.0
 */
export const billable = (pricing: Pricing, usage: Usage): Usage => {
  const isByUnit = usage.images > 0 || usage.audioSeconds > 0
  if (!isByUnit || (pricing.prompt === 0n && pricing.completion === 0n)) return usage
  const { audioSeconds, images, source } = usage
  return usage.output > 0 ? { ...usage, images: 0, audioSeconds: 0 } : { ...none, images, audioSeconds, source }
}

const dearestPrompt = (pricing: Pricing): Money.Money =>
  Money.max(pricing.prompt, Money.max(pricing.cacheWrite ?? pricing.prompt, pricing.cachedRead ?? pricing.prompt))

const dearestCompletion = (pricing: Pricing): Money.Money => Money.max(pricing.completion, pricing.reasoning ?? pricing.completion)

/** A prompt may turn out to have this many times the tokens it was taken for: then each character was one. */
const MISJUDGED = 4

/** The flat prices that a prompt taken for that many tokens may come to. */
const possible = (pricing: Pricing, promptTokens: number): ReadonlyArray<Pricing> => [
  at(pricing, promptTokens),
  ...(pricing.tiers ?? [])
    .filter((tier) => tier.aboveInput >= promptTokens && tier.aboveInput < promptTokens * MISJUDGED)
    .map((tier) => at(pricing, tier.aboveInput + 1))
]

/** The dearest a token of a prompt of that many can be. @category pricing @since 0.1.0 */
export const dearestInput = (pricing: Pricing, promptTokens: number): Money.Money =>
  pricing.tiers === undefined ? dearestPrompt(pricing) : possible(pricing, promptTokens).map(dearestPrompt).reduce(Money.max)

/** The dearest an output token after such a prompt can be. @category pricing @since 0.1.0 */
export const dearestOutput = (pricing: Pricing, promptTokens: number): Money.Money =>
  pricing.tiers === undefined ? dearestCompletion(pricing) : possible(pricing, promptTokens).map(dearestCompletion).reduce(Money.max)

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
    dearestInput(pricing, wanted.promptTokens) * BigInt(wanted.promptTokens) +
      dearestOutput(pricing, wanted.promptTokens) * BigInt(wanted.maxOutput) * BigInt(wanted.choices) +
      (pricing.request ?? 0n)
  )

/**
 * The most that something else than a chat can cost: every image of its size, every second of a recording, every token of
 * what is embedded.
 *
 * @category pricing
 * @since 0.1.0
 */
export const estimateWhole = (pricing: Pricing, request: InferenceRequest): Money.Money => {
  const seconds = Math.ceil(request.audio?.seconds ?? 0)
  const { maxTokens, sizeFactor } = request.image ?? { maxTokens: 0, sizeFactor: 0 }
  const byToken = estimate(pricing, { promptTokens: promptTokens(request), maxOutput: maxTokens, choices: request.choices })
  const units = images(pricing, request.choices * sizeFactor) + (pricing.audioSecond ?? 0n) * BigInt(seconds)
  return Money.max(byToken, Money.make(units + (pricing.request ?? 0n)))
}

/** How many output tokens of each choice some money pays for, after the prompt. @category pricing @since 0.1.0 */
export const affordableOutput = (pricing: Pricing, held: Money.Money, wanted: Estimate): number => {
  const rest = held - estimate(pricing, { ...wanted, maxOutput: 0 })
  const perToken = dearestOutput(pricing, wanted.promptTokens) * BigInt(wanted.choices)
  if (rest <= 0n) return 0
  return perToken === 0n ? Number.MAX_SAFE_INTEGER : Number(rest / perToken)
}

/** A price as it is kept on a charge: decimal strings in USD, so that the charge can be recomputed. Of a tiered one, keep what {@link holding} gives. @category encoding @since 0.1.0 */
export const encodePricing = (pricing: Pricing): Record<string, string> => {
  const { tiers: _, ...flat } = pricing
  return Object.fromEntries(Object.entries(flat).flatMap(([name, price]) => (price === undefined ? [] : [[name, Money.toUsd(price)]])))
}
