/**
 * What a key's guardrails make of an answer, before the caller sees it.
 *
 * **Details**: each text of the answer goes through a window that holds back what could still be the beginning of something.
 * What has to be blocked ends its choice with the finish reason `content_filter`.
 *
 * **Gotchas**: log probabilities would tell what was taken out, so they are left out.
 *
 * @since 0.1.0
 */
import { Array as Arr, Stream } from "effect"
import type { Guardrails } from "../../schemas/Guardrail.ts"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import * as Json from "../../schemas/Json.ts"
import { mask } from "./InputGuard.ts"
import { phrases, pii } from "./Patterns.ts"
import { type Finding, type Pattern, replace, scan, TextWindow } from "./TextScanner.ts"

type Rule = NonNullable<Guardrails["output"]>
type TextEvent = Extract<InferenceEvent, { readonly _tag: "Text" | "Refusal" | "Reasoning" | "ToolCallArguments" }>

const isText = (event: InferenceEvent): event is TextEvent =>
  event._tag === "Text" || event._tag === "Refusal" || event._tag === "Reasoning" || event._tag === "ToolCallArguments"

/** What one choice is saying now. */
interface Saying {
  /** The kind of text; another kind ends it. */
  readonly what: string
  readonly window: TextWindow
  /** An event of the kind, to write more of it. */
  readonly last: TextEvent
}

const withText = (event: TextEvent, text: string): TextEvent => {
  switch (event._tag) {
    case "Text":
    case "Refusal":
    case "Reasoning":
      return { _tag: event._tag, choice: event.choice, text }
    case "ToolCallArguments":
      return { _tag: "ToolCallArguments", choice: event.choice, index: event.index, text }
  }
}

const whatOf = (event: TextEvent): string => (event._tag === "ToolCallArguments" ? `${event._tag} ${event.index}` : event._tag)

/** The guard of one answer. @category models @since 0.1.0 */
export class OutputGuard {
  private readonly patterns: ReadonlyArray<Pattern>
  private readonly action: "flag" | "redact" | "block"
  private readonly found: Set<string>
  private readonly saying = new Map<number, Saying>()
  private readonly blocked = new Set<number>()

  /** `found` is told what was found, as `output.pii.email` or `output.topic`. */
  constructor(rule: Rule, found: Set<string>) {
    this.patterns = [...(rule.pii === undefined ? [] : pii(rule.pii.kinds)), ...phrases(rule.deny)]
    this.action = rule.pii?.action ?? "flag"
    this.found = found
  }

  push(batch: ReadonlyArray<InferenceEvent>): ReadonlyArray<InferenceEvent> {
    const out: Array<InferenceEvent> = []
    for (const event of batch) {
      if (event._tag === "Usage") out.push(event)
      else if (event._tag === "Data") out.push(this.data(event))
      else if (!this.blocked.has(event.choice)) {
        if (isText(event)) this.text(event, out)
        else {
          this.flush(event.choice, out)
          if (!this.blocked.has(event.choice)) out.push(event)
        }
      }
    }
    return out
  }

  /** What was still held back: nothing follows. */
  end(): ReadonlyArray<InferenceEvent> {
    const out: Array<InferenceEvent> = []
    for (const choice of [...this.saying.keys()]) this.flush(choice, out)
    return out
  }

  private text(event: TextEvent, out: Array<InferenceEvent>): void {
    const what = whatOf(event)
    let current = this.saying.get(event.choice)
    if (current?.what !== what) {
      this.flush(event.choice, out)
      if (this.blocked.has(event.choice)) return
      const isJson = event._tag === "ToolCallArguments"
      const replaced = (kind: string, found: string) => (this.action === "redact" && kind !== "topic" ? mask(kind, found, isJson) : found)
      current = { what, window: new TextWindow(this.patterns, replaced), last: event }
      this.saying.set(event.choice, current)
    }
    this.pass(event, current.window.push(event.text), out)
    // What closes a thought comes after all of it.
    if (event._tag === "Reasoning" && (event.signature !== undefined || event.redacted !== undefined) && !this.blocked.has(event.choice)) {
      this.flush(event.choice, out)
      if (!this.blocked.has(event.choice)) out.push({ ...event, text: "" })
    }
  }

  private flush(choice: number, out: Array<InferenceEvent>): void {
    const current = this.saying.get(choice)
    if (current === undefined) return
    this.saying.delete(choice)
    this.pass(current.last, current.window.end(), out)
  }

  private pass(
    event: TextEvent,
    passed: { readonly text: string; readonly findings: ReadonlyArray<Finding> },
    out: Array<InferenceEvent>
  ): void {
    const blocking = this.note(passed.findings)
    if (blocking !== undefined) {
      this.saying.delete(event.choice)
      this.blocked.add(event.choice)
      const category = blocking.kind === "topic" ? "topic" : "pii"
      out.push({ _tag: "Finish", choice: event.choice, reason: "content_filter", safety: { blocked: true, categories: [category] } })
    } else if (passed.text !== "") out.push(withText(event, passed.text))
  }

  /** Writes down what was found; the first that must not pass. */
  private note(findings: ReadonlyArray<Finding>): Finding | undefined {
    for (const { kind } of findings) this.found.add(kind === "topic" ? "output.topic" : `output.pii.${kind}`)
    return findings.find(({ kind }) => kind === "topic" || this.action === "block")
  }

  /** The answer of another operation, which comes whole: what may not pass is replaced in its texts. */
  private data(event: Extract<InferenceEvent, { readonly _tag: "Data" }>): InferenceEvent {
    const rewrite = (value: Json.Json): Json.Json => {
      if (typeof value === "string" && value.length < 1_000_000) {
        const findings = scan(this.patterns, value)
        this.note(findings)
        return this.action === "flag" ? value : replace(value, findings, (kind, found) => mask(kind, found, false))
      }
      if (Json.isArray(value)) return typeof value[0] === "number" ? value : value.map(rewrite)
      if (!Json.isObject(value)) return value
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, key === "b64_json" || key === "url" || key === "embedding" ? item : rewrite(item)])
      )
    }
    const value = rewrite(event.value)
    return { _tag: "Data", value: Json.isObject(value) ? value : event.value }
  }
}

/** A whole answer. @category stages @since 0.1.0 */
export const whole = (rule: Rule | undefined, found: Set<string>, events: ReadonlyArray<InferenceEvent>): ReadonlyArray<InferenceEvent> => {
  if (rule === undefined) return events
  const guard = new OutputGuard(rule, found)
  return [...guard.push(events), ...guard.end()]
}

/** An answer in pieces. @category stages @since 0.1.0 */
export const stream =
  (rule: Rule | undefined, found: Set<string>) =>
  <E>(events: Stream.Stream<Arr.NonEmptyReadonlyArray<InferenceEvent>, E>): Stream.Stream<Arr.NonEmptyReadonlyArray<InferenceEvent>, E> => {
    if (rule === undefined) return events
    return Stream.suspend(() => {
      const guard = new OutputGuard(rule, found)
      return events.pipe(
        Stream.map((batch) => guard.push(batch)),
        Stream.concat(Stream.suspend(() => Stream.succeed(guard.end()))),
        Stream.filter(Arr.isReadonlyArrayNonEmpty)
      )
    })
  }
