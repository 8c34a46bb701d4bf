/**
 * Looks keys up that nothing is known of: all that are asked for at a moment in one statement, so that a flood of made-up
 * keys costs the database little however many there are.
 *
 * @since 0.1.0
 */
import { Deferred, Effect, Latch, type Scope } from "effect"

/** Hashes that one statement asks for, and those that may wait for one. */
const BATCH = 500
const WAITING = 5_000

/** Between two statements, in milliseconds. */
const PAUSE = 5

/** Too many wait already. @category errors @since 0.1.0 */
export const OVERLOADED = "overloaded"

/**
 * A look-up of one hash that shares statements with all others. `read` gives what it found; the rest are nobody's.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <A, E>(
  read: (hashes: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, A>, E>
): Effect.fn.Return<(hash: string) => Effect.Effect<A | "unknown", E | typeof OVERLOADED>, never, Scope.Scope> {
  const waiting = new Map<string, Deferred.Deferred<A | "unknown", E>>()
  const wake = Latch.makeUnsafe(false)

  const turn = Effect.gen(function* () {
    yield* wake.await
    const batch = [...waiting].slice(0, BATCH)
    if (batch.length === 0) return yield* wake.close
    // Who asks from now on wants to know what is true from now on.
    for (const [hash] of batch) waiting.delete(hash)
    const found = yield* Effect.exit(read(batch.map(([hash]) => hash)))
    for (const [hash, answer] of batch) {
      if (found._tag === "Failure") yield* Deferred.failCause(answer, found.cause)
      else yield* Deferred.succeed(answer, found.value.get(hash) ?? "unknown")
    }
    yield* Effect.sleep(PAUSE)
  })
  yield* Effect.forkScoped(Effect.forever(turn), { startImmediately: true })

  return (hash) =>
    Effect.suspend((): Effect.Effect<A | "unknown", E | typeof OVERLOADED> => {
      const shared = waiting.get(hash)
      if (shared !== undefined) return Deferred.await(shared)
      if (waiting.size >= WAITING) return Effect.fail(OVERLOADED)
      const answer = Deferred.makeUnsafe<A | "unknown", E>()
      waiting.set(hash, answer)
      wake.openUnsafe()
      return Deferred.await(answer)
    })
})
