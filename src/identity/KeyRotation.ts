/**
 * Brings keys at rest under the newest encryption key, some at a time.
 *
 * Whoever stops in the middle begins again with what is left; what is done is not done twice.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { type AccountsError, fromDatabase } from "./AccountsError.ts"
import type { Fernet } from "./Fernet.ts"

/** What one step did. @category schemas @since 0.1.0 */
export const RotationStep = Schema.Struct({
  /** Keys brought under the newest encryption key. */
  rotated: Schema.Number,
  /** Ids of keys that no encryption key of the ring opens. */
  failed: Schema.Array(Schema.String),
  /** Keys still under an older one, after this step. */
  remaining: Schema.Number,
  /** Where the next step begins; null: this was the last. */
  next: Schema.NullOr(Schema.String)
}).annotate({ identifier: "RotationStep" })
export type RotationStep = typeof RotationStep.Type

/** @category services @since 0.1.0 */
export class KeyRotation extends Context.Service<
  KeyRotation,
  {
    /** The next keys after one, by id. */
    readonly step: (after: string | null) => Effect.Effect<RotationStep, AccountsError>
  }
>()("sluice/identity/KeyRotation") {
  static readonly layer = (fernet: Fernet) => Layer.effect(this, make(fernet))
}

/** Keys of one step: short statements, since an embedded database serves nobody else meanwhile. */
const STEP = 100

const Stale = Schema.Array(Schema.Struct({ id: Schema.String, encrypted_key: Schema.String }))
const Count = Schema.Tuple([Schema.Struct({ left: Schema.NumberFromString })])
const Ids = Schema.Array(Schema.Struct({ id: Schema.String }))

const make = (fernet: Fernet) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient

    const write = Effect.fnUntraced(function* (rows: ReadonlyArray<{ readonly id: string; readonly old: string; readonly new: string }>) {
      if (rows.length === 0) return 0
      const written = yield* sql`UPDATE api_keys SET encrypted_key = t.new, key_version = ${fernet.version}
        FROM jsonb_to_recordset(${JSON.stringify(rows)}::text::jsonb) AS t (id text, old text, new text)
        WHERE api_keys.id = t.id AND encrypted_key = t.old RETURNING api_keys.id`
      return (yield* Schema.decodeUnknownEffect(Ids)(written)).length
    })

    const step = Effect.fnUntraced(function* (after: string | null) {
      const found = yield* sql`SELECT id, encrypted_key FROM api_keys WHERE key_version <> ${fernet.version} AND id > ${after ?? ""}
        ORDER BY id LIMIT ${String(STEP)}::text::int`
      const stale = yield* Schema.decodeUnknownEffect(Stale)(found)
      const failed: Array<string> = []
      const rows: Array<{ id: string; old: string; new: string }> = []
      for (const { encrypted_key, id } of stale) {
        const plain = yield* Effect.option(fernet.decrypt(encrypted_key))
        if (plain._tag === "None") failed.push(id)
        else rows.push({ id, old: encrypted_key, new: yield* fernet.encrypt(plain.value) })
      }
      const rotated = yield* write(rows)
      const count = yield* sql`SELECT count(*)::text AS left FROM api_keys WHERE key_version <> ${fernet.version}`
      const [{ left }] = yield* Schema.decodeUnknownEffect(Count)(count)
      const result: RotationStep = { rotated, failed, remaining: left, next: stale.length < STEP ? null : (stale.at(-1)?.id ?? null) }
      return result
    }, Effect.mapError(fromDatabase))

    return KeyRotation.of({ step })
  })
