/**
 * The one that speaks to the database for every account of this process: gathers settles, returns and wants into batches,
 * one in flight, each applied once.
 *
 * @since 0.1.0
 */
import { Clock, Deferred, Effect, Fiber, Latch, Metric, Schedule } from "effect"
import { messageOf } from "../database/Failures.ts"
import { type HoldAnswer, Lease, type Waiter } from "./Lease.ts"
import * as LedgerBook from "./LedgerBook.ts"

/** Times are milliseconds. @category models @since 0.1.0 */
export interface CommitterOptions {
  /** This process, as others of its host can tell whether it lives. */
  readonly incarnation: {
    readonly host: string
    readonly process: string
    /** Whether a process of this host is surely gone. */
    readonly isGone: (process: string) => boolean
  }
  readonly leaseTtlMs?: number
  readonly heartbeatMs?: number
  readonly reclaimAfterMs?: number
  readonly settleWaitMs?: number
  readonly idleReturnMs?: number
}

/** One end of a request. @category models @since 0.1.0 */
export interface SettleInput {
  readonly account: string
  readonly kind: "charge" | "refund"
  readonly rid: string
  readonly cost: bigint
  readonly hold: bigint
  readonly model: string
  readonly provider: string | null
  readonly price: object | null
  readonly usage: object | null
}

interface PendingSettle {
  readonly row: LedgerBook.SettleRow
  readonly fromLease: bigint
  readonly done: Deferred.Deferred<void>
}

interface Batch {
  readonly number: number
  readonly payload: LedgerBook.BatchPayload
  readonly settles: ReadonlyArray<PendingSettle>
  readonly returns: ReadonlyArray<readonly [Lease, bigint]>
  readonly wants: ReadonlyArray<Lease>
}

const BATCH = 256
/** A commit that took longer is sent again; its outcome is not known. */
const COMMIT_TIMEOUT = 5_000
const RETRY_PAUSE = 100
const HEARTBEAT = 5_000
const CLOSE_TIMEOUT = 10_000
const PENDING_MAX = 50_000
const WAITERS_MAX = 10_000
/** Until an account is asked for again while another process holds some of its balance. */
const RECALL_PAUSE = 40

const unsecured = Metric.counter("sluice_ledger_unsecured_total", {
  description: "Ends told before their settlement was durable",
  incremental: true
})
const batches = Metric.counter("sluice_ledger_batches_total", { description: "Batches committed", incremental: true })

interface Parts {
  readonly options: CommitterOptions
  readonly book: Effect.Success<typeof LedgerBook.make>
  readonly clock: Clock.Clock
  readonly node: string
}

/** The leases of this process, and the batches that keep them true. @category models @since 0.1.0 */
export class Committer {
  readonly book: Parts["book"]
  private readonly options: CommitterOptions
  private readonly clock: Clock.Clock
  private readonly ttl: number
  private node: string
  private lastBatch = 0
  private sentAt: number
  private acknowledgedAt: number
  private closing = false
  private readonly leases = new Map<string, Lease>()
  /** Leases that the next batch looks at. */
  private readonly dirty = new Set<Lease>()
  private readonly queue: Array<PendingSettle> = []
  private readonly wake = Latch.makeUnsafe(false)

  constructor({ book, clock, node, options }: Parts) {
    this.book = book
    this.options = options
    this.clock = clock
    this.node = node
    this.ttl = options.leaseTtlMs ?? 60_000
    this.sentAt = this.now()
    this.acknowledgedAt = this.sentAt
  }

  /** Holds from what is leased, at once; false when it takes a refill. */
  tryHold(account: string, amount: bigint): boolean {
    const lease = amount === 0n ? this.leaseOf(account) : this.leases.get(account)
    if (lease === undefined) return false
    if (amount > 0n && (this.closing || !this.inTime() || !lease.tryHold(amount))) return false
    lease.lastUsed = this.now()
    return true
  }

  /** Waits in the account's line for a refill. */
  wait(account: string, amount: bigint, minimum: bigint): Effect.Effect<HoldAnswer> {
    return Effect.callback((resume) => {
      const lease = this.leaseOf(account)
      if (this.closing || this.queue.length >= PENDING_MAX || lease.waiters.length >= WAITERS_MAX) {
        return resume(Effect.succeed({ _tag: "Unavailable" }))
      }
      lease.lastUsed = this.now()
      const tell: Waiter["tell"] = (held) => resume(Effect.succeed(lease.toAnswer(held)))
      const waiter: Waiter = { amount, minimum, refusals: 0, tell }
      lease.waiters.push(waiter)
      this.ask(lease)
      return Effect.sync(() => {
        const at = lease.waiters.indexOf(waiter)
        if (at >= 0) lease.waiters.splice(at, 1)
      })
    })
  }

  /** Ends a hold; `done` is told when the end is durable. */
  settle(input: SettleInput, done: Deferred.Deferred<void>): void {
    const lease = this.leaseOf(input.account)
    const fromLease = lease.settle(input.hold, input.cost)
    lease.lastUsed = this.now()
    const { cost, hold, ...row } = input
    this.queue.push({ row: { ...row, cost: String(cost), hold: String(hold), fromLease: String(fromLease) }, fromLease, done })
    lease.serve(false)
    this.ask(lease)
  }

  /** Gives a hold back: nothing was served. */
  release(account: string, amount: bigint): void {
    const lease = this.leaseOf(account)
    lease.held -= amount
    lease.serve(false)
    this.ask(lease)
  }

  heldOf(account: string): bigint {
    return this.leases.get(account)?.held ?? 0n
  }

  /** By how much what an account spent and holds today passes a cap. */
  beyondCap(account: string, cap: bigint): bigint {
    return this.leases.get(account)?.beyondCap(cap, this.today()) ?? 0n
  }

  get nodeNumber(): string {
    return this.node
  }

  /** Waits until a settlement is durable, within reason: the caller is not kept from the answer by our trouble. */
  secure(done: Deferred.Deferred<void>): Effect.Effect<void> {
    return Effect.timeoutOrElse(Deferred.await(done), {
      duration: this.options.settleWaitMs ?? 1_000,
      orElse: () => Metric.update(unsecured, 1)
    })
  }

  /** Commits batch after batch, as long as there is something to commit. */
  readonly run: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      Effect.suspend(() => this.wake.await),
      Effect.uninterruptible(Effect.suspend(() => this.turn()))
    )
  )

  /** Looks after what no request does: idle leases, leases of processes that are gone, and that this one is seen to live. */
  readonly beat: Effect.Effect<void> = Effect.suspend(() => {
    const idleBefore = this.now() - (this.options.idleReturnMs ?? 2_000)
    for (const lease of this.leases.values()) {
      if (lease.amount > 0n && lease.lastUsed <= idleBefore) this.dirty.add(lease)
      if (lease.isEmpty) this.leases.delete(lease.account)
    }
    this.wake.openUnsafe()
    return this.reap
  })

  /** Leases of processes that are surely gone, and of those that were silent for too long. */
  readonly reap: Effect.Effect<void> = Effect.suspend(() => {
    const { host, isGone, process } = this.options.incarnation
    const silence = this.options.reclaimAfterMs ?? this.ttl + 1.1 * 600_000 + 10_000
    const { book } = this
    const self = this
    return Effect.gen(function* () {
      for (const other of yield* book.liveNodes(host)) {
        if (other.id !== self.node && other.process !== process && isGone(other.process)) yield* book.release(other.id)
      }
      for (const other of yield* book.silentNodes(Math.ceil(silence))) if (other.id !== self.node) yield* book.release(other.id)
    }).pipe(Effect.catch((error) => Effect.logWarning(`Leases of other processes could not be looked at: ${brief(error)}`)))
  })

  /** Writes everything that is owed, gives every lease back and says that this process is gone. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.closing = true
    this.refuseAll("unavailable")
    for (const lease of this.leases.values()) this.dirty.add(lease)
    const drain: Effect.Effect<void> = Effect.suspend(() =>
      this.queue.length > 0 || this.dirty.size > 0 ? Effect.andThen(this.turn(), drain) : Effect.void
    )
    return Effect.andThen(drain, Effect.ignore(this.book.release(this.node)))
  }).pipe(
    Effect.interruptible,
    Effect.timeoutOrElse({
      duration: CLOSE_TIMEOUT,
      orElse: () => Effect.logError(`${this.queue.length} settlements could not be written before the end`)
    })
  )

  private now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  private today(): number {
    return Math.floor(this.now() / 86_400_000)
  }

  /** Past this the others may take our leases for lost: nothing more is granted from them. */
  private inTime(): boolean {
    return this.now() < this.acknowledgedAt + 0.9 * this.ttl
  }

  private leaseOf(account: string): Lease {
    const known = this.leases.get(account)
    if (known !== undefined) return known
    const fresh = new Lease(account, this.now())
    this.leases.set(account, fresh)
    return fresh
  }

  private ask(lease: Lease): void {
    this.dirty.add(lease)
    this.wake.openUnsafe()
  }

  private turn(): Effect.Effect<void> {
    this.wake.closeUnsafe()
    const batch = this.collect()
    if (batch === null) return Effect.void
    return Effect.flatMap(this.send(batch), () => {
      if (this.queue.length > 0 || this.dirty.size > 0) this.wake.openUnsafe()
      // What another process was asked to give back takes a moment to come.
      const recalling = batch.wants.filter((lease) => lease.recalling)
      const askAgain = (lease: Lease) =>
        Effect.andThen(
          Effect.sleep(RECALL_PAUSE),
          Effect.sync(() => this.ask(lease))
        )
      return Effect.forEach(recalling, (lease) => Effect.forkChild(askAgain(lease)), { discard: true })
    })
  }

  private collect(): Batch | null {
    const settles = this.queue.splice(0, BATCH)
    const returns: Array<readonly [Lease, bigint]> = []
    const wants: Array<Lease> = []
    const idleBefore = this.now() - (this.options.idleReturnMs ?? 2_000)
    // Rows in key order, so that several processes never lock in opposite orders.
    for (const lease of [...this.dirty].sort((a, b) => (a.account < b.account ? -1 : 1))) {
      if (lease.waiters.length > 0) wants.push(lease)
      else if (lease.free > 0n && (lease.direct || lease.recall || this.closing || (lease.held === 0n && lease.lastUsed <= idleBefore))) {
        returns.push([lease, lease.free])
      }
    }
    this.dirty.clear()
    const due = this.now() - this.sentAt >= (this.options.heartbeatMs ?? HEARTBEAT)
    if (settles.length === 0 && returns.length === 0 && wants.length === 0 && !due) return null
    for (const [lease, amount] of returns) lease.returning += amount
    const payload = {
      settles: settles.map((pending) => pending.row),
      returns: returns.map(([lease, amount]) => ({ account: lease.account, amount: String(amount) })),
      wants: wants.map((lease) => {
        const want = lease.want()
        return {
          account: lease.account,
          least: String(want.least),
          most: String(want.most),
          target: String(lease.target(want.most, this.now()))
        }
      })
    }
    return { number: this.lastBatch + 1, payload, settles, returns, wants }
  }

  private send(batch: Batch): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.sentAt = this.now()
      return Effect.timeout(this.book.commit(this.node, batch.number, batch.payload), COMMIT_TIMEOUT)
    }).pipe(
      Effect.flatMap((totals) => {
        this.acknowledgedAt = this.sentAt
        this.lastBatch = batch.number
        this.acknowledge(batch, totals)
        return Metric.update(batches, 1)
      }),
      Effect.catch((error) => this.recover(batch, messageOf(error)))
    )
  }

  /** The outcome is not known, or the database is away: the same batch again, until it is. */
  private recover(batch: Batch, message: string): Effect.Effect<void> {
    if (message.includes("ledger: fenced") || message.includes("ledger: regressed")) {
      return Effect.andThen(
        this.startAnew(),
        Effect.suspend(() => this.send({ ...batch, number: 1 }))
      )
    }
    // What is free in a lease is still granted; who needs more is told that the trouble is ours.
    this.refuseAll("unavailable")
    return Effect.logWarning(`A ledger batch will be sent again: ${message.slice(0, 300)}`).pipe(
      Effect.andThen(Effect.sleep(RETRY_PAUSE)),
      Effect.andThen(Effect.suspend(() => this.send(batch)))
    )
  }

  /** Another process thinks us dead, or the database forgot: begin anew under a new number; what is queued settles late. */
  private startAnew(): Effect.Effect<void> {
    const { host, process } = this.options.incarnation
    return Effect.logError("The ledger lost its lease and starts anew").pipe(
      Effect.andThen(Effect.ignore(this.book.release(this.node))),
      Effect.andThen(Effect.retry(this.book.register(host, process), { schedule: Schedule.spaced(RETRY_PAUSE) })),
      Effect.map((node) => {
        this.node = node
        this.lastBatch = 0
        // What is held stands on nothing now: `free` is below zero by it, until it ends or is leased anew.
        for (const lease of this.leases.values()) lease.amount = 0n
      }),
      Effect.orDie
    )
  }

  /**
   * Takes a batch's outcome. Whoever is told something may go on at once and hold again, so first every lease is true,
   * and only then is anybody told.
   */
  private acknowledge(batch: Batch, totals: ReadonlyArray<LedgerBook.LeaseTotals>): void {
    for (const settled of batch.settles) this.leaseOf(settled.row.account).pending -= settled.fromLease
    for (const [lease, amount] of batch.returns) lease.returning -= amount
    for (const total of totals) {
      const lease = this.leaseOf(total.account)
      lease.amount = total.lease
      lease.unleased = total.unleased
      lease.daySpent = total.spent
      lease.day = this.today()
      lease.recall = total.recall && total.elsewhere > 0n
    }
    const asked = new Set(batch.wants)
    for (const total of totals) {
      const lease = this.leaseOf(total.account)
      if (asked.delete(lease)) lease.answer(total)
      const restless = lease.waiters.length > 0 ? !lease.recalling : (lease.direct || lease.recall) && lease.free > 0n
      if (restless) this.dirty.add(lease)
    }
    // An account that the book does not know has no money.
    for (const lease of asked) lease.refuse("insufficient")
    for (const settled of batch.settles) Deferred.doneUnsafe(settled.done, Effect.void)
  }

  private refuseAll(why: "insufficient" | "unavailable"): void {
    for (const lease of this.leases.values()) lease.refuse(why)
  }
}

/** Registers this process, takes over from those that are gone, and commits until the Scope closes. @category constructors @since 0.1.0 */
export const make = Effect.fnUntraced(function* (options: CommitterOptions) {
  const book = yield* LedgerBook.make
  const clock = yield* Clock.Clock
  const node = yield* book.register(options.incarnation.host, options.incarnation.process)
  const committer = new Committer({ book, clock, node, options })
  yield* committer.reap
  const loop = yield* Effect.forkScoped(committer.run)
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(options.heartbeatMs ?? HEARTBEAT), committer.beat)))
  yield* Effect.addFinalizer(() => Effect.andThen(Fiber.interrupt(loop), committer.close))
  return committer
})

const brief = (error: unknown): string => messageOf(error).slice(0, 300)
