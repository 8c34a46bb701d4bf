/**
 * What a model is likely good at, read off its published benchmarks before anybody has asked it. Pure.
 *
 * @since 0.1.0
 */
import type { Model } from "../../schemas/Model.ts"

/** @category models @since 0.1.0 */
export const tasks = ["code", "reasoning", "creative_writing", "summarization", "translation", "extraction", "simple_qa"] as const

/** @category models @since 0.1.0 */
export type Task = (typeof tasks)[number]

/** From 0 to 1; null where no benchmark says anything of it. @category models @since 0.1.0 */
export type TaskPriors = Readonly<Record<Task, number | null>>

/**
 * Results that count 0 and 1. Of the benchmarks that shipped models have: what a tenth of them stay below, and what a tenth
 * of them surpass; of the others, the weak and the strong end of what is published.
 *
 * @category data
 * @since 0.1.0
 */
export const scales: Readonly<Record<string, readonly [least: number, most: number]>> = {
  swe_bench: [48.9, 77.8],
  humaneval: [45.1, 92],
  mmlu: [68, 88.7],
  gpqa: [50.5, 87.6],
  math: [51.9, 94.5],
  mmlu_pro: [60.6, 83],
  livebench: [30, 80],
  arena_elo: [1_150, 1_450],
  mt_bench: [7, 9.5]
}

/** Which benchmarks speak of a task, and how loudly. */
const evidence: Readonly<Record<Task, Readonly<Record<string, number>>>> = {
  code: { swe_bench: 2, humaneval: 1 },
  reasoning: { gpqa: 2, math: 2, mmlu_pro: 1 },
  creative_writing: { arena_elo: 2, mt_bench: 1 },
  summarization: { livebench: 1, mmlu_pro: 1, mmlu: 1 },
  translation: { arena_elo: 1, mmlu: 1 },
  extraction: { livebench: 1, humaneval: 1, mmlu_pro: 1 },
  simple_qa: { mmlu: 2, mmlu_pro: 1 }
}

/** @category scoring @since 0.1.0 */
export const priorOf = ({ benchmarks }: Pick<Model, "benchmarks">, task: Task): number | null => {
  let weight = 0
  let sum = 0
  for (const [name, part] of Object.entries(evidence[task])) {
    const result = benchmarks[name] ?? null
    const scale = scales[name]
    if (result === null || scale === undefined) continue
    const [least, most] = scale
    weight += part
    sum += part * Math.min(1, Math.max(0, (result - least) / (most - least)))
  }
  return weight === 0 ? null : Math.round((1_000 * sum) / weight) / 1_000
}

/** @category scoring @since 0.1.0 */
export const taskPriors = (model: Pick<Model, "benchmarks">): TaskPriors => ({
  code: priorOf(model, "code"),
  reasoning: priorOf(model, "reasoning"),
  creative_writing: priorOf(model, "creative_writing"),
  summarization: priorOf(model, "summarization"),
  translation: priorOf(model, "translation"),
  extraction: priorOf(model, "extraction"),
  simple_qa: priorOf(model, "simple_qa")
})

/** Points of quality between the worst and the best prior. */
const SPREAD = 10

/** A quality for one kind of task: what is unknown moves nothing. @category scoring @since 0.1.0 */
export const qualityFor = (quality: number, model: Pick<Model, "benchmarks">, task: Task): number => {
  const prior = priorOf(model, task)
  return prior === null ? quality : quality + SPREAD * (prior - 0.5)
}
