/**
 * The body of an answer as a transport gives it: these pieces, one for each read.
 */
import { type Array as Arr, Cause, Effect, type Pull } from "effect"
import { fromPull, type Source } from "../../src/streams/Source.ts"

export const sourceOf = (pieces: Iterable<Uint8Array>): Source<Uint8Array, never> => {
  const left = [...pieces]
  return fromPull<Uint8Array, never>(
    Effect.suspend((): Pull.Pull<Arr.NonEmptyReadonlyArray<Uint8Array>> => {
      const next = left.shift()
      return next === undefined ? Cause.done() : Effect.succeed([next])
    })
  )
}
