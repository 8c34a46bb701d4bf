/**
 * What kind of work on code a prompt asks for, told by its words. Pure.
 *
 * @since 0.1.0
 */

/** @category models @since 0.1.0 */
export type TaskCategory = "simple_code" | "code_explanation" | "code_generation" | "debugging" | "refactoring" | "architecture" | "agentic"

/** The easiest first. @category models @since 0.1.0 */
export const complexities = ["low", "low_medium", "medium", "medium_high", "high", "very_high"] as const

/** @category models @since 0.1.0 */
export type Complexity = (typeof complexities)[number]

/** Tiers: 1 premium, 2 high performance, 3 balanced, 4 economy. `minimumTier` is the weakest that may do it. @category models @since 0.1.0 */
export interface TaskKind {
  readonly complexity: Complexity
  readonly defaultTier: number
  readonly minimumTier: number
  readonly patterns: ReadonlyArray<string>
}

/** @category data @since 0.1.0 */
export const taskKinds: Readonly<Record<TaskCategory, TaskKind>> = {
  simple_code: {
    complexity: "low",
    defaultTier: 4,
    minimumTier: 4,
    patterns: ["typo", "format", "rename", "lint", "indent", "semicolon", "add a comment", "remove unused", "spelling"]
  },
  code_explanation: {
    complexity: "low_medium",
    defaultTier: 3,
    minimumTier: 4,
    patterns: ["explain", "what does", "document", "how does", "walk me through", "describe", "meaning of"]
  },
  code_generation: {
    complexity: "medium",
    defaultTier: 3,
    minimumTier: 3,
    patterns: ["write", "create", "implement", "build", "generate", "function that", "add a feature", "script"]
  },
  debugging: {
    complexity: "medium_high",
    defaultTier: 2,
    minimumTier: 2,
    patterns: ["debug", "error", "crash", "not working", "exception", "fails", "bug", "stack trace", "doesn't work", "fix this"]
  },
  refactoring: {
    complexity: "medium_high",
    defaultTier: 2,
    minimumTier: 2,
    patterns: ["refactor", "optimize", "optimise", "restructure", "clean up", "simplify", "performance of", "technical debt"]
  },
  architecture: {
    complexity: "high",
    defaultTier: 1,
    minimumTier: 1,
    patterns: ["architecture", "system design", "scalability", "scalable", "microservice", "distributed", "design a", "database schema"]
  },
  agentic: {
    complexity: "very_high",
    defaultTier: 1,
    minimumTier: 1,
    patterns: ["end-to-end", "from scratch", "multi-step", "entire codebase", "whole project", "autonomously", "migrate the"]
  }
}

/** A prompt as it is judged. @category models @since 0.1.0 */
export interface Prompt {
  /** The last words of the user. */
  readonly text: string
  readonly messages: number
}

/** @category models @since 0.1.0 */
export interface Classified {
  readonly category: TaskCategory
  readonly complexity: Complexity
  /** 0 to 1. */
  readonly confidence: number
}

/** Characters of a prompt that are looked at: its end, where what is wanted stands, and its beginning. */
const LOOKED_AT = 8_000

const filePattern = /[\w/-]+\.(?:ts|tsx|js|jsx|py|rs|go|java|kt|rb|php|cs|cpp|cc|c|h|hpp|swift|scala|sql|html|css|vue|svelte)\b/g
const tracePattern = /traceback \(most recent call last\)|^\s+at .+:\d+:\d+\)?$|exception in thread|panicked at|error: .+ at line \d+/im

/** Words that may stand inside others are no sign of anything. */
const compile = (pattern: string): RegExp => new RegExp(`(?<![a-z])${pattern.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`, "g")

const compiled = Object.entries(taskKinds).map(
  ([category, kind]) => [category, kind.patterns.map((pattern) => [compile(pattern), 1 + pattern.length / 50] as const)] as const
)

/** Confidence where no word says anything. */
const UNSURE = 0.3
const CERTAIN = 5

const isCategory = (name: string): name is TaskCategory => name in taskKinds

/** @category classification @since 0.1.0 */
export const classify = ({ messages, text }: Prompt): Classified => {
  const looked = text.length <= LOOKED_AT ? text : `${text.slice(0, LOOKED_AT / 2)}\n${text.slice(-LOOKED_AT / 2)}`
  const lower = looked.toLowerCase()
  const scores = new Map<string, number>()
  const raise = (category: TaskCategory, by: number) => scores.set(category, (scores.get(category) ?? 0) + by)
  for (const [category, patterns] of compiled) {
    for (const [pattern, weight] of patterns) {
      const matches = lower.match(pattern)?.length ?? 0
      if (matches > 0 && isCategory(category)) raise(category, matches * weight)
    }
  }
  if (new Set(lower.match(filePattern)).size > 3) {
    raise("architecture", 2)
    raise("agentic", 1.5)
  }
  if (tracePattern.test(looked)) raise("debugging", 3)
  if (messages > 10) {
    raise("refactoring", 1)
    raise("architecture", 1)
  }
  let best: TaskCategory | null = null
  for (const [category, score] of scores) if (isCategory(category) && score > (best === null ? 0 : (scores.get(best) ?? 0))) best = category
  const category = best ?? "code_generation"
  const confidence = best === null ? UNSURE : Math.min(1, (scores.get(best) ?? 0) / CERTAIN)
  return { category, complexity: taskKinds[category].complexity, confidence }
}
