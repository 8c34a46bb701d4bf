/**
 * One key, one execution, one charge: claims on the names that callers give their requests.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../schemas/Account.ts"
import { LedgerError, LedgerUnavailable } from "../../schemas/LedgerEntry.ts"
import { Ledger } from "./Ledger.ts"

/** An answer as it was sent, to be sent again. @category schemas @since 0.1.0 */
export const StoredResponse = Schema.Struct({
  contentType: Schema.String,
  headers: Schema.Record(Schema.String, Schema.String),
  body: Schema.String
})
export type StoredResponse = typeof StoredResponse.Type

/** What a key says of a request. `rid` names the execution: a retry of one whose process died keeps it, so that it is charged once. @category models @since 0.1.0 */
export type Claim =
  | { readonly _tag: "Run"; readonly rid: string }
  | { readonly _tag: "Replay"; readonly response: StoredResponse }
  /** Another request with this key is under way. */
  | { readonly _tag: "InFlight" }
  /** The key was used with another body. */
  | { readonly _tag: "Mismatch" }
  /** It ended, was charged, and left no answer to replay: the caller had gone. */
  | { readonly _tag: "Spent" }

/** @category models @since 0.1.0 */
export interface ClaimRequest {
  readonly accountId: AccountId
  readonly key: string
  readonly bodyHash: string
  /** The server's id of this request, used unless an older one holds. */
  readonly rid: string
}

/** Characters of an answer that are kept; a longer one is not replayed. */
const MAX_STORED = 8 * 1_024 * 1_024

const Claimed = Schema.Array(Schema.Struct({ rid: Schema.String }))
const Existing = Schema.Array(
  Schema.Struct({
    body_hash: Schema.String,
    state: Schema.Literals(["running", "done"]),
    response: Schema.NullOr(Schema.fromJsonString(StoredResponse))
  })
)

const unavailable = () => new LedgerError({ reason: new LedgerUnavailable({ message: "the database did not answer" }) })

/** @category services @since 0.1.0 */
export class Idempotency extends Context.Service<
  Idempotency,
  {
    /** Takes the key for a request, or says why not. Kept for 24 hours. */
    readonly claim: (request: ClaimRequest) => Effect.Effect<Claim, LedgerError>
    /** The request has ended and was charged; null where there is no whole answer. */
    readonly finish: (request: ClaimRequest, response: StoredResponse | null) => Effect.Effect<void>
    /** The request failed and was not charged: the key may run again. */
    readonly abandon: (request: ClaimRequest) => Effect.Effect<void>
  }
>()("sluice/ledger/Idempotency") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const ledger = yield* Ledger

      // A claim is taken over when it has run out, or when the process that runs it is dead or was silent for 15 s.
      const take = ({
        accountId,
        bodyHash,
        key,
        rid
      }: ClaimRequest) => sql`INSERT INTO idempotency AS i (account, key, body_hash, rid, node, expires_at)
        VALUES (${accountId}, ${key}, ${bodyHash}, ${rid}, ${ledger.node()}::text::bigint, clock_timestamp() + interval '24 hours')
        ON CONFLICT (account, key) DO UPDATE SET
          rid = CASE WHEN i.expires_at < clock_timestamp() THEN excluded.rid ELSE i.rid END,
          body_hash = excluded.body_hash, node = excluded.node, state = 'running', response = NULL, expires_at = excluded.expires_at
        WHERE i.expires_at < clock_timestamp() OR (i.state = 'running' AND i.body_hash = excluded.body_hash AND NOT EXISTS (
          SELECT 1 FROM ledger_nodes n WHERE n.id = i.node AND n.state = 'live' AND n.heartbeat_at > clock_timestamp() - interval '15 seconds'))
        RETURNING rid`

      const claim = Effect.fnUntraced(function* (request: ClaimRequest): Effect.fn.Return<Claim, unknown> {
        const [taken] = yield* Schema.decodeUnknownEffect(Claimed)(yield* take(request))
        if (taken !== undefined) return { _tag: "Run", rid: taken.rid }
        const rows =
          yield* sql`SELECT body_hash, state, response::text AS response FROM idempotency WHERE account = ${request.accountId} AND key = ${request.key}`
        const [row] = yield* Schema.decodeUnknownEffect(Existing)(rows)
        // It failed uncharged between the two looks: whoever asks again may run.
        if (row === undefined) return { _tag: "InFlight" }
        if (row.body_hash !== request.bodyHash) return { _tag: "Mismatch" }
        if (row.state === "running") return { _tag: "InFlight" }
        return row.response === null ? { _tag: "Spent" } : { _tag: "Replay", response: row.response }
      })

      const finish = (request: ClaimRequest, response: StoredResponse | null) => {
        const kept = response === null || response.body.length > MAX_STORED ? null : JSON.stringify(response)
        return sql`UPDATE idempotency SET state = 'done', response = ${kept}::text::jsonb WHERE account = ${request.accountId} AND key = ${request.key}`
      }

      const quietly = (statement: Effect.Effect<unknown, unknown>) =>
        Effect.catch(Effect.asVoid(statement), () => Effect.logWarning("The end of a keyed request could not be written"))

      yield* Effect.forkScoped(
        Effect.forever(
          Effect.andThen(Effect.sleep("10 minutes"), quietly(sql`DELETE FROM idempotency WHERE expires_at < clock_timestamp()`))
        )
      )

      return Idempotency.of({
        claim: (request) => Effect.mapError(claim(request), unavailable),
        finish: (request, response) => quietly(finish(request, response)),
        abandon: (request) =>
          quietly(sql`DELETE FROM idempotency WHERE account = ${request.accountId} AND key = ${request.key} AND state = 'running'`)
      })
    })
  )
}
