/**
 * What kind of work a prompt asks for, told by its words. Pure.
 *
 * @since 0.1.0
 */
import type { Task } from "./TaskPriors.ts"

/** @category models @since 0.1.0 */
export type GeneralCategory =
  | "simple_qa"
  | "complex_reasoning"
  | "code_generation"
  | "code_review"
  | "creative_writing"
  | "summarization"
  | "translation"
  | "extraction"
  | "math_calculation"
  | "data_analysis"

/** @category models @since 0.1.0 */
export interface GeneralTask {
  readonly category: GeneralCategory
  /** What models are known by. */
  readonly task: Task
  /** 0 to 1. */
  readonly confidence: number
}

/** Less says nothing. @category policies @since 0.1.0 */
export const LOW_CONFIDENCE = 0.6

interface Kind {
  readonly task: Task
  readonly patterns: ReadonlyArray<string>
}

const kinds: Readonly<Record<GeneralCategory, Kind>> = {
  simple_qa: {
    task: "simple_qa",
    patterns: ["who is", "who was", "what is the capital", "when was", "when did", "where is", "how many", "how old"]
  },
  complex_reasoning: {
    task: "reasoning",
    patterns: ["step by step", "reason through", "prove that", "logic puzzle", "trade-offs", "deduce", "implications of"]
  },
  code_generation: {
    task: "code",
    patterns: [
      "write a function",
      "write a script",
      "write code",
      "implement a",
      "python function",
      "sql query",
      "unit test",
      "regular expression"
    ]
  },
  code_review: { task: "code", patterns: ["review this code", "code review", "stack trace", "traceback", "debug this", "refactor"] },
  creative_writing: {
    task: "creative_writing",
    patterns: ["poem", "short story", "write a story", "haiku", "song lyrics", "screenplay", "fairy tale", "limerick"]
  },
  summarization: { task: "summarization", patterns: ["summarize", "summarise", "summary of", "tl;dr", "key points", "in a nutshell"] },
  translation: {
    task: "translation",
    patterns: ["translate", "translation of", "into french", "into german", "into spanish", "into english", "into japanese", "into chinese"]
  },
  extraction: {
    task: "extraction",
    patterns: ["extract", "pull out all", "list all the names", "find all dates", "named entities", "fill in the fields"]
  },
  math_calculation: {
    task: "reasoning",
    patterns: ["calculate", "solve for", "integral of", "derivative of", "equation", "probability that", "square root"]
  },
  data_analysis: {
    task: "reasoning",
    patterns: ["analyze the data", "analyse the data", "this dataset", "correlation between", "trend in the data", "outliers in"]
  }
}

/** Characters that are looked at: the beginning and the end, where what is wanted stands. */
const LOOKED_AT = 4_000
/** What makes certain: one telling phrase nearly does. */
const CERTAIN = 1.5

const compile = (pattern: string): RegExp => new RegExp(`(?<![a-z])${pattern.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`)

const isCategory = (name: string): name is GeneralCategory => name in kinds

const compiled = Object.entries(kinds).flatMap(([category, { patterns, task }]) =>
  isCategory(category)
    ? [{ category, task, patterns: patterns.map((pattern) => [compile(pattern), 1 + pattern.length / 50] as const) }]
    : []
)

/** Null where no word says anything. Words of two kinds make neither certain. @category classification @since 0.1.0 */
export const classifyGeneral = (text: string): GeneralTask | null => {
  const looked = text.length <= LOOKED_AT ? text : `${text.slice(0, LOOKED_AT / 2)}\n${text.slice(-LOOKED_AT / 2)}`
  const lower = looked.toLowerCase()
  const scored = compiled
    .map(({ category, patterns, task }) => ({
      category,
      task,
      score: patterns.reduce((sum, [pattern, weight]) => (pattern.test(lower) ? sum + weight : sum), 0)
    }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
  const [best, second] = scored
  if (best === undefined) return null
  const alone = second === undefined ? 1 : best.score / (best.score + second.score)
  return { category: best.category, task: best.task, confidence: Math.min(1, best.score / CERTAIN) * alone }
}
