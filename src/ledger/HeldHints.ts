/**
 * What other processes hold of an account, so that its credits read the same whoever is asked. A hint only: what may be spent
 * is decided by leases.
 *
 * @since 0.1.0
 */
import { Effect, Schema, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import type { Leases } from "./Leases.ts"

/** Milliseconds between two looks at what this process holds. */
const LOOK_EVERY = 500

/** What this process has to tell of. @category models @since 0.1.0 */
export interface Holder {
  readonly nodeNumber: string
  readonly leases: Pick<Leases, "holdings">
}

/** @category migrations @since 0.1.0 */
export const createHeldHints = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(
    "CREATE TABLE held_hints (account text NOT NULL, node bigint NOT NULL, held numeric NOT NULL, PRIMARY KEY (account, node))"
  )
})

const Sum = Schema.NonEmptyArray(Schema.Struct({ held: Schema.String }))

/** What has to be told of now: what is held for a while (it was at the look before), and what is held no more. */
const changes = (told: ReadonlyMap<string, bigint>, before: ReadonlyMap<string, bigint>, now: ReadonlyMap<string, bigint>) => {
  const changed: Record<string, string> = {}
  for (const [account, held] of now) if (before.has(account) && told.get(account) !== held) changed[account] = String(held)
  for (const account of told.keys()) if (!now.has(account)) changed[account] = "0"
  return changed
}

/**
 * Tells the others what this process holds, until the Scope closes. Gives how to ask what they hold, in picodollars.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  holder: Holder
): Effect.fn.Return<(account: string) => Effect.Effect<bigint, unknown>, unknown, SqlClient.SqlClient | Scope.Scope> {
  const sql = yield* SqlClient.SqlClient
  let node = holder.nodeNumber
  let told = new Map<string, bigint>()
  let before: ReadonlyMap<string, bigint> = new Map()

  const tell = Effect.suspend(() => {
    // Under a new number nothing was told yet.
    if (node !== holder.nodeNumber) told = new Map()
    node = holder.nodeNumber
    const { holdings: now } = holder.leases
    const changed = changes(told, before, now)
    before = now
    if (Object.keys(changed).length === 0) return Effect.void
    const given = sql`SELECT key AS account, value::numeric AS held FROM jsonb_each_text(${JSON.stringify(changed)}::text::jsonb)`
    const raise = sql`INSERT INTO held_hints (account, node, held) SELECT account, ${node}::text::bigint, held FROM (${given}) g WHERE held > 0
      ON CONFLICT (account, node) DO UPDATE SET held = excluded.held`
    const drop = sql`DELETE FROM held_hints h USING (${given}) g WHERE h.account = g.account AND h.node = ${node}::text::bigint AND g.held = 0`
    return Effect.map(Effect.andThen(raise, drop), () => {
      for (const [account, held] of Object.entries(changed)) {
        if (held === "0") told.delete(account)
        else told.set(account, BigInt(held))
      }
    })
  })

  yield* sql`DELETE FROM held_hints WHERE node IN (SELECT id FROM ledger_nodes WHERE state = 'dead')`
  // A database that is away is told of by those who need it.
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(LOOK_EVERY), Effect.ignore(tell))))
  return (account) =>
    sql`SELECT coalesce(sum(h.held), 0)::text AS held FROM held_hints h JOIN ledger_nodes n ON n.id = h.node
      WHERE h.account = ${account} AND h.node <> ${holder.nodeNumber}::text::bigint AND n.state = 'live'`.pipe(
      Effect.flatMap(Schema.decodeUnknownEffect(Sum)),
      Effect.map(([{ held }]) => BigInt(held))
    )
})
