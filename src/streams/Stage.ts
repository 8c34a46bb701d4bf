/**
 * One stage of a stream that does what map, catch and concat do together. Each of those keeps some hundred bytes and a Scope
 * for every stream that is open, and costs its part of every batch.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Cause, Effect, Pull, Result, Stream } from "effect"
import { fromPull, type Source } from "./Source.ts"

/** @category models @since 0.1.0 */
export interface Steps<A, E, B, E2> {
  /** What becomes of the pieces that one read brought. */
  readonly each: (pieces: Arr.NonEmptyReadonlyArray<A>) => Arr.NonEmptyReadonlyArray<B>
  /** Runs when all has come; what it gives is the last piece, null for none. */
  readonly end: Effect.Effect<B | null, E2>
  /** Runs instead when the stream failed; what it gives is the last piece. */
  readonly failed: (error: E) => Effect.Effect<B, E2>
}

/** Steps that pass pieces on as they are, or others in their place, and fail as the stream did once they have seen to it. @category models @since 0.1.0 */
export interface Watching<A, E> {
  readonly each: (pieces: Arr.NonEmptyReadonlyArray<A>) => Arr.NonEmptyReadonlyArray<A>
  readonly end: Effect.Effect<void, E>
  readonly failed: (error: E) => Effect.Effect<never, E>
}

/** Two steps as one: what a stage costs each read is paid once. @category combinators @since 0.1.0 */
export const joined = <A, E, B, E2>(first: Watching<A, E>, then: Steps<A, E, B, E2>): Steps<A, E, B, E2> => ({
  each: (pieces) => then.each(first.each(pieces)),
  end: Effect.matchEffect(first.end, { onSuccess: () => then.end, onFailure: then.failed }),
  failed: (error) => Effect.catch(first.failed(error), then.failed)
})

/** Steps that change nothing. @category constructors @since 0.1.0 */
export const unchanged = <A, E>(): Steps<A, E, A, E> => ({ each: (pieces) => pieces, end: Effect.succeed(null), failed: Effect.fail })

type PullOf<A, E> = Pull.Pull<Arr.NonEmptyReadonlyArray<A>, E>

/** The stage on what a stream is read from. @category combinators @since 0.1.0 */
export const staged = <A, E, B, E2>(source: Source<A, E>, steps: Steps<A, E, B, E2>): Source<B, E2> => {
  let isOver = false
  const last = (piece: B | null): PullOf<B, E2> => {
    isOver = true
    return piece === null ? Cause.done() : Effect.succeed([piece])
  }
  const step = Pull.matchEffect(source.pull, {
    onSuccess: (pieces): PullOf<B, E2> => Effect.succeed(steps.each(pieces)),
    onFailure: (cause): PullOf<B, E2> => {
      const found = Cause.findError(cause)
      return Result.isSuccess(found) ? Effect.flatMap(steps.failed(found.success), last) : Effect.failCause(found.failure)
    },
    onDone: () => Effect.flatMap(steps.end, last)
  })
  return {
    pull: Effect.suspend(() => (isOver ? Cause.done() : step)),
    flow: (take) => Effect.suspend(() => (isOver ? Effect.void : source.flow((pieces) => take(steps.each(pieces)))))
  }
}

/** @category combinators @since 0.1.0 */
export const stage = <A, E, B, E2>(self: Stream.Stream<A, E>, steps: Steps<A, E, B, E2>): Stream.Stream<B, E2> =>
  Stream.transformPull(self, (pull) => Effect.sync(() => staged(fromPull(pull), steps).pull))
