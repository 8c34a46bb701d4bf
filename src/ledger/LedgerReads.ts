/**
 * What the ledger reads and grants outside of batches: balances, an account's story, the proof of the whole book.
 *
 * @since 0.1.0
 */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { EntryKind, type LedgerCheck, type LedgerEntry } from "../../schemas/LedgerEntry.ts"
import * as Money from "../../schemas/Money.ts"

const Amount = Schema.BigIntFromString
const IdRow = Schema.Tuple([Schema.Struct({ id: Schema.String })])
const CountRow = Schema.Tuple([Schema.Struct({ count: Schema.NumberFromString })])
const BalanceRows = Schema.Array(Schema.Struct({ allowance: Amount, purchased: Amount }))
const EntryRows = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    kind: EntryKind,
    rid: Schema.NullOr(Schema.String),
    model: Schema.NullOr(Schema.String),
    provider: Schema.NullOr(Schema.String),
    d_allowance: Amount,
    d_purchased: Amount,
    reference: Schema.NullOr(Schema.String),
    created_at: Schema.String
  })
)
const Violations = Schema.Array(Schema.Struct({ account: Schema.NullOr(Schema.String), detail: Schema.String }))
const Counts = Schema.Tuple([Schema.Struct({ accounts: Schema.String, entries: Schema.String })])

/** Each an invariant's name and the query that finds what breaks it. */
const violations: ReadonlyArray<readonly [string, string]> = [
  [
    "I1",
    "SELECT id AS account, 'allowance ' || allowance || ', purchased ' || purchased || ', leased ' || leased AS detail FROM accounts WHERE allowance < 0 OR purchased < 0 OR leased < 0 OR leased > allowance + purchased"
  ],
  ["I2", "SELECT account, 'lease of node ' || node || ' is negative' AS detail FROM leases WHERE granted - returned - settled < 0"],
  [
    "I2",
    "SELECT a.id AS account, 'leased ' || a.leased || ', leases ' || coalesce(sum(l.granted - l.returned - l.settled), 0) AS detail FROM accounts a LEFT JOIN leases l ON l.account = a.id GROUP BY a.id HAVING a.leased <> coalesce(sum(l.granted - l.returned - l.settled), 0)"
  ],
  [
    "I3",
    "SELECT a.id AS account, 'balance ' || a.allowance || '+' || a.purchased || ', entries ' || coalesce(sum(e.d_allowance), 0) || '+' || coalesce(sum(e.d_purchased), 0) AS detail FROM accounts a LEFT JOIN entries e ON e.account = a.id GROUP BY a.id HAVING a.allowance <> coalesce(sum(e.d_allowance), 0) OR a.purchased <> coalesce(sum(e.d_purchased), 0)"
  ],
  [
    "I4",
    "SELECT min(account) AS account, 'request ' || rid || ' ended ' || count(*) || ' times' AS detail FROM entries WHERE kind IN ('charge', 'refund') GROUP BY rid HAVING count(*) > 1"
  ],
  [
    "I5",
    "SELECT account, 'charge of ' || rid || ' moved ' || -(d_allowance + d_purchased) || ' for ' || cost AS detail FROM entries WHERE kind = 'charge' AND -(d_allowance + d_purchased) <> cost - shortfall"
  ],
  [
    "I5",
    "SELECT account, 'refund of ' || rid || ' moved money' AS detail FROM entries WHERE kind = 'refund' AND (d_allowance <> 0 OR d_purchased <> 0)"
  ],
  ["I5", "SELECT NULL AS account, 'the end of ' || rid || ' could not be written: ' || reason AS detail FROM ledger_quarantine"],
  [
    "I7",
    "SELECT l.account, 'dead node ' || l.node || ' still leases' AS detail FROM leases l JOIN ledger_nodes n ON n.id = l.node WHERE n.state = 'dead' AND l.granted - l.returned - l.settled > 0"
  ]
]

const columns = `id::text, kind, rid, model, provider, d_allowance::text, d_purchased::text, reference,
  to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at`

const toEntry = (row: (typeof EntryRows.Type)[number]): LedgerEntry => ({
  id: row.id,
  kind: row.kind,
  request_id: row.rid,
  model: row.model,
  provider: row.provider,
  amount_usd: Money.toUsd(Money.make(row.d_allowance + row.d_purchased)),
  allowance_usd: Money.toUsd(Money.make(row.d_allowance)),
  purchased_usd: Money.toUsd(Money.make(row.d_purchased)),
  reference: row.reference,
  created_at: row.created_at
})

const checkWith = (sql: SqlClient.SqlClient) =>
  Effect.gen(function* (): Effect.fn.Return<LedgerCheck, unknown> {
    const found: Array<LedgerCheck["violations"][number]> = []
    for (const [invariant, query] of violations) {
      const rows = yield* Schema.decodeUnknownEffect(Violations)(yield* sql.unsafe(`${query} LIMIT 1000`))
      for (const row of rows) found.push({ invariant, ...row })
    }
    const [counts] = yield* Schema.decodeUnknownEffect(Counts)(
      yield* sql`SELECT (SELECT count(*) FROM accounts)::text AS accounts, (SELECT count(*) FROM entries)::text AS entries`
    )
    return { ok: found.length === 0, accounts: Number(counts.accounts), entries: Number(counts.entries), violations: found }
  })

/** @category constructors @since 0.1.0 */
export const make = Effect.map(SqlClient.SqlClient, (sql) => {
  const entryColumns = sql.literal(columns)

  const balance = (account: string) =>
    Effect.map(
      Effect.flatMap(
        sql`SELECT allowance::text, purchased::text FROM accounts WHERE id = ${account}`,
        Schema.decodeUnknownEffect(BalanceRows)
      ),
      (rows) => rows[0] ?? null
    )

  const entries = Effect.fnUntraced(function* (account: string, limit: number, before: string | null) {
    const rows = yield* sql`SELECT ${entryColumns} FROM entries
      WHERE account = ${account} AND (${before}::text IS NULL OR entries.id < ${before}::text::bigint)
      ORDER BY entries.id DESC LIMIT ${String(limit)}::text::int`
    return (yield* Schema.decodeUnknownEffect(EntryRows)(rows)).map(toEntry)
  })

  const grant = Effect.fnUntraced(function* (account: string, kind: string, allowance: bigint, purchased: bigint, reference: string) {
    const made =
      yield* sql`SELECT ledger_grant(${account}, ${kind}, ${String(allowance)}::text::numeric, ${String(purchased)}::text::numeric, ${reference})::text AS id`
    const [row] = yield* Schema.decodeUnknownEffect(IdRow)(made)
    const found = yield* sql`SELECT ${entryColumns} FROM entries WHERE account = ${account} AND entries.id = ${row.id}::text::bigint`
    const entry = (yield* Schema.decodeUnknownEffect(EntryRows)(found))[0]
    return entry === undefined ? yield* Effect.die(new Error("a grant left no entry")) : toEntry(entry)
  })

  const unwritten = Effect.fnUntraced(function* (rids: ReadonlyArray<string>) {
    const rows = yield* sql`SELECT count(DISTINCT t.rid)::text AS count FROM unnest(string_to_array(${rids.join(",")}, ',')) AS t (rid)
      WHERE NOT EXISTS (SELECT 1 FROM entries e WHERE e.rid = t.rid)`
    const [{ count }] = yield* Schema.decodeUnknownEffect(CountRow)(rows)
    return count
  })

  return {
    balance,
    entries,
    grant,
    /** How many of these requests have no entry. */
    unwritten,
    /** Makes the account's row; does nothing when it stands. */
    open: (account: string) => sql`INSERT INTO accounts (id) VALUES (${account}) ON CONFLICT DO NOTHING`,
    /** Begins a period: what is left of the allowance ends, the full allowance is there; once for each name of a period. */
    renew: (account: string, full: bigint, period: string) =>
      sql`SELECT ledger_renew(${account}, ${String(full)}::text::numeric, ${period})`,
    /** Ends what an earlier period left and a lease kept then. */
    trim: sql`SELECT ledger_trim()`,
    /** The whole book as it stands at one moment. */
    check: sql.withTransaction(Effect.andThen(sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`, checkWith(sql)))
  }
})
