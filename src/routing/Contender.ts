/**
 * A model that a router may choose, with the figures it is judged by. Pure.
 *
 * @since 0.1.0
 */
import type { Model, Pricing } from "../../schemas/Model.ts"
import { operationOf } from "./Operations.ts"

/** @category models @since 0.1.0 */
export interface Contender {
  readonly model: Model
  /** At the provider that is asked first. */
  readonly pricing: Pricing
  /** Mean of the benchmark percentages that are known, 50 where none is; shifted by what the latest calls say. */
  readonly quality: number
  /** USD per million tokens, two of input to one of output. */
  readonly blended: number
  /** Milliseconds that half of its latest answers took at most; null where none is known. */
  readonly p50: number | null
}

/** What a request needs of a model. @category models @since 0.1.0 */
export interface Needs {
  /** Tokens of the prompt and of the answer. */
  readonly tokens: number
  readonly tools: boolean
  readonly vision: boolean
  readonly jsonSchema: boolean
  readonly logprobs: boolean
}

/** A benchmark that nobody has published says neither good nor bad. */
const NEUTRAL = 50

/** Scores that are no percentages. */
const notPercentages = ["arena_elo", "mt_bench"]

/** @category scoring @since 0.1.0 */
export const qualityOf = ({ benchmarks }: Pick<Model, "benchmarks">): number => {
  const known = Object.entries(benchmarks).flatMap(([name, value]) => (value === null || notPercentages.includes(name) ? [] : [value]))
  return known.length === 0 ? NEUTRAL : known.reduce((sum, value) => sum + value, 0) / known.length
}

const PICO_PER_MILLION = 1_000_000

/** USD per million tokens, two of input to one of output. @category scoring @since 0.1.0 */
export const blendedPrice = (pricing: Pricing): number => Number(2n * pricing.prompt + pricing.completion) / 3 / PICO_PER_MILLION

/** Whether a model can do what is asked. @category predicates @since 0.1.0 */
export const isAble = (model: Model, needs: Needs): boolean =>
  operationOf(model) === "chat" &&
  model.contextLength >= needs.tokens &&
  (!needs.tools || model.supports.tools) &&
  (!needs.vision || model.supports.vision) &&
  (!needs.jsonSchema || model.supports.json_schema) &&
  (!needs.logprobs || model.supports.logprobs)

/**
 * Whether a router may choose a model at all: not one whose end was announced, nor a free variant, which providers limit
 * and whose prompts they keep. The sandbox is for whoever has nothing else.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isChosen = (model: Model): boolean => model.deprecated !== true && !model.free

/** The cheaper first, then by name, so that the same figures give the same order. @category ordering @since 0.1.0 */
export const byPriceAndName = (a: Contender, b: Contender): number => a.blended - b.blended || (a.model.id < b.model.id ? -1 : 1)
