/**
 * What of an answer the caller has already got, as far as another provider could go on from it.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../schemas/Inference.ts"
import { Splice } from "./Splice.ts"

/** Characters of an answer that are kept; a longer one is not handed to another provider. */
const MAX_CHARACTERS = 262_144

/**
 * Fed with every batch that leaves.
 *
 * @category models
 * @since 0.1.0
 */
export class SentText {
  private text: string | null = ""
  private readonly unfinished: Set<number>

  /** Of one answer only is the text kept; of several nothing but which have ended. */
  constructor(choices: number) {
    this.unfinished = new Set(Array.from({ length: choices }, (_, choice) => choice))
    if (choices !== 1) this.text = null
  }

  feed(batch: ReadonlyArray<InferenceEvent>): void {
    for (const event of batch) {
      if (event._tag === "Finish") this.unfinished.delete(event.choice)
      else if (event._tag === "Usage" || this.text === null) continue
      else if (event._tag !== "Text" || event.logprobs !== undefined) this.text = null
      else this.text = this.text.length + event.text.length > MAX_CHARACTERS ? null : this.text + event.text
    }
  }

  /** The text so far; null when it is not all that left, or too long. */
  get continuable(): string | null {
    return this.text
  }

  /** Every answer has its finish reason: whatever fails now, the caller has them whole. */
  get isWhole(): boolean {
    return this.unfinished.size === 0
  }
}

/**
 * A provider's events as the rest of an answer that another began: its text spliced, its thoughts left out.
 *
 * @category models
 * @since 0.1.0
 */
export class Rest {
  private readonly splice: Splice

  constructor(sent: string) {
    this.splice = new Splice(sent)
  }

  /** Characters that repeated what was sent, and were cut. */
  get repeated(): number {
    return this.splice.repeated
  }

  /** Null when they do not go on from what was sent. */
  push(batch: ReadonlyArray<InferenceEvent>): ReadonlyArray<InferenceEvent> | null {
    const rest: Array<InferenceEvent> = []
    for (const event of batch) {
      if (event._tag === "Refusal" || event._tag === "Data") return null
      if (event._tag === "Reasoning") continue
      if (event._tag === "Usage") {
        rest.push(event)
        continue
      }
      const text = event._tag === "Text" ? this.splice.push(event.text) : this.splice.end()
      if (this.splice.isRestart) return null
      if (text !== "") rest.push({ _tag: "Text", choice: 0, text })
      if (event._tag !== "Text") rest.push(event)
    }
    return rest
  }
}
