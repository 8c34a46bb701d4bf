/**
 * One stage of a stream that does what map, catch and concat do together. Each of those keeps some hundred bytes and a Scope
 * for every stream that is open, and costs its part of every batch.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Cause, Effect, Pull, Result, Stream } from "effect"

/** @category models @since 0.1.0 */
export interface Steps<A, E, B, E2> {
  /** What becomes of the pieces that one read brought. */
  readonly each: (pieces: Arr.NonEmptyReadonlyArray<A>) => Arr.NonEmptyReadonlyArray<B>
  /** Runs when all has come; what it gives is the last piece, null for none. */
  readonly end: Effect.Effect<B | null, E2>
  /** Runs instead when the stream failed; what it gives is the last piece. */
  readonly failed: (error: E) => Effect.Effect<B, E2>
}

/** @category combinators @since 0.1.0 */
export const stage = <A, E, B, E2>(self: Stream.Stream<A, E>, steps: Steps<A, E, B, E2>): Stream.Stream<B, E2> =>
  Stream.transformPull(self, (pull) =>
    Effect.sync(() => {
      let isOver = false
      const last = (piece: B | null): Pull.Pull<Arr.NonEmptyReadonlyArray<B>, E2> => {
        isOver = true
        return piece === null ? Cause.done() : Effect.succeed([piece])
      }
      const step = Pull.matchEffect(pull, {
        onSuccess: (pieces): Pull.Pull<Arr.NonEmptyReadonlyArray<B>, E2> => Effect.succeed(steps.each(pieces)),
        onFailure: (cause): Pull.Pull<Arr.NonEmptyReadonlyArray<B>, E2> => {
          const found = Cause.findError(cause)
          return Result.isSuccess(found) ? Effect.flatMap(steps.failed(found.success), last) : Effect.failCause(found.failure)
        },
        onDone: () => Effect.flatMap(steps.end, last)
      })
      return Effect.suspend(() => (isOver ? Cause.done() : step))
    })
  )
