/**
 * Brings secrets at rest under the newest encryption key, some at a time.
 *
 * Whoever stops in the middle begins again with what is left; what is done is not done twice.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { type AccountsError, fail, fromDatabase } from "./AccountsError.ts"
import type { Fernet } from "./Fernet.ts"

/** A column of Fernet tokens, in a table whose key is `id`. @category models @since 0.1.0 */
export interface EncryptedColumn {
  readonly table: string
  readonly column: string
  /** The column that names the key of each token; null: only the token itself tells. */
  readonly version: string | null
}

/** What one step did. @category schemas @since 0.1.0 */
export const RotationStep = Schema.Struct({
  /** Secrets brought under the newest encryption key. */
  rotated: Schema.Number,
  /** `table id` of those that no encryption key of the ring opens. */
  failed: Schema.Array(Schema.String),
  /** Secrets that are still to be looked at. */
  remaining: Schema.Number,
  /** Where the next step begins; null: this was the last. */
  next: Schema.NullOr(Schema.String)
}).annotate({ identifier: "RotationStep" })
export type RotationStep = typeof RotationStep.Type

/** @category models @since 0.1.0 */
export interface KeyRotationOptions {
  readonly fernet: Fernet
  readonly columns: ReadonlyArray<EncryptedColumn>
}

/** @category services @since 0.1.0 */
export class KeyRotation extends Context.Service<
  KeyRotation,
  {
    /** The next secrets, from the start or from where a step before ended. */
    readonly step: (after: string | null) => Effect.Effect<RotationStep, AccountsError>
  }
>()("sluice/identity/KeyRotation") {
  static readonly layer = (options: KeyRotationOptions) => Layer.effect(this, make(options))
}

/** Secrets of one step: short statements, since an embedded database serves nobody else meanwhile. */
const STEP = 100

const Tokens = Schema.Array(Schema.Struct({ id: Schema.String, token: Schema.String }))
const Count = Schema.Tuple([Schema.Struct({ count: Schema.NumberFromString })])
const Ids = Schema.Array(Schema.Struct({ id: Schema.String }))

interface Rewritten {
  readonly id: string
  readonly old: string
  readonly new: string
}

/** Where a step begins: a column, and an id in it. */
const positionOf = (cursor: string | null, columns: number): { readonly at: number; readonly id: string } | null => {
  if (cursor === null) return { at: 0, id: "" }
  const found = /^(\d{1,3}):(.{0,255})$/.exec(cursor)
  return found === null || Number(found[1]) >= columns ? null : { at: Number(found[1]), id: found[2] ?? "" }
}

const make = ({ columns, fernet }: KeyRotationOptions) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient

    /** The rows of a column that may need it, from an id on. */
    const rest = ({ column, table, version }: EncryptedColumn, id: string) => {
      const stale = version === null ? sql`true` : sql`${sql(version)} <> ${fernet.version}`
      return sql`FROM ${sql(table)} WHERE ${sql(column)} IS NOT NULL AND ${stale} AND id > ${id}`
    }

    const read = (of: EncryptedColumn, id: string) =>
      Effect.flatMap(
        sql`SELECT id, ${sql(of.column)} AS token ${rest(of, id)} ORDER BY id LIMIT ${String(STEP)}::text::int`,
        Schema.decodeUnknownEffect(Tokens)
      )

    const count = (of: EncryptedColumn, id: string) =>
      Effect.map(
        Effect.flatMap(sql`SELECT count(*)::text AS count ${rest(of, id)}`, Schema.decodeUnknownEffect(Count)),
        ([row]) => row.count
      )

    // Only what is still as it was read: whoever changed it meanwhile used the newest key.
    const write = Effect.fnUntraced(function* ({ column, table, version }: EncryptedColumn, rows: ReadonlyArray<Rewritten>) {
      if (rows.length === 0) return 0
      const versioned = version === null ? sql`` : sql`, ${sql(version)} = ${fernet.version}`
      const written = yield* sql`UPDATE ${sql(table)} SET ${sql(column)} = t.new ${versioned}
        FROM jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) AS t (id text, old text, new text)
        WHERE ${sql(table)}.id = t.id AND ${sql(column)} = t.old RETURNING ${sql(table)}.id`
      return (yield* Schema.decodeUnknownEffect(Ids)(written)).length
    })

    const step = Effect.fnUntraced(function* (after: string | null) {
      const from = positionOf(after, columns.length)
      const of = columns[from?.at ?? 0]
      if (from === null || of === undefined) return yield* fail("invalid_input", "`after` is not where a step ended.")
      const tokens = yield* read(of, from.id)
      const failed: Array<string> = []
      const rows: Array<Rewritten> = []
      for (const { id, token } of tokens) {
        if (yield* fernet.isNewest(token)) {
          if (of.version !== null) rows.push({ id, old: token, new: token })
          continue
        }
        const plain = yield* Effect.option(fernet.decrypt(token))
        if (plain._tag === "None") failed.push(`${of.table} ${id}`)
        else rows.push({ id, old: token, new: yield* fernet.encrypt(plain.value) })
      }
      const rotated = yield* write(of, rows)
      const last = tokens.length < STEP ? null : (tokens.at(-1)?.id ?? null)
      const next = last === null ? { at: from.at + 1, id: "" } : { at: from.at, id: last }
      let remaining = 0
      for (const [at, column] of columns.entries()) if (at >= next.at) remaining += yield* count(column, at === next.at ? next.id : "")
      const result: RotationStep = { rotated, failed, remaining, next: remaining === 0 ? null : `${next.at}:${next.id}` }
      return result
    }, Effect.mapError(fromDatabase))

    return KeyRotation.of({ step })
  })
