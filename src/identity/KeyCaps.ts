/**
 * Keys that may make so many requests and no more. The database counts; a process takes some at a time and gives back what
 * it did not use, so that few requests wait for it and none passes the cap.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema, Semaphore } from "effect"
import { SqlClient } from "effect/sql"
import type { Caller } from "../../schemas/Account.ts"
import { messageOf } from "../database/Failures.ts"

/** The key has made all the requests that it may. @category errors @since 0.1.0 */
export class KeyUsedUp extends Schema.TaggedError<KeyUsedUp>()("KeyUsedUp", { maxRequests: Schema.Number }) {}

/** What a key used could not be looked up. @category errors @since 0.1.0 */
export class KeyCapUnknown extends Schema.TaggedError<KeyCapUnknown>()("KeyCapUnknown", {}) {}

/** @category services @since 0.1.0 */
export class KeyCaps extends Context.Service<
  KeyCaps,
  {
    /** Counts a request of a key that has a cap, or refuses it. */
    readonly admit: (caller: Caller) => Effect.Effect<void, KeyUsedUp | KeyCapUnknown>
  }
>()("sluice/identity/KeyCaps") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** A process takes a twentieth of what is left, at most so many; the last ones singly. */
const SHARE = "20"
const MOST = "50"
/** What was not used for so long is given back, in milliseconds. */
const IDLE = 1_000

interface Taken {
  readonly turn: Semaphore.Semaphore
  readonly cap: number
  left: number
  isIdle: boolean
}

const Granted = Schema.Array(Schema.Struct({ granted: Schema.NumberFromString }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const keys = new Map<string, Taken>()

  const take = Effect.fnUntraced(
    function* (keyId: string) {
      const rows = yield* sql`UPDATE api_keys SET requests_used = requests_used + part.size
        FROM (SELECT id, least(${MOST}::text::bigint, greatest(1, (max_requests - requests_used) / ${SHARE}::text::bigint)) AS size
          FROM api_keys WHERE id = ${keyId} AND requests_used < max_requests FOR UPDATE) AS part
        WHERE api_keys.id = part.id RETURNING part.size::text AS granted`
      return (yield* Schema.decodeUnknownEffect(Granted)(rows))[0]?.granted ?? 0
    },
    Effect.mapError(() => new KeyCapUnknown())
  )

  const giveBack = (keyId: string, taken: Taken) =>
    Effect.suspend(() => {
      const { left } = taken
      taken.left = 0
      if (keys.get(keyId) === taken) keys.delete(keyId)
      if (left === 0) return Effect.void
      return Effect.catch(
        sql`UPDATE api_keys SET requests_used = greatest(0, requests_used - ${String(left)}::text::bigint) WHERE id = ${keyId}`,
        (error) => Effect.logWarning(`${left} requests of a key could not be given back: ${messageOf(error).slice(0, 300)}`)
      )
    })

  const admit = Effect.fnUntraced(function* (caller: Caller) {
    const { keyId, maxRequests } = caller
    if (maxRequests === null) return
    const found = keys.get(keyId)
    // Another cap begins anew.
    if (found !== undefined && found.cap !== maxRequests) yield* giveBack(keyId, found)
    const taken = keys.get(keyId) ?? { turn: yield* Semaphore.make(1), cap: maxRequests, left: 0, isIdle: false }
    keys.set(keyId, taken)
    taken.isIdle = false
    if (taken.left > 0) {
      taken.left--
      return
    }
    const counted = yield* taken.turn.withPermits(1)(
      Effect.gen(function* () {
        if (taken.left === 0) {
          taken.left = yield* take(keyId)
          keys.set(keyId, taken)
        }
        if (taken.left === 0) return false
        taken.left--
        return true
      })
    )
    if (!counted) return yield* new KeyUsedUp({ maxRequests })
  })

  const tidy = Effect.forEach(
    keys,
    ([keyId, taken]) => {
      if (taken.isIdle) return giveBack(keyId, taken)
      taken.isIdle = true
      return Effect.void
    },
    { discard: true }
  )
  yield* Effect.addFinalizer(() => Effect.forEach(keys, ([keyId, taken]) => giveBack(keyId, taken), { discard: true }))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(IDLE), tidy)))
  return KeyCaps.of({ admit })
})
