/**
 * What providers listed when they were last asked: kept in the database, read through a cache.
 *
 * @since 0.1.0
 */
import { Cache, Context, Duration, Effect, Exit, Layer, Schema } from "effect"
import { Digest } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import { ListedRow } from "./ProviderListing.ts"

/** The database could not be asked. @category errors @since 0.1.0 */
export class ProviderListsError extends Schema.TaggedError<ProviderListsError>()("ProviderListsError", { message: Schema.String }) {}

/** What writing a list changed. @category models @since 0.1.0 */
export interface ListChanges {
  readonly added: number
  readonly changed: number
  readonly unchanged: number
  readonly deactivated: number
}

/** Milliseconds that a list is kept in memory. */
const KEPT = 1_800_000
const PROVIDERS = 256
/** Reads in which a model has to be absent before it is no longer served. */
const ABSENCES = 3
/** Rows of one statement. */
const BATCH = 250
/** Seconds that reading a list may take before another process may try. */
const LEASE = 90

/** @category services @since 0.1.0 */
export class ProviderLists extends Context.Service<
  ProviderLists,
  {
    /** The models of a provider's list that are served; from memory for half an hour, else from the database. */
    readonly get: (provider: string) => Effect.Effect<ReadonlyArray<ListedRow>, ProviderListsError>
    /** Providers whose list is kept. */
    readonly providers: Effect.Effect<ReadonlyArray<string>, ProviderListsError>
    /** When each provider's list was last read whole, by anybody: something else than before says that there may be news. */
    readonly readAt: Effect.Effect<ReadonlyMap<string, string>, ProviderListsError>
    /** Leave to read a provider's list: one process at a time, not sooner than `everyMs` after it was last read whole, nor than `againMs` after that was last tried. */
    readonly claim: (provider: string, holder: string, everyMs: number, againMs: number) => Effect.Effect<boolean, ProviderListsError>
    /** Gives the leave back, with what became of it. */
    readonly release: (
      provider: string,
      holder: string,
      end: { readonly ok: boolean; readonly status: string; readonly error: string | null }
    ) => Effect.Effect<void, ProviderListsError>
    /** Keeps a list that was read whole. */
    readonly write: (provider: string, rows: ReadonlyArray<ListedRow>) => Effect.Effect<ListChanges, ProviderListsError>
    /** Forgets what memory has of a provider. */
    readonly forget: (provider: string) => Effect.Effect<void>
  }
>()("sluice/catalog/ProviderLists") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

const failure = (error: unknown) => new ProviderListsError({ message: messageOf(error).slice(0, 300) })

const Details = Schema.Array(Schema.Struct({ details: Schema.fromJsonString(ListedRow) }))
const Names = Schema.Array(Schema.Struct({ provider: Schema.String }))
const Reads = Schema.Array(Schema.Struct({ provider: Schema.String, at: Schema.String }))
const Known = Schema.Array(Schema.Struct({ native_id: Schema.String, hash: Schema.String, active: Schema.Boolean, absent: Schema.Int }))

interface Written extends ListedRow {
  readonly hash: string
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const digest = yield* Digest.Digest

  const read = <S extends Schema.Decoder<unknown>>(schema: S, statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
    Effect.mapError(Effect.flatMap(statement, Schema.decodeUnknownEffect(schema)), failure)

  const lists = yield* Cache.makeWith(
    (provider: string) =>
      Effect.map(
        read(
          Details,
          sql`SELECT details::text AS details FROM provider_list_rows WHERE provider = ${provider} AND active ORDER BY native_id`
        ),
        (rows) => rows.map((row) => row.details)
      ),
    { capacity: PROVIDERS, timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.millis(KEPT) : Duration.zero) }
  )

  const claim = Effect.fnUntraced(function* (provider: string, holder: string, everyMs: number, againMs: number) {
    yield* sql`INSERT INTO provider_lists (provider) VALUES (${provider}) ON CONFLICT DO NOTHING`
    const rows = yield* sql`UPDATE provider_lists
      SET started_at = clock_timestamp(), lease = ${holder}, leased_until = clock_timestamp() + ${String(LEASE)}::text::int * interval '1 second'
      WHERE provider = ${provider} AND (leased_until IS NULL OR leased_until < clock_timestamp())
        AND (succeeded_at IS NULL OR succeeded_at <= clock_timestamp() - ${String(everyMs)}::text::bigint * interval '1 millisecond')
        AND (started_at IS NULL OR started_at <= clock_timestamp() - ${String(againMs)}::text::bigint * interval '1 millisecond')
      RETURNING provider`
    return rows.length > 0
  })

  const upsert = (provider: string, rows: ReadonlyArray<Written>) => {
    const values = JSON.stringify(rows.map(({ hash, ...details }) => ({ native_id: details.nativeId, hash, details })))
    return sql`INSERT INTO provider_list_rows (provider, native_id, hash, details)
      SELECT ${provider}::text, native_id, hash, details FROM jsonb_to_recordset(${values}::text::jsonb) AS t (native_id text, hash text, details jsonb)
      ON CONFLICT (provider, native_id) DO UPDATE
        SET hash = EXCLUDED.hash, details = EXCLUDED.details, absent = 0, active = true, changed_at = clock_timestamp()`
  }

  /** Counts one more absence of each, and gives those up that have been away for long. */
  const miss = (provider: string, ids: ReadonlyArray<string>) =>
    read(
      Names,
      sql`WITH away AS (
        UPDATE provider_list_rows SET absent = absent + 1, active = absent + 1 < ${String(ABSENCES)}::text::int
        WHERE provider = ${provider} AND active AND native_id IN (SELECT jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb))
        RETURNING native_id, active)
        SELECT native_id AS provider FROM away WHERE NOT active`
    )

  const write = Effect.fnUntraced(function* (provider: string, rows: ReadonlyArray<ListedRow>) {
    const known = new Map(
      (yield* read(Known, sql`SELECT native_id, hash, active, absent FROM provider_list_rows WHERE provider = ${provider}`)).map((row) => [
        row.native_id,
        row
      ])
    )
    const changed: Array<Written> = []
    let added = 0
    for (const row of rows) {
      const hash = yield* digest.digestHex(Digest.sha256, new TextEncoder().encode(JSON.stringify(row)))
      const before = known.get(row.nativeId)
      if (before === undefined) added++
      // What has not changed is not written.
      if (before === undefined || before.hash !== hash || !before.active || before.absent > 0) changed.push({ ...row, hash })
      known.delete(row.nativeId)
    }
    for (let at = 0; at < changed.length; at += BATCH) yield* Effect.mapError(upsert(provider, changed.slice(at, at + BATCH)), failure)
    const absent = [...known.values()].filter((row) => row.active).map((row) => row.native_id)
    const deactivated = absent.length === 0 ? 0 : (yield* miss(provider, absent)).length
    yield* Cache.invalidate(lists, provider)
    return { added, changed: changed.length - added, unchanged: rows.length - changed.length, deactivated }
  })

  return ProviderLists.of({
    get: (provider) => Cache.get(lists, provider),
    providers: Effect.map(read(Names, sql`SELECT DISTINCT provider FROM provider_list_rows WHERE active ORDER BY provider`), (rows) =>
      rows.map((row) => row.provider)
    ),
    readAt: Effect.map(
      read(Reads, sql`SELECT provider, extract(epoch FROM succeeded_at)::text AS at FROM provider_lists WHERE succeeded_at IS NOT NULL`),
      (rows) => new Map(rows.map((row) => [row.provider, row.at]))
    ),
    claim: (provider, holder, everyMs, againMs) => Effect.mapError(claim(provider, holder, everyMs, againMs), failure),
    release: (provider, holder, end) =>
      Effect.mapError(
        Effect.asVoid(sql`UPDATE provider_lists SET lease = NULL, leased_until = NULL, status = ${end.status}, error = ${end.error},
          succeeded_at = CASE WHEN ${end.ok ? "yes" : "no"}::text = 'yes' THEN clock_timestamp() ELSE succeeded_at END
          WHERE provider = ${provider} AND lease = ${holder}`),
        failure
      ),
    write,
    forget: (provider) => Cache.invalidate(lists, provider)
  })
})
