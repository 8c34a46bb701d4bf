/**
 * Counts what an answer uses while it passes.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../schemas/Inference.ts"
import { estimateTokens, none, type Usage } from "../../schemas/Usage.ts"

/**
 * The meter of one request: fed with every batch, read at any moment. The provider's own figures win; without them
 * tokens are estimated from the characters that passed.
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
          this.reported = event.usage
          break
      }
    }
  }

  usage(): Usage {
    if (this.reported !== null) return this.reported
    return {
      ...none,
      input: this.promptTokens,
      output: estimateTokens(this.answerCharacters),
      reasoning: estimateTokens(this.reasoningCharacters),
      audioSeconds: this.audioSeconds
    }
  }
}
