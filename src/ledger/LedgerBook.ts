/**
 * The ledger's statements: every call to the database that it makes.
 *
 * @since 0.1.0
 */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { LedgerCheck, LedgerEntry } from "../../schemas/LedgerEntry.ts"
import * as Money from "../../schemas/Money.ts"

/** One end of a request, as the commit takes it; amounts as text. @category models @since 0.1.0 */
export interface SettleRow {
  readonly account: string
  readonly kind: "charge" | "refund"
  readonly rid: string
  readonly cost: string
  readonly hold: string
  readonly fromLease: string
  readonly model: string
  readonly provider: string | null
  readonly price: object | null
  readonly usage: object | null
}

/** @category models @since 0.1.0 */
export interface WantRow {
  readonly account: string
  readonly least: string
  readonly most: string
  readonly target: string
}

/** One batch; unchanged until its outcome is known. @category models @since 0.1.0 */
export interface BatchPayload {
  readonly settles: ReadonlyArray<SettleRow>
  readonly returns: ReadonlyArray<{ readonly account: string; readonly amount: string }>
  readonly wants: ReadonlyArray<WantRow>
}

const Amount = Schema.BigIntFromString

const LeaseTotals = Schema.Struct({
  account: Schema.String,
  lease: Amount,
  elsewhere: Amount,
  unleased: Amount,
  direct: Schema.Boolean,
  recall: Schema.Boolean,
  /** Charged in the present UTC day. */
  spent: Amount
})
/** A node's absolute standing with one account. @category models @since 0.1.0 */
export type LeaseTotals = typeof LeaseTotals.Type

const CommitRow = Schema.Tuple([Schema.Struct({ totals: Schema.fromJsonString(Schema.Array(LeaseTotals)) })])
const IdRow = Schema.Tuple([Schema.Struct({ id: Schema.String })])
const BalanceRows = Schema.Array(Schema.Struct({ allowance: Amount, purchased: Amount }))
const NodeRows = Schema.Array(Schema.Struct({ id: Schema.String, process: Schema.String }))
const EntryRows = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    kind: Schema.Literals(["topup", "allowance", "charge", "refund", "expiry", "adjust"]),
    rid: Schema.NullOr(Schema.String),
    model: Schema.NullOr(Schema.String),
    provider: Schema.NullOr(Schema.String),
    d_allowance: Amount,
    d_purchased: Amount,
    reference: Schema.NullOr(Schema.String),
    created_at: Schema.String
  })
)

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
  [
    "I7",
    "SELECT l.account, 'dead node ' || l.node || ' still leases' AS detail FROM leases l JOIN ledger_nodes n ON n.id = l.node WHERE n.state = 'dead' AND l.granted - l.returned - l.settled > 0"
  ]
]

/** @category constructors @since 0.1.0 */
export const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const decode = <S extends Schema.Decoder<unknown>>(schema: S) => Schema.decodeUnknownEffect(schema)
  const decodeCommit = decode(CommitRow)
  const decodeId = decode(IdRow)
  const decodeBalance = decode(BalanceRows)
  const decodeEntries = decode(EntryRows)

  const commit = (node: string, batch: number, payload: BatchPayload) =>
    Effect.map(
      Effect.flatMap(
        sql`SELECT ledger_commit(${node}::text::bigint, ${String(batch)}::text::bigint, ${JSON.stringify(payload)}::text::jsonb)::text AS totals`,
        decodeCommit
      ),
      ([row]) => row.totals
    )

  const register = (host: string, process: string) =>
    Effect.map(
      Effect.flatMap(sql`INSERT INTO ledger_nodes (host, process) VALUES (${host}, ${process}) RETURNING id::text AS id`, decodeId),
      ([row]) => row.id
    )

  const balance = (account: string) =>
    Effect.map(
      Effect.flatMap(sql`SELECT allowance::text, purchased::text FROM accounts WHERE id = ${account}`, decodeBalance),
      (rows) => rows[0] ?? null
    )

  const columns = sql.literal(
    `id::text, kind, rid, model, provider, d_allowance::text, d_purchased::text, reference,
     to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at`
  )

  const entries = Effect.fnUntraced(function* (account: string, limit: number, before: string | null) {
    const rows = yield* sql`SELECT ${columns} FROM entries
      WHERE account = ${account} AND (${before}::text IS NULL OR entries.id < ${before}::text::bigint)
      ORDER BY entries.id DESC LIMIT ${String(limit)}::text::int`
    return (yield* decodeEntries(rows)).map(toEntry)
  })

  const grant = Effect.fnUntraced(function* (account: string, kind: string, allowance: bigint, purchased: bigint, reference: string) {
    const [row] = yield* Effect.flatMap(
      sql`SELECT ledger_grant(${account}, ${kind}, ${String(allowance)}::text::numeric, ${String(purchased)}::text::numeric, ${reference})::text AS id`,
      decodeId
    )
    const found = yield* decodeEntries(yield* sql`SELECT ${columns} FROM entries WHERE entries.id = ${row.id}::text::bigint`)
    const entry = found[0]
    return entry === undefined ? yield* Effect.die(new Error("a grant left no entry")) : toEntry(entry)
  })

  const check = Effect.gen(function* (): Effect.fn.Return<LedgerCheck, unknown> {
    const found: Array<{ readonly invariant: string; readonly account: string | null; readonly detail: string }> = []
    const Rows = Schema.Array(Schema.Struct({ account: Schema.NullOr(Schema.String), detail: Schema.String }))
    for (const [invariant, query] of violations) {
      for (const row of yield* Effect.flatMap(sql.unsafe(`${query} LIMIT 1000`), decode(Rows))) found.push({ invariant, ...row })
    }
    const Counts = Schema.Tuple([Schema.Struct({ accounts: Schema.String, entries: Schema.String })])
    const [counts] = yield* Effect.flatMap(
      sql`SELECT (SELECT count(*) FROM accounts)::text AS accounts, (SELECT count(*) FROM entries)::text AS entries`,
      decode(Counts)
    )
    return { ok: found.length === 0, accounts: Number(counts.accounts), entries: Number(counts.entries), violations: found }
  })

  return {
    commit,
    register,
    balance,
    entries,
    grant,
    check: sql.withTransaction(Effect.andThen(sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`, check)),
    open: (account: string) => sql`INSERT INTO accounts (id) VALUES (${account}) ON CONFLICT DO NOTHING`,
    /** Nodes of this host that were not told dead. */
    liveNodes: (host: string) =>
      Effect.flatMap(sql`SELECT id::text, process FROM ledger_nodes WHERE host = ${host} AND state = 'live'`, decode(NodeRows)),
    /** Nodes of any host that were silent that long. */
    silentNodes: (ms: number) =>
      Effect.flatMap(
        sql`SELECT id::text, process FROM ledger_nodes WHERE state = 'live' AND heartbeat_at < clock_timestamp() - ${String(ms)}::text::int * interval '1 millisecond'`,
        decode(NodeRows)
      ),
    release: (node: string) => sql`SELECT ledger_release(${node}::text::bigint)`
  }
})

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
