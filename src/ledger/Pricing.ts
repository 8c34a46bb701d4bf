/**
 * What usage costs: exact, never rounded.
 *
 * @since 0.1.0
 */
import type { Pricing } from "../../schemas/Model.ts"
import * as Money from "../../schemas/Money.ts"
import type { Usage } from "../../schemas/Usage.ts"

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
