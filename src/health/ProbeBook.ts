/**
 * What the database keeps of probes: which models are used, who probes what, and what that may cost.
 *
 * A probe is leased by its row, so that it is made once however many replicas look for what is due; whoever dies with a lease
 * lets the next one try when it lapses. No process leads the others.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import { HealthBookError, iso } from "./HealthBook.ts"

/** A model at a provider. @category models @since 0.1.0 */
export interface Place {
  readonly provider: string
  readonly model: string
}

/** What is known of a place; times are epoch milliseconds, null: never. @category models @since 0.1.0 */
export interface Watched extends Place {
  /** By a request or a probe of any replica. */
  readonly seenAt: number | null
  readonly probedAt: number | null
  /** It has an incident, or its latest call failed. */
  readonly isInTrouble: boolean
}

/** @category services @since 0.1.0 */
export class ProbeBook extends Context.Service<
  ProbeBook,
  {
    /** Requests of each model that was used in the day before. */
    readonly usage: (now: number) => Effect.Effect<ReadonlyMap<string, number>, HealthBookError>
    readonly watched: Effect.Effect<ReadonlyArray<Watched>, HealthBookError>
    /** Those of the places that the caller may probe now: nobody else does, nor has since `notSince`. */
    readonly claim: (
      now: number,
      places: ReadonlyArray<Place & { readonly notSince: number }>
    ) => Effect.Effect<ReadonlyArray<Place>, HealthBookError>
    /** Gives leases back, the probes made. */
    readonly done: (now: number, places: ReadonlyArray<Place>) => Effect.Effect<void, HealthBookError>
    /** Takes an amount in picodollars out of the day's; false when too little is left of it. */
    readonly spend: (now: number, amount: bigint, budget: bigint) => Effect.Effect<boolean, HealthBookError>
  }
>()("sluice/health/ProbeBook") {
  static readonly layer = Layer.effect(this, Effect.map(SqlClient.SqlClient, make))
}

const DAY = 86_400_000
/** Milliseconds until a probe that was claimed may be claimed again. */
const LEASE = 120_000

const Usage = Schema.Array(Schema.Struct({ model: Schema.String, requests: Schema.NumberFromString }))
const Places = Schema.Array(Schema.Struct({ provider: Schema.String, model: Schema.String }))
const Moment = Schema.NullOr(Schema.NumberFromString)
const WatchedRows = Schema.Array(
  Schema.Struct({ provider: Schema.String, model: Schema.String, seenAt: Moment, probedAt: Moment, isInTrouble: Schema.Boolean })
)

const ms = (column: string): string => `floor(extract(epoch FROM ${column}) * 1000)::text`

function make(sql: SqlClient.SqlClient): ProbeBook["Service"] {
  const failure = (error: unknown) => new HealthBookError({ message: messageOf(error).slice(0, 300) })
  const read = <S extends Schema.Decoder<unknown>>(schema: S, statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
    Effect.mapError(Effect.flatMap(statement, Schema.decodeUnknownEffect(schema)), failure)

  const usage = (now: number) =>
    Effect.map(
      read(
        Usage,
        sql`SELECT model, sum(requests)::text AS requests FROM usage_hours
          WHERE hour > ${iso(now - DAY)}::text::timestamptz AND model <> '' GROUP BY model`
      ),
      (rows) => new Map(rows.map((row) => [row.model, row.requests]))
    )

  const claim = (now: number, places: ReadonlyArray<Place & { readonly notSince: number }>) => {
    const wanted = places.map(({ model, notSince, provider }) => ({ provider, model, not_since: iso(notSince) }))
    return read(
      Places,
      sql`INSERT INTO model_health AS h (provider, model, probe_until)
        SELECT provider, model, ${iso(now + LEASE)}::text::timestamptz
        FROM jsonb_to_recordset(${JSON.stringify(wanted)}::text::jsonb) AS t (provider text, model text) ORDER BY provider, model
        ON CONFLICT (provider, model) DO UPDATE SET probe_until = excluded.probe_until
        WHERE (h.probe_until IS NULL OR h.probe_until <= ${iso(now)}::text::timestamptz)
          AND (h.probed_at IS NULL OR h.probed_at <= (SELECT not_since FROM jsonb_to_recordset(${JSON.stringify(wanted)}::text::jsonb)
            AS t (provider text, model text, not_since timestamptz) WHERE t.provider = h.provider AND t.model = h.model))
        RETURNING provider, model`
    )
  }

  const done = (now: number, places: ReadonlyArray<Place>) =>
    Effect.mapError(
      Effect.asVoid(
        sql`UPDATE model_health h SET probed_at = ${iso(now)}::text::timestamptz, probe_until = NULL
          FROM jsonb_to_recordset(${JSON.stringify(places)}::text::jsonb) AS t (provider text, model text)
          WHERE h.provider = t.provider AND h.model = t.model`
      ),
      failure
    )

  const spend = (now: number, amount: bigint, budget: bigint) =>
    Effect.map(
      Effect.mapError(
        sql`INSERT INTO probe_spending AS s (day, spent)
          SELECT (${iso(now)}::text::timestamptz AT TIME ZONE 'UTC')::date, ${String(amount)}::text::numeric
          WHERE ${String(amount)}::text::numeric <= ${String(budget)}::text::numeric
          ON CONFLICT (day) DO UPDATE SET spent = s.spent + excluded.spent WHERE s.spent + excluded.spent <= ${String(budget)}::text::numeric
          RETURNING day::text`,
        failure
      ),
      (rows) => rows.length > 0
    )

  return ProbeBook.of({
    usage,
    watched: read(
      WatchedRows,
      sql`SELECT h.provider, h.model, ${sql.literal(ms("h.seen_at"))} AS "seenAt", ${sql.literal(ms("h.probed_at"))} AS "probedAt",
          -- One failure is a suspicion: the next probe comes soon, whoever saw the failure.
          h.failures > 0 OR EXISTS (SELECT 1 FROM incidents i WHERE i.provider = h.provider AND i.model = h.model AND i.resolved_at IS NULL) AS "isInTrouble"
        FROM model_health h`
    ),
    claim,
    done,
    spend
  })
}
