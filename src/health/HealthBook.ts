/**
 * What the database keeps of health: reports of calls, incidents, and the state that other replicas found.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { HealthState, Incident } from "../../schemas/Health.ts"
import { messageOf } from "../database/Failures.ts"
import type { HeardState } from "./HealthBoard.ts"

/** The database could not be asked. @category errors @since 0.1.0 */
export class HealthBookError extends Schema.TaggedError<HealthBookError>()("HealthBookError", { message: Schema.String }) {}

/** What some calls of a model at a provider came to. @category models @since 0.1.0 */
export interface ModelReport {
  readonly provider: string
  readonly model: string
  /** When the latest of them ended. */
  readonly at: number
  readonly successes: number
  readonly failures: number
  readonly probes: number
  /** Of all of them together. */
  readonly latency_ms: number
  /** Failures since the last success among them. */
  readonly run: number
  readonly state: HealthState
  readonly error: string | null
}

/** What some requests of a plan came to. @category models @since 0.1.0 */
export interface PlanReport {
  readonly plan: string
  readonly successes: number
  readonly failures: number
}

/** Which incidents, newest first. @category models @since 0.1.0 */
export interface IncidentQuery {
  readonly limit: number
  readonly cursor: string | null
  readonly status?: Incident["status"] | undefined
  readonly provider?: string | undefined
  readonly model?: string | undefined
}

/** @category services @since 0.1.0 */
export class HealthBook extends Context.Service<
  HealthBook,
  {
    /** Writes what calls came to, and opens, worsens and ends incidents by it. Times are epoch milliseconds. */
    readonly report: (
      at: number,
      models: ReadonlyArray<ModelReport>,
      plans: ReadonlyArray<PlanReport>
    ) => Effect.Effect<void, HealthBookError>
    /** What was found since, by anybody. */
    readonly statesSince: (at: number) => Effect.Effect<ReadonlyArray<HeardState>, HealthBookError>
    readonly incidents: (
      query: IncidentQuery
    ) => Effect.Effect<{ readonly data: ReadonlyArray<Incident>; readonly next: string | null }, HealthBookError>
    /** Ends incidents of models that nobody asked since, and forgets what is older than that by a year. */
    readonly sweep: (now: number) => Effect.Effect<void, HealthBookError>
  }
>()("sluice/health/HealthBook") {
  static readonly layer = Layer.effect(this, Effect.map(SqlClient.SqlClient, make))
}

const DAY = 86_400_000
/** An incident of a model that nobody asked for so long is over. */
const SILENCE = DAY
/** Sums by hour and incidents are kept so long. */
const KEPT = 400 * DAY
const STATES_MAX = 4_096

/** A moment as the database takes it. @category conversions @since 0.1.0 */
export const iso = (ms: number): string => new Date(ms).toISOString()

const at = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

const incidentColumns = `seq::text AS place, id, provider, model, severity, CASE WHEN resolved_at IS NULL THEN 'open' ELSE 'resolved' END AS status,
  failures, error, ${at("opened_at")} AS opened_at, ${at("updated_at")} AS updated_at, ${at("resolved_at")} AS resolved_at, resolution`

const States = Schema.Array(
  Schema.Struct({ provider: Schema.String, model: Schema.String, state: HealthState, at: Schema.NumberFromString })
)
const Incidents = Schema.Array(Schema.Struct({ ...Incident.fields, place: Schema.String }))

function make(sql: SqlClient.SqlClient): HealthBook["Service"] {
  const failure = (error: unknown) => new HealthBookError({ message: messageOf(error).slice(0, 300) })
  const read = <S extends Schema.Decoder<unknown>>(schema: S, statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
    Effect.mapError(Effect.flatMap(statement, Schema.decodeUnknownEffect(schema)), failure)

  const incidents = Effect.fnUntraced(function* (query: IncidentQuery) {
    const wanted = [sql`seq > 0`]
    if (query.cursor !== null && /^\d{1,18}$/.test(query.cursor)) wanted.push(sql`seq < ${query.cursor}::text::bigint`)
    if (query.status !== undefined) wanted.push(query.status === "open" ? sql`resolved_at IS NULL` : sql`resolved_at IS NOT NULL`)
    if (query.provider !== undefined) wanted.push(sql`provider = ${query.provider}`)
    if (query.model !== undefined) wanted.push(sql`model = ${query.model}`)
    const rows = yield* read(
      Incidents,
      sql`SELECT ${sql.literal(incidentColumns)} FROM incidents WHERE ${sql.and(wanted)} ORDER BY seq DESC LIMIT ${String(query.limit + 1)}::text::int`
    )
    const page = rows.slice(0, query.limit)
    return {
      data: page.map(({ place: _, ...incident }) => incident),
      next: rows.length > query.limit ? (page.at(-1)?.place ?? null) : null
    }
  })

  const sweep = Effect.fnUntraced(function* (now: number) {
    yield* sql`UPDATE incidents SET resolved_at = ${iso(now)}::text::timestamptz, resolution = 'no_news'
      WHERE resolved_at IS NULL AND updated_at < ${iso(now - SILENCE)}::text::timestamptz`
    yield* sql`DELETE FROM health_hours WHERE hour < ${iso(now - KEPT)}::text::timestamptz`
    yield* sql`DELETE FROM incidents WHERE resolved_at < ${iso(now - KEPT)}::text::timestamptz`
  })

  return HealthBook.of({
    report: (now, models, plans) =>
      Effect.mapError(
        Effect.asVoid(
          sql`SELECT health_report(${iso(now)}::text::timestamptz, ${JSON.stringify(models.map((row) => ({ ...row, at: iso(row.at) })))}::text::jsonb, ${JSON.stringify(plans)}::text::jsonb)`
        ),
        failure
      ),
    statesSince: (since) =>
      read(
        States,
        sql`SELECT provider, model, state, floor(extract(epoch FROM seen_at) * 1000)::text AS at FROM model_health
          WHERE seen_at > ${iso(since)}::text::timestamptz ORDER BY seen_at DESC LIMIT ${String(STATES_MAX)}::text::int`
      ),
    incidents,
    sweep: (now) => Effect.mapError(sweep(now), failure)
  })
}
