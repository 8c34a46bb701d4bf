/**
 * How much models are used by everybody together: read from the sums of hours, and kept for a while.
 *
 * @since 0.1.0
 */
import { Cache, Clock, Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { RequestLog } from "./RequestLog.ts"
import { fromDatabase, type UsageReportsError } from "./UsageReports.ts"

/** Answered requests of all accounts. @category models @since 0.1.0 */
export interface Traffic {
  readonly model: string
  /** In the latest day. */
  readonly requests: number
  /** In the day before. */
  readonly before: number
}

/** @category services @since 0.1.0 */
export class ModelTraffic extends Context.Service<
  ModelTraffic,
  {
    /** The most used first; at most a minute old. */
    readonly latest: Effect.Effect<ReadonlyArray<Traffic>, UsageReportsError>
  }
>()("sluice/usage/ModelTraffic") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

const HOUR = 3_600_000
const DAY = 24 * HOUR
const KEPT = 60_000
const MODELS = 1_000

const Rows = Schema.Array(Schema.Struct({ model: Schema.String, requests: Schema.NumberFromString, before: Schema.NumberFromString }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const log = yield* RequestLog
  const read = Effect.gen(function* () {
    yield* log.flush
    // Whole hours: the one that runs, and the 23 before it.
    const since = Math.floor((yield* Clock.currentTimeMillis) / HOUR) * HOUR - DAY + HOUR
    const [from, before] = [new Date(since).toISOString(), new Date(since - DAY).toISOString()]
    const rows =
      yield* sql`SELECT model, sum(CASE WHEN hour >= ${from}::text::timestamptz THEN requests - errors ELSE 0 END)::text AS requests,
        sum(CASE WHEN hour < ${from}::text::timestamptz THEN requests - errors ELSE 0 END)::text AS before
      FROM usage_hours WHERE hour >= ${before}::text::timestamptz AND model <> '' GROUP BY model
      ORDER BY sum(CASE WHEN hour >= ${from}::text::timestamptz THEN requests - errors ELSE 0 END) DESC, model
      LIMIT ${String(MODELS)}::text::int`
    return (yield* Schema.decodeUnknownEffect(Rows)(rows)).filter(({ requests }) => requests > 0)
  }).pipe(Effect.mapError(fromDatabase))
  // One reading for all who ask at once; a failure is not kept.
  const kept = yield* Cache.makeWith((_: "latest") => read, {
    capacity: 1,
    timeToLive: (exit) => (exit._tag === "Success" ? KEPT : 0)
  })
  return ModelTraffic.of({ latest: Cache.get(kept, "latest") })
})
