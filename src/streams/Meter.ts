/**
 * Counts what an answer uses while it passes.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../schemas/Inference.ts"
import { estimateTokens, none, type Usage } from "../../schemas/Usage.ts"

/**
 * The meter of one request: fed with every batch, read at any moment. The provider's own figures win; what passed
 * without them, or after the last of them, is estimated from its characters.
 *
 * @category models
 * @since 0.1.0
 */
export class Meter {
  private readonly promptTokens: number
  private readonly audioSeconds: number
  private answerCharacters = 0
  private reasoningCharacters = 0
  private reported: Usage | null = null

  /** Estimates of the input, used where the provider gives no figures. */
  constructor(promptTokens: number, audioSeconds = 0) {
    this.promptTokens = promptTokens
    this.audioSeconds = audioSeconds
  }

  feed(batch: ReadonlyArray<InferenceEvent>): void {
    let reported: Usage | null = null
    for (const event of batch) {
      switch (event._tag) {
        case "Text":
        case "Refusal":
        case "ToolCallArguments":
          this.answerCharacters += event.text.length
          break
        case "ToolCallStart":
          this.answerCharacters += event.name.length
          break
        case "Reasoning":
          this.reasoningCharacters += event.text.length
          break
        case "Usage":
          // What is known at the beginning counts nothing of the output, also of what came along with it.
          if (event.partial === true) this.reported = event.usage
          else reported = event.usage
          break
      }
    }
    if (reported === null) return
    // Figures count what came before them and what came along with them.
    this.reported = reported
    this.answerCharacters = 0
    this.reasoningCharacters = 0
  }

  usage(): Usage {
    const output = estimateTokens(this.answerCharacters)
    const reasoning = estimateTokens(this.reasoningCharacters)
    const before = this.reported
    if (before === null) return { ...none, input: this.promptTokens, output, reasoning, audioSeconds: this.audioSeconds }
    if (output + reasoning === 0) return before
    // Some providers tell what they read at the beginning, and the rest at an end that may never come.
    return { ...before, output: before.output + output, reasoning: before.reasoning + reasoning, source: "estimated" }
  }
}
