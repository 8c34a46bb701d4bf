/**
 * Looks for what other replicas changed, for when nobody tells.
 *
 * @since 0.1.0
 */
import { Effect, Schedule, Schema } from "effect"
import type { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import type { AuthCache } from "./AuthCache.ts"

const Changed = Schema.Array(Schema.Struct({ user_id: Schema.String, change: Schema.String }))
const Mark = Schema.Tuple([Schema.Struct({ now: Schema.String })])

/** How far back is looked, since a change is dated before it can be seen: longer than any transaction may take. */
const OVERLAP = "12 seconds"

/**
 * Forgets what was changed, every `pollMs`. What cannot be asked is asked again, from where the last answer ended.
 *
 * @category constructors
 * @since 0.1.0
 */
export const watchChanges = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, cache: AuthCache["Service"], pollMs: number) {
  const mark = Effect.map(
    Effect.flatMap(sql`SELECT (clock_timestamp() - ${OVERLAP}::text::interval)::text AS now`, Schema.decodeUnknownEffect(Mark)),
    ([row]) => row.now
  )
  let since = yield* Effect.retry(mark, { schedule: Schedule.spaced(pollMs) })
  let seen: ReadonlySet<string> = new Set()
  const poll = Effect.gen(function* () {
    const next = yield* mark
    const rows = yield* sql`SELECT user_id, 'key ' || changed_at AS change FROM api_keys WHERE changed_at > ${since}::text::timestamptz
      UNION ALL SELECT id, 'user ' || changed_at FROM users WHERE changed_at > ${since}::text::timestamptz
      UNION ALL SELECT user_id, 'session ' || ended_at FROM sessions WHERE ended_at > ${since}::text::timestamptz`
    const changed = yield* Schema.decodeUnknownEffect(Changed)(rows)
    // Every change is seen for as long as the overlap lasts; it counts the first time.
    const fresh = changed.filter((row) => !seen.has(`${row.user_id} ${row.change}`))
    if (fresh.length > 0) yield* cache.forget(fresh.map((row) => row.user_id))
    seen = new Set(changed.map((row) => `${row.user_id} ${row.change}`))
    since = next
  })
  const careful = Effect.catch(poll, (error) =>
    Effect.logWarning(`Changed keys could not be looked for: ${messageOf(error).slice(0, 300)}`)
  )
  return yield* Effect.forever(Effect.andThen(Effect.sleep(pollMs), careful))
})
