/**
 * The code router: the tier that a task needs, and the best of the tier. Pure.
 *
 * @since 0.1.0
 */
import type { Model } from "../../schemas/Model.ts"
import { type Classified, type TaskCategory, taskKinds } from "./CodeTask.ts"
import { byPriceAndName, type Contender } from "./Contender.ts"
import type { Ranked } from "./GeneralRouter.ts"
import type { CodeMode } from "./RouterName.ts"

const WEAKEST = 4
const STRONGEST = 1

/** The tier that a mode asks for: never weaker than the task's minimum. @category routing @since 0.1.0 */
export const tierFor = (mode: CodeMode, category: TaskCategory): number => {
  const { defaultTier, minimumTier } = taskKinds[category]
  const wanted = mode === "agentic" ? STRONGEST : mode === "quality" ? defaultTier - 1 : defaultTier
  return Math.min(Math.max(Math.min(wanted, minimumTier), STRONGEST), WEAKEST)
}

const benchmark = (model: Model, name: string): number | null => model.benchmarks[name] ?? null

/** A model's tier: as it was judged, else by SWE-bench. @category scoring @since 0.1.0 */
export const tierOf = (model: Model): number => {
  if (model.tier !== undefined) return model.tier
  const swe = benchmark(model, "swe_bench")
  if (swe === null) return WEAKEST
  return swe >= 70 ? 1 : swe >= 55 ? 2 : swe >= 35 ? 3 : WEAKEST
}

/** What a model is good at, read off its benchmarks. */
const strengthsOf = (model: Model): ReadonlyArray<TaskCategory> => {
  const swe = benchmark(model, "swe_bench") ?? 0
  const humanEval = benchmark(model, "humaneval") ?? 0
  const reasons = model.supports.reasoning && (benchmark(model, "gpqa") ?? 0) >= 65
  return [
    ...(humanEval >= 85 ? (["code_generation", "simple_code"] as const) : []),
    ...(swe >= 50 ? (["debugging", "refactoring"] as const) : []),
    ...(swe >= 65 && model.supports.tools ? (["agentic"] as const) : []),
    ...(reasons ? (["architecture", "code_explanation"] as const) : [])
  ]
}

const generalStrengths: ReadonlyArray<TaskCategory> = ["code_generation", "debugging"]

/** The score within a tier. */
const scoreOf = (mode: CodeMode, category: TaskCategory, { blended, model }: Contender): number => {
  const strengths = strengthsOf(model)
  const swe = benchmark(model, "swe_bench") ?? 0
  return (
    (strengths.includes(category) ? 2 : 0) +
    0.5 * strengths.filter((strength) => generalStrengths.includes(strength)).length +
    (mode === "price" ? -0.1 * blended : mode === "auto" ? 0 : 0.05 * swe)
  )
}

/**
 * Contenders, the chosen one first: the tier that is asked for, then the stronger ones, then weaker ones that the task still
 * allows, then the rest. `price` takes the cheapest of all that the task allows.
 *
 * @category routing
 * @since 0.1.0
 */
export const rankCode = (mode: CodeMode, { category }: Classified, contenders: ReadonlyArray<Contender>): ReadonlyArray<Ranked> => {
  const { minimumTier } = taskKinds[category]
  const tier = tierFor(mode, category)
  const placeOf = (contender: Contender): number => {
    const own = tierOf(contender.model)
    if (own > minimumTier) return 10 + own
    if (mode === "price") return 0
    return own <= tier ? tier - own : WEAKEST + own
  }
  const ranked = contenders.map((contender) => ({
    contender,
    place: placeOf(contender),
    score: scoreOf(mode, category, contender)
  }))
  return ranked.toSorted((a, b) => {
    if (a.place !== b.place) return a.place - b.place
    if (mode === "price" || a.score === b.score) return byPriceAndName(a.contender, b.contender)
    return b.score - a.score
  })
}

/** USD per million tokens that savings are reported against. */
const baselines = [
  { input: 3, output: 15 },
  { input: 2.5, output: 10 }
]
const MILLION = 1_000_000

/** What 1,000 tokens of input and 500 of output cost less than at each baseline, in USD. @category reporting @since 0.1.0 */
export const savingsOf = (price: { readonly input: number; readonly output: number }): ReadonlyArray<number> => {
  const cost = ({ input, output }: { readonly input: number; readonly output: number }) => (1_000 * input + 500 * output) / MILLION
  return baselines.map((baseline) => Number((cost(baseline) - cost(price)).toFixed(9)))
}
