/**
 * What the generations of Claude can do, where they differ.
 *
 * @since 0.1.0
 */

/** @category models @since 0.1.0 */
export interface ClaudeAbilities {
  /** `none`; `budget`: a number of tokens; `adaptive`: as much as the effort asks for. */
  readonly thinking: "none" | "budget" | "adaptive"
  /** Thinking may be switched off where it would be on. */
  readonly canRest: boolean
  /** Takes temperature, top_p and top_k. */
  readonly sampling: boolean
  /** Takes temperature and top_p together. */
  readonly bothSamplings: boolean
  /** Holds an answer to a JSON Schema by itself. */
  readonly structured: boolean
  /** May be made to use a tool. */
  readonly forcedTool: boolean
  readonly xhigh: boolean
}

const early: ClaudeAbilities = {
  thinking: "none",
  canRest: true,
  sampling: true,
  bothSamplings: true,
  structured: false,
  forcedTool: true,
  xhigh: false
}
const budgeted: ClaudeAbilities = { ...early, thinking: "budget" }
const structured: ClaudeAbilities = { ...budgeted, bothSamplings: false, structured: true }
const adaptive: ClaudeAbilities = { ...structured, thinking: "adaptive" }
const unsampled: ClaudeAbilities = { ...adaptive, sampling: false, xhigh: true }
const restless: ClaudeAbilities = { ...unsampled, canRest: false, forcedTool: false }

/** First match counts; what is not listed is newer than this list, and taken for the latest generation. */
const generations: ReadonlyArray<readonly [RegExp, ClaudeAbilities]> = [
  [/claude-3-7/, budgeted],
  [/claude-(instant|v?[123](?![0-9]))/, early],
  [/claude-(sonnet|opus|haiku)-4-(1|5)(?![0-9])/, structured],
  [/claude-(sonnet|opus|haiku)-4-6(?![0-9])/, adaptive],
  [/claude-(sonnet|opus|haiku)-4-[7-9](?![0-9])/, unsampled],
  [/claude-(sonnet|opus|haiku)-4(?![0-9])/, budgeted],
  [/claude-haiku-5/, unsampled],
  [/claude-(sonnet|opus)-5(?!-[0-9](?![0-9]))/, unsampled],
  [/claude-/, restless]
]

/** A model of another house that speaks this protocol is asked only for what every generation could. @category accessors @since 0.1.0 */
export const abilitiesOf = (nativeId: string): ClaudeAbilities => generations.find(([pattern]) => pattern.test(nativeId))?.[1] ?? early
