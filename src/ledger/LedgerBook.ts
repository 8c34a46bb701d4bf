/**
 * What the committer says to the database: batches, and who lives.
 *
 * @since 0.1.0
 */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import * as Columns from "../database/Columns.ts"

/** One end of a request, as the commit takes it; amounts are picodollars as text. @category schemas @since 0.1.0 */
export const SettleRow = Schema.Struct({
  account: Schema.String,
  kind: Schema.Literals(["charge", "refund"]),
  rid: Schema.String,
  cost: Schema.String,
  hold: Schema.String,
  fromLease: Schema.String,
  model: Schema.String,
  provider: Schema.NullOr(Schema.String),
  /** JSON, as `usage` is. */
  price: Schema.NullOr(Schema.String),
  usage: Schema.NullOr(Schema.String)
})
export type SettleRow = typeof SettleRow.Type

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

/** A node's absolute standing with one account. @category models @since 0.1.0 */
export interface LeaseTotals {
  readonly account: string
  readonly lease: bigint
  readonly elsewhere: bigint
  readonly unleased: bigint
  readonly direct: boolean
  readonly recall: boolean
  /** Charged in the present UTC day, as the database knows it, and how many milliseconds that day still has. */
  readonly spent: bigint
  readonly dayLeft: number
}

/** A process as it stands in the book. @category models @since 0.1.0 */
export interface NodeRow {
  readonly id: string
  readonly process: string
}

/**
 * The book's side of a committer. A commit fails with `ledger: fenced` or `ledger: regressed` in its message, with an error
 * that `isDataError` knows when a row of it can never be written, or with anything else when it may be sent again.
 *
 * @category models
 * @since 0.1.0
 */
export interface LedgerBook {
  /** Names this database, so that what was kept for one is never written to another. */
  readonly id: Effect.Effect<string, unknown>
  readonly register: (host: string, process: string) => Effect.Effect<string, unknown>
  readonly commit: (node: string, batch: number, payload: BatchPayload) => Effect.Effect<ReadonlyArray<LeaseTotals>, unknown>
  /** Says that a node is dead, settles what it left on its leases, and gives the rest of these back, in one transaction. */
  readonly takeOver: (node: string, rows: ReadonlyArray<SettleRow>) => Effect.Effect<void, unknown>
  readonly quarantine: (node: string, row: SettleRow, reason: string) => Effect.Effect<void, unknown>
  /** Nodes of this host that were not told dead. */
  readonly liveNodes: (host: string) => Effect.Effect<ReadonlyArray<NodeRow>, unknown>
  /** Live nodes of any host that were silent for so many milliseconds. */
  readonly silentNodes: (ms: number) => Effect.Effect<ReadonlyArray<NodeRow>, unknown>
}

/** In the order in which the database takes the columns of an end. */
const names = ["account", "kind", "rid", "cost", "hold", "fromLease", "model", "provider", "price", "usage"] as const

const noColumns = names.map(() => null)

const columnsOf = (rows: ReadonlyArray<SettleRow>): ReadonlyArray<string | null> =>
  rows.length === 0 ? noColumns : names.map((name) => Columns.join(rows, (row) => row[name]))

/** The columns as one value, null where there are no ends. */
const given = (first: number) =>
  `CASE WHEN $${first}::text IS NULL THEN NULL ELSE ARRAY[${names.map((_, at) => `$${first + at}::text`).join(", ")}] END`

const commit = `SELECT ledger_commit($1::text::bigint, $2::text::bigint, $3::text, ${given(4)}, $14::text::jsonb, $15::text::jsonb) AS totals`
const takeOver = `SELECT ledger_take_over($1::text::bigint, ${given(2)})`

const accountsOf = ({ returns, settles, wants }: BatchPayload): string => {
  const accounts = new Set<string>()
  for (const { account } of settles) accounts.add(account)
  for (const { account } of returns) accounts.add(account)
  for (const { account } of wants) accounts.add(account)
  return Columns.join([...accounts], (account) => account)
}

const jsonOrNull = (rows: ReadonlyArray<object>): string | null => (rows.length === 0 ? null : JSON.stringify(rows))

const CommitRow = Schema.Tuple([Schema.Struct({ totals: Schema.String })])
const IdRow = Schema.Tuple([Schema.Struct({ id: Schema.String })])
const NodeRows = Schema.Array(Schema.Struct({ id: Schema.String, process: Schema.String }))

const toId = (rows: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
  Effect.map(Effect.flatMap(rows, Schema.decodeUnknownEffect(IdRow)), ([row]) => row.id)
const toNodes = (rows: Effect.Effect<ReadonlyArray<unknown>, unknown>) => Effect.flatMap(rows, Schema.decodeUnknownEffect(NodeRows))

/** The columns that a commit answers. */
const toTotals = (text: string): ReadonlyArray<LeaseTotals> => {
  const [accounts = [], lease = [], elsewhere = [], unleased = [], direct = [], recall = [], spent = [], dayLeft = []] = Columns.split(text)
  return accounts.map((account, at) => ({
    account,
    lease: BigInt(lease[at] ?? ""),
    elsewhere: BigInt(elsewhere[at] ?? ""),
    unleased: BigInt(unleased[at] ?? ""),
    direct: direct[at] === "true",
    recall: recall[at] === "true",
    spent: BigInt(spent[at] ?? ""),
    dayLeft: Number(dayLeft[at])
  }))
}
const decodeCommit = Schema.decodeUnknownEffect(CommitRow)

/** @category constructors @since 0.1.0 */
export const make = Effect.map(
  SqlClient.SqlClient,
  (sql): LedgerBook => ({
    id: toId(sql`SELECT id FROM ledger_book`),
    register: (host, process) => toId(sql`INSERT INTO ledger_nodes (host, process) VALUES (${host}, ${process}) RETURNING id::text AS id`),
    commit: (node, batch, payload) =>
      Effect.map(
        Effect.flatMap(
          sql.unsafe(commit, [
            node,
            String(batch),
            accountsOf(payload),
            ...columnsOf(payload.settles),
            jsonOrNull(payload.returns),
            jsonOrNull(payload.wants)
          ]),
          decodeCommit
        ),
        ([row]) => toTotals(row.totals)
      ),
    takeOver: (node, rows) => Effect.asVoid(sql.unsafe(takeOver, [node, ...columnsOf(rows)])),
    quarantine: (node, row, reason) =>
      Effect.asVoid(
        sql`INSERT INTO ledger_quarantine (node, rid, settle, reason)
        VALUES (${node}::text::bigint, ${printable(row.rid)}, ${printable(JSON.stringify(row))}, ${printable(reason)})`
      ),
    liveNodes: (host) => toNodes(sql`SELECT id::text, process FROM ledger_nodes WHERE host = ${host} AND state = 'live'`),
    silentNodes: (ms) =>
      toNodes(
        sql`SELECT id::text, process FROM ledger_nodes
        WHERE state = 'live' AND heartbeat_at < clock_timestamp() - ${String(ms)}::text::int * interval '1 millisecond'`
      )
  })
)

/** Text that the database takes: it has no zero character. */
const printable = (text: string): string => text.replaceAll("\u0000", "\uFFFD").slice(0, 20_000)
