/**
 * One provider's stream, opened as far as its first content.
 *
 * @since 0.1.0
 */
import { Array as Arr, Clock, Effect, Exit, type Pull, Scope } from "effect"
import { type InferenceEvent, isContent } from "../../schemas/Inference.ts"
import { ProviderAnswer, ProviderError } from "../../schemas/Provider.ts"
import * as Source from "../streams/Source.ts"
import type { AttemptSpan } from "./AttemptSpan.ts"
import type { Permit } from "./Breakers.ts"
import type { AnswerStream, ProviderAdapter, ProviderCall } from "./ProviderAdapter.ts"

/** Events that one read brought. @category models @since 0.1.0 */
export type Batch = Arr.NonEmptyReadonlyArray<InferenceEvent>

/** @category models @since 0.1.0 */
export type Batches = Pull.Pull<Arr.NonEmptyReadonlyArray<Batch>, ProviderError>

/** A stream that has begun. @category models @since 0.1.0 */
export interface Begun {
  /** What has come already, the first content last. */
  readonly head: Arr.NonEmptyReadonlyArray<Batch>
  /** What comes after it. */
  readonly source: AnswerStream
  /** What the circuit is told when the stream has ended; a caller who leaves before says nothing of the provider. */
  readonly permit: Permit
  readonly startedAt: number
  /** Lets the provider go. */
  readonly close: Effect.Effect<void>
}

/** Whether a finish reason alone is an answer: there is no content, and it says why. */
const excuses = (event: InferenceEvent): boolean =>
  event._tag === "Finish" && (event.reason === "content_filter" || event.reason === "length")

/** Reads until something opens the stream, or fails where it ends before. */
const readHead = (provider: string, batches: Batches, opens: (event: InferenceEvent) => boolean) => {
  const read = (before: ReadonlyArray<Batch>): Effect.Effect<Arr.NonEmptyReadonlyArray<Batch>, ProviderError> =>
    Effect.matchEffect(batches, {
      onSuccess: (more) => {
        const head = Arr.appendAll(before, more)
        return more.some((batch) => batch.some(opens)) ? Effect.succeed(head) : read(head)
      },
      onFailure: (error) => {
        if (error._tag !== "Done") return Effect.fail(error)
        const reason = new ProviderAnswer({ fault: "empty", message: "the stream ended without content" })
        return Effect.fail(new ProviderError({ provider, reason }))
      }
    })
  return read([])
}

/** Lets a span see what passes, and what it fails with. */
const seen = (batches: Batches, span: AttemptSpan): Batches =>
  batches.pipe(
    Effect.tap((read) =>
      Effect.sync(() => {
        for (const batch of read) span.read(batch)
      })
    ),
    Effect.tapError((error) =>
      Effect.sync(() => {
        if (error._tag === "ProviderError") span.fail(error)
      })
    )
  )

/**
 * Opens a stream in a Scope of its own under the request's, and reads until content has come. Failing before that closes
 * the Scope: the provider is let go before the next one is asked. A continuation may have nothing to add, so there a finish
 * reason is enough.
 *
 * @category running
 * @since 0.1.0
 */
export const open =
  (parent: Scope.Scope, isContinuation: boolean) =>
  (adapter: ProviderAdapter, call: ProviderCall, permit: Permit, span: AttemptSpan | null): Effect.Effect<Begun, ProviderError> =>
    Effect.gen(function* () {
      const scope = yield* Scope.fork(parent)
      if (span !== null) yield* Scope.addFinalizerExit(scope, span.end)
      const opens = (event: InferenceEvent) => isContent(event) || (isContinuation ? event._tag === "Finish" : excuses(event))
      const opened = Effect.gen(function* () {
        const startedAt = yield* Clock.currentTimeMillis
        const answer = yield* adapter.stream(call)
        const source = span === null ? answer : Source.fromPull(seen(answer.pull, span))
        const head = yield* readHead(call.provider.definition.slug, source.pull, opens)
        if (permit.probe)
          yield* Scope.addFinalizer(
            scope,
            Effect.suspend(() => permit.tell("ignored"))
          )
        return { head, source, permit, startedAt, close: Scope.close(scope, Exit.void) }
      })
      const asked = span === null ? opened : Effect.tapError(opened, (error) => Effect.sync(() => span.fail(error)))
      return yield* asked.pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.onExit((exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
      )
    })
