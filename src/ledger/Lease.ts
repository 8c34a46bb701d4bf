/**
 * One account's slice of money in this process: what may be held without asking anybody. No awaits between test and change.
 *
 * @since 0.1.0
 */

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
  /** Balance that nobody leased, as the database last said. */
  unleased = 0n
  lastUsed = 0
  /** Spent here since the last refill, for sizing the next. */
  spent = 0n
  spentSince = 0
  asking = false
  readonly waiters: Array<Waiter> = []

  constructor(account: string, now: number) {
    this.account = account
    this.lastUsed = now
    this.spentSince = now
  }

  get free(): bigint {
    return this.amount - this.held - this.pending - this.returning
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
}
