/**
 * What the database keeps of repositories on the Hugging Face Hub, and who reads which of them.
 *
 * A repository is claimed by writing down that it is tried, so that it is read once however many replicas look; whoever dies
 * in the middle lets the next one try when the time to try again has come.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import { HubMetrics, type KnownRepository } from "./HubMetrics.ts"

/** The database could not be asked. @category errors @since 0.1.0 */
export class HubBookError extends Schema.TaggedError<HubBookError>()("HubBookError", { message: Schema.String }) {}

/** When a repository is to be read: not sooner than `everyMs` after it was, nor than `againMs` after that was tried. @category models @since 0.1.0 */
export interface HubRhythm {
  readonly everyMs: number
  readonly againMs: number
}

/** @category services @since 0.1.0 */
export class HubBook extends Context.Service<
  HubBook,
  {
    /** Everything that was read, also of repositories that nobody asks for any more. */
    readonly known: Effect.Effect<ReadonlyArray<KnownRepository>, HubBookError>
    /** Those of some repositories that are to be read now, at most `most`, the longest neglected first; nobody else gets them. */
    readonly claim: (
      repositories: ReadonlyArray<string>,
      now: number,
      rhythm: HubRhythm,
      most: number
    ) => Effect.Effect<ReadonlyArray<string>, HubBookError>
    /** Keeps what was read; true where that is something else than before. */
    readonly write: (repository: string, now: number, metrics: HubMetrics) => Effect.Effect<boolean, HubBookError>
    /** What was known stays. */
    readonly fail: (repository: string, error: string) => Effect.Effect<void, HubBookError>
  }
>()("sluice/catalog/HubBook") {
  static readonly layer = Layer.effect(
    this,
    Effect.suspend(() => make)
  )
}

const failure = (error: unknown) => new HubBookError({ message: messageOf(error).slice(0, 300) })

const iso = (ms: number): string => new Date(ms).toISOString()

const Known = Schema.Array(
  Schema.Struct({ repository: Schema.String, details: Schema.fromJsonString(HubMetrics), syncedAt: Schema.NumberFromString })
)
const Tried = Schema.Array(Schema.Struct({ repository: Schema.String, tried: Schema.NumberFromString, read: Schema.NumberFromString }))
const Names = Schema.Array(Schema.Struct({ repository: Schema.String }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = <S extends Schema.Decoder<unknown>>(schema: S, statement: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
    Effect.mapError(Effect.flatMap(statement, Schema.decodeUnknownEffect(schema)), failure)

  const claim = Effect.fnUntraced(function* (repositories: ReadonlyArray<string>, now: number, rhythm: HubRhythm, most: number) {
    const tried = yield* rows(
      Tried,
      sql`SELECT repository, floor(extract(epoch FROM tried_at) * 1000)::text AS tried,
        coalesce(floor(extract(epoch FROM succeeded_at) * 1000), 0)::text AS read FROM hub_repositories`
    )
    const before = new Map(tried.map((row) => [row.repository, row]))
    const due = [...new Set(repositories)]
      .map((repository) => ({ repository, tried: 0, read: 0, ...before.get(repository) }))
      .filter(({ read, tried }) => read <= now - rhythm.everyMs && tried <= now - rhythm.againMs)
      .toSorted((a, b) => a.tried - b.tried)
      .slice(0, most)
      .map(({ repository }) => repository)
      // Replicas take rows in one order, so that they never wait for each other.
      .toSorted()
    if (due.length === 0) return []
    const mine = yield* rows(
      Names,
      sql`INSERT INTO hub_repositories AS t (repository, tried_at)
        SELECT repository, ${iso(now)}::text::timestamptz
        FROM jsonb_array_elements_text(${JSON.stringify(due)}::text::jsonb) AS due (repository) ORDER BY repository
        ON CONFLICT (repository) DO UPDATE SET tried_at = excluded.tried_at
        WHERE t.tried_at <= ${iso(now - rhythm.againMs)}::text::timestamptz
          AND (t.succeeded_at IS NULL OR t.succeeded_at <= ${iso(now - rhythm.everyMs)}::text::timestamptz)
        RETURNING repository`
    )
    return mine.map(({ repository }) => repository)
  })

  return HubBook.of({
    known: Effect.map(
      rows(
        Known,
        sql`SELECT repository, details::text AS details, floor(extract(epoch FROM succeeded_at) * 1000)::text AS "syncedAt"
          FROM hub_repositories WHERE details IS NOT NULL AND succeeded_at IS NOT NULL`
      ),
      (found) => found.map(({ details, ...row }) => ({ ...row, metrics: details }))
    ),
    claim,
    write: (repository, now, metrics) =>
      Effect.map(
        rows(
          Names,
          sql`WITH before AS (SELECT details FROM hub_repositories WHERE repository = ${repository}),
            written AS (
              UPDATE hub_repositories SET succeeded_at = ${iso(now)}::text::timestamptz, error = NULL, details = ${JSON.stringify(metrics)}::text::jsonb
              WHERE repository = ${repository} RETURNING repository, details)
            SELECT repository FROM written WHERE details IS DISTINCT FROM (SELECT details FROM before)`
        ),
        (changed) => changed.length > 0
      ),
    fail: (repository, error) =>
      Effect.mapError(
        Effect.asVoid(sql`UPDATE hub_repositories SET error = ${error.slice(0, 300)} WHERE repository = ${repository}`),
        failure
      )
  })
})
