/**
 * Sessions of users who logged in: begun and ended. A token is kept as its keyed hash only.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Redacted, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import { messageOf } from "../database/Failures.ts"
import * as Singletons from "../replicas/Singletons.ts"
import { type AccountsError, fromDatabase } from "./AccountsError.ts"
import { AuthCache } from "./AuthCache.ts"
import { KeyHasher } from "./KeyHasher.ts"

/** How a user proved to be one. @category models @since 0.1.0 */
export type SignInMethod = "password" | "email" | "google" | "phone" | "github" | "identity"

/** A session as it was just begun; the token is shown here only. @category models @since 0.1.0 */
export interface BegunSession {
  readonly token: Redacted.Redacted
  /** ISO-8601. */
  readonly expiresAt: string
}

/** @category services @since 0.1.0 */
export class Sessions extends Context.Service<
  Sessions,
  {
    readonly begin: (id: AccountId, method: SignInMethod) => Effect.Effect<BegunSession, AccountsError>
    /** Ends a session of an account, here at once. */
    readonly end: (id: AccountId, sessionId: string) => Effect.Effect<void, AccountsError>
  }
>()("sluice/identity/Sessions") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

/** What a session's token looks like. @category predicates @since 0.1.0 */
export const isSessionToken = (text: string): boolean => /^gws_[A-Za-z0-9_-]{43}$/.test(text)

const DAY = 86_400_000
const LIFE = 7 * DAY
const SWEEP_EVERY = 3_600_000
/** Sessions that one user may have at a time; the oldest make room. */
const AT_ONCE = 50

const Ended = Schema.Array(Schema.Struct({ id: Schema.String }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const hasher = yield* KeyHasher
  const cache = yield* AuthCache
  const random = yield* SecureRandom.SecureRandom

  const begin = Effect.fnUntraced(function* (id: AccountId, method: SignInMethod) {
    const token = Redacted.make(`gws_${Base64Url.encode(yield* random.randomBytes(32))}`)
    const expiresAt = new Date((yield* Clock.currentTimeMillis) + LIFE).toISOString()
    yield* sql`INSERT INTO sessions (id, user_id, token_hash, method, expires_at)
      VALUES (${yield* random.uuidV7()}, ${id}, ${hasher.hash(token)}, ${method}, ${expiresAt}::text::timestamptz)`
    const ended = yield* sql`UPDATE sessions SET ended_at = clock_timestamp() WHERE ended_at IS NULL AND id IN (
      SELECT id FROM sessions WHERE user_id = ${id} ORDER BY created_at DESC, id DESC OFFSET ${String(AT_ONCE)}::text::int) RETURNING id`
    if ((yield* Schema.decodeUnknownEffect(Ended)(ended)).length > 0) yield* cache.invalidate([id])
    return { token, expiresAt }
  }, Effect.mapError(fromDatabase))

  const end = Effect.fnUntraced(function* (id: AccountId, sessionId: string) {
    yield* sql`UPDATE sessions SET ended_at = clock_timestamp() WHERE id = ${sessionId} AND user_id = ${id} AND ended_at IS NULL`
    yield* cache.invalidate([id])
  }, Effect.mapError(fromDatabase))

  const sweep = Effect.gen(function* () {
    const now = new Date(yield* Clock.currentTimeMillis).toISOString()
    yield* sql`DELETE FROM sessions WHERE expires_at < ${now}::text::timestamptz`
  }).pipe(Effect.catch((error) => Effect.logWarning(`Expired sessions could not be removed: ${messageOf(error).slice(0, 300)}`)))
  yield* Singletons.every("ended sessions", SWEEP_EVERY, sweep)

  return Sessions.of({ begin, end })
})
