/**
 * One account's slice of money in this process: what may be held without asking anybody. No awaits between test and change.
 *
 * @since 0.1.0
 */

import type { LeaseTotals } from "./LedgerBook.ts"

/** The most that one refill of a busy account brings: 5 USD. */
const LEASE_MAX = 5_000_000_000_000n
/** A refill is to last this long at the present rate of spending, in milliseconds. */
const TARGET_MS = 30_000n
const REQUESTS_AHEAD = 20n
/** Tries of one who waits while another process holds some of the balance. */
const RECALL_TRIES = 4

/** How waiting for money ended. @category models @since 0.1.0 */
export type HoldAnswer =
  | { readonly _tag: "Held"; readonly amount: bigint }
  | { readonly _tag: "Insufficient"; readonly available: bigint }
  | { readonly _tag: "Unavailable" }

/** Who waits for money, first come first served. @category models @since 0.1.0 */
export interface Waiter {
  readonly amount: bigint
  readonly minimum: bigint
  /** Given the held amount, or why there is none. */
  readonly tell: (held: bigint | "insufficient" | "unavailable") => void
  /** Refills that brought nothing while another process held some of the balance. */
  refusals: number
}

/**
 * `amount` is the lease as the database last said, `held` what requests hold, `pending` what is settled here but not there
 * yet, `returning` what is on its way back.
 *
 * @category models
 * @since 0.1.0
 */
export class Lease {
  readonly account: string
  amount = 0n
  held = 0n
  pending = 0n
  returning = 0n
  /** The balance is small: what a settle leaves goes back at once, so that other processes see it. */
  direct = false
  /** Another process asks for what is free here. */
  recall = false
  /** The first who waits was told to wait a moment more. */
  recalling = false
  /** Balance that nobody leased, as the database last said. */
  unleased = 0n
  lastUsed = 0
  /** Charged in the UTC day that ends at `dayEnds`, as the database last said. */
  private daySpent = 0n
  private dayEnds = 0
  /** Spent here since the last refill, for sizing the next. */
  spent = 0n
  spentSince = 0
  readonly waiters: Array<Waiter> = []

  constructor(account: string, now: number) {
    this.account = account
    this.lastUsed = now
    this.spentSince = now
  }

  get free(): bigint {
    return this.amount - this.held - this.pending - this.returning
  }

  /** Nothing is known of the account that would be lost with this. */
  get isEmpty(): boolean {
    return this.amount === 0n && this.held === 0n && this.pending === 0n && this.returning === 0n && this.waiters.length === 0
  }

  /** Holds the whole amount at once, unless others wait before. */
  tryHold(amount: bigint): boolean {
    if (this.waiters.length > 0 || this.free < amount) return false
    this.held += amount
    return true
  }

  /** Serves who waits, in order, as far as the free part goes. The balance has nothing more when `exhausted`. */
  serve(exhausted: boolean): void {
    for (let next = this.waiters[0]; next !== undefined; next = this.waiters[0]) {
      const { free } = this
      const held = free >= next.amount ? next.amount : exhausted && free >= next.minimum && free > 0n ? free : null
      if (held === null) return
      this.waiters.shift()
      this.held += held
      next.tell(held)
    }
  }

  /** Ends a hold that cost `cost`: the part that this lease pays. */
  settle(held: bigint, cost: bigint): bigint {
    const beyond = cost - held
    const { free } = this
    this.held -= held
    const extra = beyond <= 0n ? 0n : beyond < free ? beyond : free > 0n ? free : 0n
    const fromLease = beyond <= 0n ? cost : held + extra
    this.pending += fromLease
    this.spent += cost
    return fromLease
  }

  /** What is asked for: the least that helps the first who waits, and the most that all of them together want. */
  want(): { readonly least: bigint; readonly most: bigint } {
    let most = -this.free
    for (const waiter of this.waiters) most += waiter.amount
    const first = this.waiters[0]
    const least = first === undefined ? 0n : first.minimum - this.free
    return { least: least > 1n ? least : 1n, most: most > 1n ? most : 1n }
  }

  /** The most that could be had for this account now. */
  get reachable(): bigint {
    const sum = this.free + this.unleased
    return sum > 0n ? sum : 0n
  }

  /** By how much a day's spending, with all that is held and not yet written, passes a cap. */
  beyondCap(cap: bigint, now: number): bigint {
    const spent = (now < this.dayEnds ? this.daySpent : 0n) + this.held + this.pending
    return spent > cap ? spent - cap : 0n
  }

  /** Takes what the database says of this account. */
  take(total: LeaseTotals, now: number): void {
    this.amount = total.lease
    this.unleased = total.unleased
    this.daySpent = total.spent
    this.dayEnds = now + total.dayLeft
    this.recall = total.recall && total.elsewhere > 0n
  }

  /** Serves who waits from a refill, and refuses who cannot be served from all that is there. */
  answer(total: { readonly elsewhere: bigint; readonly direct: boolean }): void {
    this.recalling = false
    this.serve(this.unleased === 0n || total.direct)
    for (let first = this.waiters[0]; first !== undefined && first.minimum > this.free + this.unleased; first = this.waiters[0]) {
      // What another process holds may come back within a moment.
      if (total.elsewhere > 0n && ++first.refusals < RECALL_TRIES) {
        this.recalling = true
        break
      }
      this.waiters.shift()
      first.tell("insufficient")
      this.serve(true)
    }
    this.direct = total.direct || this.waiters.length > 0
  }

  /** What a waiter is told, in words that need no lease to understand. */
  toAnswer(held: bigint | "insufficient" | "unavailable"): HoldAnswer {
    if (held === "insufficient") return { _tag: "Insufficient", available: this.reachable }
    return held === "unavailable" ? { _tag: "Unavailable" } : { _tag: "Held", amount: held }
  }

  refuse(why: "insufficient" | "unavailable"): void {
    for (const waiter of this.waiters.splice(0)) waiter.tell(why)
  }

  /** What 30 seconds of this account's spending come to, at least some more requests like those that wait; the count starts anew. */
  target(most: bigint, now: number): bigint {
    const elapsed = BigInt(Math.max(1, now - this.spentSince))
    const rate = (this.spent * TARGET_MS) / elapsed
    const ahead = most * REQUESTS_AHEAD
    this.spent = 0n
    this.spentSince = now
    const target = rate > ahead ? rate : ahead
    return target > LEASE_MAX ? LEASE_MAX : target
  }
}
