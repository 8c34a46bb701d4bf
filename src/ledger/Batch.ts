/**
 * What one commit carries, and who is told when it is there.
 *
 * @since 0.1.0
 */
import type { Deferred } from "effect"
import type { Lease } from "./Lease.ts"
import type { BatchPayload, SettleRow } from "./LedgerBook.ts"

/** One end of a request. @category models @since 0.1.0 */
export interface SettleInput {
  readonly account: string
  readonly kind: "charge" | "refund"
  readonly rid: string
  readonly cost: bigint
  readonly hold: bigint
  readonly model: string
  readonly provider: string | null
  /** JSON, as `usage` is. */
  readonly price: string | null
  readonly usage: string | null
}

/** An end of a request on its way to the database. @category models @since 0.1.0 */
export interface PendingSettle {
  readonly row: SettleRow
  /** The part of the cost that this process's lease pays. */
  readonly fromLease: bigint
  /** Told when it is durable; null where it was so before anybody could wait. */
  done: Deferred.Deferred<void> | null
  /** On the committer's clock, in milliseconds. */
  readonly since: number
  /** It was kept elsewhere already, and who waited was told. */
  told: boolean
  /**
   * Where it is kept: in the journal from the first, there because the database did not take it in time, nowhere but in memory
   * though it had to be told, or in the book.
   */
  kept: "first" | "late" | "memory" | "book" | null
}

/** Unchanged until its outcome is known: the number says whether it was applied. @category models @since 0.1.0 */
export interface Batch {
  readonly number: number
  readonly payload: BatchPayload
  readonly settles: ReadonlyArray<PendingSettle>
  readonly returns: ReadonlyArray<readonly [Lease, bigint]>
  readonly wants: ReadonlyArray<Lease>
}

/** @category constructors @since 0.1.0 */
export const pending = (input: SettleInput, fromLease: bigint, now: number): PendingSettle => ({
  row: { ...input, cost: String(input.cost), hold: String(input.hold), fromLease: String(fromLease) },
  fromLease,
  done: null,
  since: now,
  told: false,
  kept: null
})

/** What the leases give back and ask for, and what is settled, as one batch. @category constructors @since 0.1.0 */
export const make = (
  number: number,
  settles: ReadonlyArray<PendingSettle>,
  returns: ReadonlyArray<readonly [Lease, bigint]>,
  wants: ReadonlyArray<Lease>,
  now: number,
  isAlone: boolean
): Batch => {
  const payload = {
    settles: settles.map((pending) => pending.row),
    returns: returns.map(([lease, amount]) => ({ account: lease.account, amount: String(amount) })),
    wants: wants.map((lease) => {
      const { least, most } = lease.want()
      const target = lease.target(most, now)
      // Of a small balance others get what they need and no more, if there are others.
      return {
        account: lease.account,
        least: String(least),
        most: String(isAlone && target > most ? target : most),
        target: String(target)
      }
    })
  }
  return { number, payload, settles, returns, wants }
}

/** A batch in two, so that a row which cannot be written is found: settles first, what the leases ask for last. @category combinators @since 0.1.0 */
export const split = (batch: Batch): readonly [Batch, Batch] => {
  const half = Math.ceil(batch.settles.length / 2)
  const part = (settles: ReadonlyArray<PendingSettle>) => ({ settles, payload: settles.map((pending) => pending.row) })
  const [first, second] = [part(batch.settles.slice(0, half)), part(batch.settles.slice(half))]
  return [
    { number: batch.number, settles: first.settles, returns: [], wants: [], payload: { settles: first.payload, returns: [], wants: [] } },
    { ...batch, number: batch.number + 1, settles: second.settles, payload: { ...batch.payload, settles: second.payload } }
  ]
}
