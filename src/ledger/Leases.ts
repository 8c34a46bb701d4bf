/**
 * The leases of one process, and which of them the next batch has to look at.
 *
 * @since 0.1.0
 */
import type { Batch } from "./Batch.ts"
import { Lease } from "./Lease.ts"
import type { LeaseTotals } from "./LedgerBook.ts"

/** How long a lease may be idle before it is given back. */
const IDLE = 2_000
/** The same where nobody else could have it. */
const IDLE_ALONE = 60_000

/** What leases give back, and which of them want more. @category models @since 0.1.0 */
export interface LeaseRequests {
  readonly returns: ReadonlyArray<readonly [Lease, bigint]>
  readonly wants: ReadonlyArray<Lease>
}

/** Times are milliseconds of the committer's clock. @category models @since 0.1.0 */
export class Leases {
  private readonly byAccount = new Map<string, Lease>()
  private readonly dirty = new Set<Lease>()
  private readonly idleMs: number
  private readonly isAlone: boolean

  /** Nobody has to see at once what a process leaves that is `isAlone` on its database. */
  constructor(isAlone: boolean, idleMs = isAlone ? IDLE_ALONE : IDLE) {
    this.idleMs = idleMs
    this.isAlone = isAlone
  }

  /** Whether there is something for a batch to look at. */
  get isDirty(): boolean {
    return this.dirty.size > 0
  }

  /** What requests hold now, by account. */
  get holdings(): ReadonlyMap<string, bigint> {
    const held = new Map<string, bigint>()
    for (const lease of this.byAccount.values()) if (lease.held > 0n) held.set(lease.account, lease.held)
    return held
  }

  find(account: string): Lease | undefined {
    return this.byAccount.get(account)
  }

  of(account: string, now: number): Lease {
    const known = this.byAccount.get(account)
    if (known !== undefined) return known
    const fresh = new Lease(account, now)
    this.byAccount.set(account, fresh)
    return fresh
  }

  /** Takes what came of a batch: what the database has now, and how each account stands there. */
  take({ returns, settles }: Batch, totals: ReadonlyArray<LeaseTotals>, now: number): void {
    for (const { fromLease, row } of settles) this.of(row.account, now).pending -= fromLease
    for (const [lease, amount] of returns) lease.returning -= amount
    for (const total of totals) this.of(total.account, now).take(total, now)
  }

  touch(lease: Lease): void {
    this.dirty.add(lease)
  }

  /** Looks at every lease: those that were idle for a while are given back, those that know nothing are forgotten. */
  tidy(now: number): void {
    for (const lease of this.byAccount.values()) {
      if (lease.amount > 0n && this.isIdle(lease, now)) this.dirty.add(lease)
      if (lease.isEmpty) this.byAccount.delete(lease.account)
    }
  }

  /** The next batch gives all of them back. */
  touchAll(): void {
    for (const lease of this.byAccount.values()) this.dirty.add(lease)
  }

  /** What the next batch has to ask for. In key order, so that several processes never lock in opposite orders. */
  collect(closing: boolean, now: number): LeaseRequests {
    const returns: Array<readonly [Lease, bigint]> = []
    const wants: Array<Lease> = []
    for (const lease of [...this.dirty].sort((a, b) => (a.account < b.account ? -1 : 1))) {
      if (lease.waiters.length > 0) wants.push(lease)
      else if (
        lease.free > 0n &&
        ((lease.direct && !this.isAlone) || lease.recall || closing || (lease.held === 0n && this.isIdle(lease, now)))
      ) {
        returns.push([lease, lease.free])
      }
    }
    this.dirty.clear()
    return { returns, wants }
  }

  /** Nothing is leased any more: what is held stands on nothing, `free` is below zero by it, until it ends or is leased anew. */
  lose(): void {
    for (const lease of this.byAccount.values()) lease.amount = 0n
  }

  refuseAll(why: "insufficient" | "unavailable"): void {
    for (const lease of this.byAccount.values()) lease.refuse(why)
  }

  private isIdle(lease: Lease, now: number): boolean {
    return lease.lastUsed <= now - this.idleMs
  }
}
