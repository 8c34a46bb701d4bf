/**
 * Brings the pieces of an answer into an order in which each tool call is written from its start to its end, as protocols
 * with one open block at a time need it. Some providers begin several calls before the arguments of the first.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"

/** What belongs together: the pieces of one tool call, or whatever is none. */
type Segment = number | "content"

const segmentOf = (event: InferenceEvent): Segment | null => {
  switch (event._tag) {
    case "ToolCallStart":
    case "ToolCallArguments":
      return event.index
    case "Text":
    case "Refusal":
    case "Reasoning":
      return "content"
    default:
      return null
  }
}

/**
 * The order of one choice. Pieces pass as they come; those of another tool call wait only while the arguments of the open
 * one are not whole JSON. A Finish lets everything through.
 *
 * @category models
 * @since 0.1.0
 */
export class ToolCallOrder {
  private open: Segment = "content"
  private arguments = ""
  private readonly closed = new Set<number>()
  private waiting: Array<{ readonly segment: Segment; readonly events: Array<InferenceEvent> }> = []

  push(batch: ReadonlyArray<InferenceEvent>): ReadonlyArray<InferenceEvent> {
    if (this.open === "content" && batch.every((event) => typeof segmentOf(event) !== "number")) return batch
    const out: Array<InferenceEvent> = []
    for (const event of batch) {
      const segment = segmentOf(event)
      if (segment === null) {
        if (event._tag === "Finish") this.release(out, true)
        out.push(event)
      } else if (segment === this.open) this.pass(event, out)
      else if (typeof segment !== "number" || !this.closed.has(segment)) {
        this.wait(segment, event)
        this.release(out, false)
      }
    }
    return out
  }

  private pass(event: InferenceEvent, out: Array<InferenceEvent>): void {
    if (event._tag === "ToolCallArguments") this.arguments += event.text
    out.push(event)
  }

  private wait(segment: Segment, event: InferenceEvent): void {
    const known = typeof segment === "number" ? this.waiting.find((entry) => entry.segment === segment) : this.waiting.at(-1)
    if (known?.segment === segment) known.events.push(event)
    else this.waiting.push({ segment, events: [event] })
  }

  private isWhole(): boolean {
    return this.open === "content" || (this.arguments.trimEnd().endsWith("}") && Json.parse(this.arguments) !== undefined)
  }

  private release(out: Array<InferenceEvent>, all: boolean): void {
    while (this.waiting.length > 0 && (all || this.isWhole())) {
      const next = this.waiting.shift()
      if (next === undefined) return
      if (typeof this.open === "number") this.closed.add(this.open)
      this.open = next.segment
      this.arguments = ""
      for (const event of next.events) this.pass(event, out)
    }
  }
}
