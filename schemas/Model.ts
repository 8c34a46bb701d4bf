/**
 * Models and their prices, as the catalog knows them.
 *
 * @since 0.1.0
 */
import type { Money } from "./Money.ts"

/** What one unit costs. Token prices are per single token; absent classes fall back as `Pricing.cost` says. @category models @since 0.1.0 */
export interface Pricing {
  readonly prompt: Money
  readonly completion: Money
  readonly cachedRead?: Money
  readonly cacheWrite?: Money
  readonly reasoning?: Money
  /** Per image made. */
  readonly image?: Money
  /** Per second of audio heard. */
  readonly audioSecond?: Money
  /** Per request, on top. */
  readonly request?: Money
  /** Dearer prices of long prompts, the shortest prompts first. */
  readonly tiers?: ReadonlyArray<PricingTier>
}

/** Prices of a request whose whole prompt is longer than `aboveInput` tokens; absent classes keep the base price. @category models @since 0.1.0 */
export interface PricingTier {
  readonly aboveInput: number
  readonly prompt: Money
  readonly completion: Money
  readonly cachedRead?: Money
  readonly cacheWrite?: Money
}

/** What a model can do. @category models @since 0.1.0 */
export interface Supports {
  readonly streaming: boolean
  readonly tools: boolean
  readonly vision: boolean
  readonly json_schema: boolean
  readonly logprobs: boolean
  readonly reasoning: boolean
  readonly prefill: boolean
}

/** One provider that serves a model, under the provider's own id for it. @category models @since 0.1.0 */
export interface ModelProvider {
  readonly slug: string
  readonly nativeId: string
  /** Null when no source gives a price at this provider. */
  readonly pricing: Pricing | null
  /** The operator said so: what the provider lists changes nothing of it. */
  readonly isFixed?: true
}

/** A model under its canonical id `{org}/{name}`, lower case. @category models @since 0.1.0 */
export interface Model {
  readonly id: string
  readonly name: string
  readonly org: string
  readonly contextLength: number
  /** Null where unknown: then 4,096 is assumed. */
  readonly maxOutput: number | null
  readonly modality: string
  readonly supports: Supports
  readonly free: boolean
  /** A closed high-value family: never served at a default price. */
  readonly premium: boolean
  readonly openWeights: boolean
  readonly benchmarks: Readonly<Record<string, number | null>>
  /** Strength at code, 1 the strongest of 4; absent where nobody has judged it. */
  readonly tier?: number
  /** Its vendor has announced the end of it: served, never chosen by a router. */
  readonly deprecated?: boolean
  /** Unix seconds. */
  readonly created: number
  readonly providers: ReadonlyArray<ModelProvider>
  /** The repository of its weights on the Hugging Face Hub, as a provider's list names it; absent: nobody said so. */
  readonly huggingFace?: string
  /** Providers that the operator says serve it, whoever else may. */
  readonly alsoServedBy?: ReadonlyArray<string>
}

/** One provider a request may be sent to, with everything needed to price it. @category models @since 0.1.0 */
export interface Candidate {
  readonly model: Model
  readonly provider: string
  readonly nativeId: string
  readonly pricing: Pricing
}
