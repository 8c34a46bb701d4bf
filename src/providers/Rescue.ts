/**
 * A stream that outlives its provider: when one breaks off after content has left, the next goes on from there.
 *
 * @since 0.1.0
 */
import { Array as Arr, Cause, Effect } from "effect"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { ProviderError } from "../../schemas/Provider.ts"
import { Rest, SentText } from "../streams/SentText.ts"
import { type AttemptLog, breakOff } from "./AttemptLog.ts"
import { isContinuable, wholeUsage } from "./Continuation.ts"
import { breakerOutcome, errorCode } from "./FailurePolicy.ts"
import type { AnswerStream } from "./ProviderAdapter.ts"
import type { Batch, Batches, Begun } from "./StreamAttempt.ts"

/** @category models @since 0.1.0 */
export interface RescueOptions {
  readonly request: InferenceRequest
  readonly log: AttemptLog
  /** Asks whoever is left to go on from the text; null when nobody could. */
  readonly askNext: (sent: string) => Effect.Effect<Begun | null>
}

type Given = Arr.NonEmptyReadonlyArray<Batch>

/** The stream that the caller reads now. */
interface Reading {
  readonly begun: Begun
  /** How its events go on from what was sent before; null: they are the first. */
  readonly continues: { readonly sent: string; readonly rest: Rest } | null
}

type Continues = NonNullable<Reading["continues"]>

/** A provider's events as they follow what was sent, figures as those of the whole; null when they do not follow. */
const follow = ({ rest, sent }: Continues, request: InferenceRequest, batch: Batch): ReadonlyArray<InferenceEvent> | null => {
  const events = rest.push(batch)
  if (events === null || !events.some((event) => event._tag === "Usage")) return events
  const joint = { sent, repeated: rest.repeated }
  return events.map((event) => (event._tag === "Usage" ? { _tag: "Usage", usage: wholeUsage(event.usage, request, joint) } : event))
}

/**
 * Watches a stream to its end and tells the circuits. Fails with the last provider's failure when nobody could go on; never
 * ends as if whole when it is not.
 *
 * @category running
 * @since 0.1.0
 */
export const watch = (first: Begun, options: RescueOptions): AnswerStream => {
  const { log, request } = options
  const sent = new SentText(request.choices)
  let reading: Reading = { begun: first, continues: null }
  /** What of it has come and was not read yet. */
  let unread: ReadonlyArray<Batch> = first.head
  /** Why the answer needs another provider. */
  let failure: ProviderError | null = null
  let misfits = false

  /** Lets the provider of now go and hands over to another, if there is one. */
  const handOver = (error: ProviderError): Batches =>
    Effect.gen(function* () {
      yield* breakOff(log, misfits ? "answer_not_continued" : errorCode(error), reading.begun.startedAt)
      yield* reading.begun.permit.tell(misfits ? "ignored" : breakerOutcome(error))
      yield* reading.begun.close
      failure = error
      misfits = false
      const text = sent.continuable
      const next = text === null || !isContinuable(request) ? null : yield* options.askNext(text)
      if (text === null || next === null) return yield* Effect.fail(error)
      reading = { begun: next, continues: { sent: text, rest: new Rest(text) } }
      unread = next.head
      return yield* pull
    })

  const failed = (error: ProviderError): Batches => {
    if (!sent.isWhole) return handOver(error)
    // The caller has every finish reason: what breaks after that breaks nothing, and nothing to add was an answer.
    const hadNothingToAdd = reading.continues !== null && error.reason._tag === "ProviderAnswer" && error.reason.fault === "empty"
    return Effect.andThen(reading.begun.permit.tell(hadNothingToAdd ? "success" : breakerOutcome(error)), Cause.done())
  }

  const read = (batches: Given): Batches => {
    const { continues } = reading
    const out: Array<Batch> = []
    for (const batch of batches) {
      const events = continues === null ? batch : follow(continues, request, batch)
      misfits = events === null
      if (events === null) break
      if (!Arr.isReadonlyArrayNonEmpty(events)) continue
      sent.feed(events)
      out.push(events)
    }
    return Arr.isReadonlyArrayNonEmpty(out) ? Effect.succeed(out) : pull
  }

  const steps = {
    onSuccess: read,
    onFailure: (error: ProviderError | Cause.Done): Batches =>
      error._tag === "ProviderError" ? failed(error) : Effect.andThen(reading.begun.permit.tell("success"), Effect.fail(error))
  }

  const pull: Batches = Effect.suspend(() => {
    if (misfits && failure !== null) return handOver(failure)
    if (!Arr.isReadonlyArrayNonEmpty(unread)) return Effect.matchEffect(reading.begun.source.pull, steps)
    const head = unread
    unread = []
    return read(head)
  })
  /** What goes on from another's text is looked at before it is passed on. */
  const flow: AnswerStream["flow"] = (take) =>
    Effect.suspend(() => {
      if (reading.continues !== null || Arr.isReadonlyArrayNonEmpty(unread)) return Effect.void
      return reading.begun.source.flow((batches) => {
        for (const batch of batches) sent.feed(batch)
        return take(batches)
      })
    })
  return { pull, flow }
}
