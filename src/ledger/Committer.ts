/**
 * Speaks to the database for every account of this process: settles, returns and wants in batches, one in flight, each applied once.
 *
 * @since 0.1.0
 */
import { Clock, Deferred, Effect, Fiber, Metric, Schedule, type Scope } from "effect"
import { isDataError, messageOf } from "../database/Failures.ts"
import * as Batch from "./Batch.ts"
import type { CommitterOptions, CommitterParts } from "./CommitterOptions.ts"
import { Keeper, type LedgerStanding } from "./Keeper.ts"
import type { HoldAnswer, Lease, Waiter } from "./Lease.ts"
import { Leases } from "./Leases.ts"
import type { LeaseTotals, LedgerBook } from "./LedgerBook.ts"
import { Outage } from "./Outage.ts"
import { Pace } from "./Pace.ts"
import * as Reclaim from "./Reclaim.ts"
import * as Stopwatch from "./Stopwatch.ts"

const BATCH = 512
/** So many ends are written before their time is up: more would keep the process's other work for too long. */
const GATHERED = 400
/** A commit that took longer is sent again; its outcome is not known. */
const COMMIT_TIMEOUT = 5_000
const RETRY_PAUSE = 100
const HEARTBEAT = 5_000
const LEASE_TTL = 60_000
const SETTLE_WAIT = 1_000
const MAX_REQUEST = 600_000
/** The last batches take so long at most; while the database is away, so long after it went or the stop began. */
const CLOSE_TIMEOUT = 8_000
const CLOSE_PATIENCE = 3_000
const PENDING_MAX = 50_000
const WAITERS_MAX = 10_000
/** Until an account is asked for again while another process holds some of its balance. */
const RECALL_PAUSE = 40
const batches = Metric.counter("sluice_ledger_batches_total", { description: "Batches committed", incremental: true })

/** The leases of this process, and the batches that keep them true. @category models @since 0.1.0 */
export class Committer {
  private readonly parts: CommitterParts
  private readonly ttl: number
  private readonly stopwatch: Stopwatch.Stopwatch
  private node: string
  private lastBatch = 0
  private sinceSent: () => number
  private sinceAcknowledged: () => number
  /** Since when it closes. */
  private closing: number | null = null
  /** The database is waited for no more: no batch is begun, and none is sent again. */
  private gaveUp = false
  readonly leases: Leases
  private readonly queue: Array<Batch.PendingSettle> = []
  /** Settles of the batch under way that the database does not surely have. */
  private sending: ReadonlyArray<Batch.PendingSettle> = []
  private readonly keeper: Keeper
  private readonly journalFirst: boolean
  private readonly pace: Pace
  private readonly outage = new Outage()
  private readonly isAlone: boolean

  constructor(parts: CommitterParts) {
    this.parts = parts
    this.node = parts.node
    this.isAlone = parts.options.isAlone ?? false
    this.leases = new Leases(this.isAlone, parts.options.idleReturnMs)
    this.keeper = new Keeper(parts.journal)
    this.pace = new Pace(parts.options.journalFirstMs ?? 0)
    this.journalFirst = (parts.options.journalFirstMs ?? 0) > 0
    this.ttl = parts.options.leaseTtlMs ?? LEASE_TTL
    this.stopwatch = parts.options.stopwatch ?? Stopwatch.ofClock(parts.clock)
    this.sinceSent = this.stopwatch()
    this.sinceAcknowledged = this.sinceSent
  }

  /** Holds from what is leased, at once; false when it takes a refill. */
  tryHold(account: string, amount: bigint): boolean {
    const now = this.now()
    const lease = amount === 0n ? this.leases.of(account, now) : this.leases.find(account)
    if (lease === undefined) return false
    if (amount > 0n && (this.closing !== null || !this.inTime() || !lease.tryHold(amount))) return false
    lease.lastUsed = now
    return true
  }

  /** Waits in the account's line for a refill. */
  wait(account: string, amount: bigint, minimum: bigint): Effect.Effect<HoldAnswer> {
    return Effect.callback((resume) => {
      const lease = this.leases.of(account, this.now())
      if (this.closing !== null || this.queue.length >= PENDING_MAX || lease.waiters.length >= WAITERS_MAX) {
        return resume(Effect.succeed({ _tag: "Unavailable" }))
      }
      lease.lastUsed = this.now()
      const tell: Waiter["tell"] = (held) => resume(Effect.succeed(lease.toAnswer(held)))
      const waiter: Waiter = { amount, minimum, refusals: 0, tell }
      lease.waiters.push(waiter)
      this.ask(lease, true)
      return Effect.sync(() => {
        const at = lease.waiters.indexOf(waiter)
        if (at >= 0) lease.waiters.splice(at, 1)
      })
    })
  }

  /** Ends a hold; what it gives is waited for by `secure`. */
  settle(input: Batch.SettleInput): Batch.PendingSettle {
    const now = this.now()
    const lease = this.leases.of(input.account, now)
    const fromLease = lease.settle(input.hold, input.cost)
    lease.lastUsed = now
    const pending = Batch.pending(input, fromLease, now)
    this.queue.push(pending)
    this.pace.take(1)
    const kept = this.journalFirst && this.keeper.keepFirst(pending)
    if (!kept) pending.done = Deferred.makeUnsafe<void>()
    if (lease.waiters.length > 0 && this.inTime()) lease.serve(false)
    this.ask(lease, !kept)
    return pending
  }

  /** Gives a hold back: nothing was served. */
  release(account: string, amount: bigint): void {
    const lease = this.leases.of(account, this.now())
    lease.held -= amount
    if (lease.waiters.length > 0 && this.inTime()) lease.serve(false)
    this.ask(lease, !this.journalFirst)
  }

  /** Gives back what is free of an account's lease and waits for that: then all of its balance that nobody holds can be taken. */
  giveBack(account: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      const lease = this.leases.find(account)
      if (lease === undefined || lease.free <= 0n) return Effect.void
      lease.recall = true
      this.leases.touch(lease)
      return Effect.asVoid(Effect.timeoutOption(this.pace.next, COMMIT_TIMEOUT))
    })
  }

  /** By how much what an account spent and holds today passes a cap. */
  beyondCap(account: string, cap: bigint): bigint {
    return this.leases.find(account)?.beyondCap(cap, this.now()) ?? 0n
  }
  get standing(): LedgerStanding {
    return this.keeper.standing(this.queue.length + this.sending.length, this.inTime())
  }

  get nodeNumber(): string {
    return this.node
  }

  /** Waits until a settlement is durable, in the database or the journal; null where it is. */
  secure(settled: Batch.PendingSettle): Effect.Effect<void> | null {
    return settled.done === null ? null : Deferred.await(settled.done)
  }

  /** Waits until the database has what only the journal has now, so that who reads there sees it. */
  readonly flush: Effect.Effect<void> = Effect.suspend(() =>
    this.journalFirst ? Effect.asVoid(Effect.timeoutOption(this.pace.flushed, COMMIT_TIMEOUT)) : Effect.void
  )

  /** Looks for ends that the database has not taken in time. One watch for all: a timer each would cost more than the settle. */
  readonly watch: Effect.Effect<void> = Effect.suspend(() =>
    this.keeper.keepLate(this.owed, this.now() - (this.parts.options.settleWaitMs ?? SETTLE_WAIT))
  )

  /** Commits batch after batch, until it is closed and owes nothing, or the database is waited for no more. */
  readonly run: Effect.Effect<void> = Effect.whileLoop({
    while: () => !this.gaveUp && (this.closing === null || this.queue.length > 0 || this.leases.isDirty),
    // The database of one who is alone has this thread while it commits: whoever has come already is let in first.
    body: () => Effect.flatMap(this.isAlone ? Effect.andThen(this.pace.wait, Effect.yieldNow) : this.pace.wait, () => this.turn()),
    step: () => {}
  })

  /** Sees to it that what nobody waits for is committed in time. */
  get gather(): Effect.Effect<never> {
    return this.pace.beat
  }

  /** Looks after what no request does: idle leases, leases of processes that are gone, and that this one is seen to live. */
  readonly beat: Effect.Effect<void> = Effect.suspend(() => {
    this.leases.tidy(this.now())
    this.pace.now()
    return this.reclaim
  })

  readonly reclaim: Effect.Effect<void> = Effect.suspend(() => {
    const { book, bookId, options } = this.parts
    const { incarnation, journals = null } = options
    const silenceMs = options.reclaimAfterMs ?? this.ttl + 1.1 * MAX_REQUEST + 10_000
    return Effect.timeoutOrElse(Reclaim.reclaim({ book, bookId, journals, incarnation, silenceMs }, this.node), {
      duration: COMMIT_TIMEOUT,
      orElse: () => Effect.logWarning("Leases of other processes could not be looked at in time")
    })
  })

  /**
   * Lets the loop write everything that is owed, gives every lease back and says that this process is gone. Where the database
   * does not take that in time, what is owed goes to the journal, and the loop is left alone: it would wait for its batch.
   */
  close(loop: Fiber.Fiber<void>): Effect.Effect<void> {
    const leave = Effect.suspend(() => Effect.ignore(this.parts.book.takeOver(this.node, [])))
    const end = Effect.suspend(() => {
      this.closing = this.now()
      this.leases.refuseAll("unavailable")
      this.leases.touchAll()
      this.pace.now()
      return Effect.flatMap(Fiber.await(loop), () => (this.gaveUp || this.owed.length > 0 ? Effect.void : leave))
    })
    return Effect.forkDetach(end).pipe(
      Effect.flatMap((ending) => Effect.timeoutOption(Fiber.await(ending), this.outage.isOn ? CLOSE_PATIENCE : CLOSE_TIMEOUT)),
      Effect.andThen(
        Effect.suspend(() => {
          this.gaveUp = true
          return Effect.andThen(Effect.forkDetach(Fiber.interrupt(loop)), this.keeper.leave(this.owed))
        })
      )
    )
  }

  /** Milliseconds that go on whatever the wall clock is set to. */
  private now(): number {
    return Number(this.parts.clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  }

  /** Ends that the database does not surely have. */
  private get owed(): ReadonlyArray<Batch.PendingSettle> {
    return [...this.sending, ...this.queue]
  }

  /** Past this the others may take our leases for lost: nothing more is granted from them. */
  private inTime(): boolean {
    return this.sinceAcknowledged() < 0.9 * this.ttl
  }

  private ask(lease: Lease, isWaitedFor: boolean): void {
    this.leases.touch(lease)
    if (isWaitedFor || lease.recall || lease.waiters.length > 0 || this.queue.length >= GATHERED) this.pace.now()
    else this.pace.soon()
  }

  private turn(): Effect.Effect<void> {
    const over = this.pace.turn()
    const batch = this.collect()
    if (batch === null) return Effect.sync(over)
    this.sending = batch.settles
    return Effect.flatMap(this.send(batch), () => {
      over()
      if (this.queue.length >= GATHERED) this.pace.now()
      else if (this.queue.length > 0 || this.leases.isDirty) this.journalFirst && this.closing === null ? this.pace.soon() : this.pace.now()
      // What another process was asked to give back takes a moment to come.
      const recalling = batch.wants.filter((lease) => lease.recalling)
      const asked = (lease: Lease) => Effect.sync(() => this.ask(lease, true))
      const askAgain = (lease: Lease) => Effect.andThen(Effect.sleep(RECALL_PAUSE), asked(lease))
      return Effect.forEach(recalling, (lease) => Effect.forkChild(askAgain(lease)), { discard: true })
    })
  }

  private collect(): Batch.Batch | null {
    const settles = this.queue.splice(0, BATCH)
    const { returns, wants } = this.leases.collect(this.closing !== null, this.now())
    const due = this.sinceSent() >= (this.parts.options.heartbeatMs ?? HEARTBEAT)
    if (settles.length === 0 && returns.length === 0 && wants.length === 0 && !due) return null
    for (const [lease, amount] of returns) lease.returning += amount
    return Batch.make(this.lastBatch + 1, settles, returns, wants, this.now(), this.isAlone)
  }

  private send(batch: Batch.Batch): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.gaveUp) return Effect.void
      const sinceSent = this.stopwatch()
      this.sinceSent = sinceSent
      return Effect.timeout(this.parts.book.commit(this.node, batch.number, batch.payload), COMMIT_TIMEOUT).pipe(
        Effect.flatMap((totals) => {
          this.sinceAcknowledged = sinceSent
          this.lastBatch = batch.number
          this.acknowledge(batch, totals)
          const counted = Metric.update(batches, 1)
          return this.outage.isOn ? Effect.andThen(this.outage.over(this.now()), counted) : counted
        })
      )
    }).pipe(Effect.catch((error) => this.recover(batch, error)))
  }

  /** The outcome is not known, or the database is away: the same batch again, until it is. */
  private recover(batch: Batch.Batch, error: unknown): Effect.Effect<void> {
    const message = messageOf(error)
    if (message.includes("ledger: fenced") || message.includes("ledger: regressed")) {
      return Effect.andThen(
        this.startAnew(),
        Effect.suspend(() => this.send({ ...batch, number: 1 }))
      )
    }
    if (isDataError(error)) return this.isolate(batch, message)
    // What is free in a lease is still granted; who needs more is told that the trouble is ours.
    this.leases.refuseAll("unavailable")
    const now = this.now()
    const told = Effect.andThen(this.outage.goesOn(now, message), this.keeper.sendsAgain(batch.settles.length))
    if (this.closing !== null && now - Math.max(this.closing, this.outage.began) >= CLOSE_PATIENCE) {
      this.gaveUp = true
      return told
    }
    return told.pipe(Effect.andThen(Effect.sleep(RETRY_PAUSE)), Effect.andThen(Effect.suspend(() => this.send(batch))))
  }

  /** A row of the batch can never be written. Nothing of it was applied: halves are tried, and the culprit is set aside. */
  private isolate(batch: Batch.Batch, reason: string): Effect.Effect<void> {
    const [settled, ...others] = batch.settles
    if (settled === undefined) {
      for (const [lease, amount] of batch.returns) lease.returning -= amount
      for (const lease of batch.wants) lease.refuse("unavailable")
      return Effect.logError(`The database refuses what leases ask for: ${reason.slice(0, 300)}`)
    }
    if (others.length > 0 || batch.returns.length > 0 || batch.wants.length > 0) {
      const [first, second] = Batch.split(batch)
      return Effect.andThen(
        this.send(first),
        Effect.suspend(() => this.send({ ...second, number: this.lastBatch + 1 }))
      )
    }
    return this.keeper
      .setAside(this.parts.book, this.node, settled, reason)
      .pipe(Effect.andThen(Effect.sync(() => this.acknowledge(batch, []))))
  }

  /**
   * Another process thinks us dead, or the database forgot: begin anew under a new number. What is queued settles late, and
   * what was written lately is sent again: a request that is in the book already is passed over.
   */
  private startAnew(): Effect.Effect<void> {
    const { book, options } = this.parts
    const { host, process } = options.incarnation
    return Effect.logError("The ledger lost its lease and starts anew").pipe(
      Effect.andThen(Effect.ignore(Effect.suspend(() => Effect.timeout(book.takeOver(this.node, []), COMMIT_TIMEOUT)))),
      Effect.andThen(
        Effect.retry(Effect.timeout(book.register(host, process), COMMIT_TIMEOUT), { schedule: Schedule.spaced(RETRY_PAUSE) })
      ),
      Effect.map((node) => {
        this.node = node
        this.lastBatch = 0
        this.leases.lose()
        const again = this.keeper.again()
        this.queue.push(...again)
        this.pace.take(again.length)
        this.pace.now()
      }),
      Effect.orDie
    )
  }

  /**
   * Takes a batch's outcome. Whoever is told something may go on at once and hold again, so first every lease is true,
   * and only then is anybody told.
   */
  private acknowledge(batch: Batch.Batch, totals: ReadonlyArray<LeaseTotals>): void {
    const now = this.now()
    // Of a batch that was divided the other part is still under way.
    if (this.sending === batch.settles) this.sending = []
    else this.sending = this.sending.filter((settled) => !batch.settles.includes(settled))
    this.leases.take(batch, totals, now)
    const asked = new Set(batch.wants)
    for (const total of totals) {
      const lease = this.leases.of(total.account, now)
      // An answer that comes too late (this process was stopped, or slept) grants nothing: others may have the money by now.
      if (!this.inTime()) lease.refuse("unavailable")
      if (asked.delete(lease)) lease.answer(total)
      const restless = lease.waiters.length > 0 ? !lease.recalling : (lease.direct || lease.recall) && lease.free > 0n
      if (restless) this.leases.touch(lease)
      if (lease.waiters.length > 0) this.pace.now()
    }
    // An account that the book does not know has no money.
    for (const lease of asked) lease.refuse("insufficient")
    this.keeper.written(batch.settles, now)
    for (const { done } of batch.settles) if (done !== null) Deferred.doneUnsafe(done, Effect.void)
    this.pace.write(batch.settles.length)
  }
}

/** Registers this process, takes over from those that are gone, and commits until the Scope closes. @category constructors @since 0.1.0 */
export const make = Effect.fnUntraced(function* (
  book: LedgerBook,
  options: CommitterOptions
): Effect.fn.Return<Committer, unknown, Scope.Scope> {
  const clock = yield* Clock.Clock
  const bookId = yield* Effect.timeout(book.id, COMMIT_TIMEOUT)
  const node = yield* Effect.timeout(book.register(options.incarnation.host, options.incarnation.process), COMMIT_TIMEOUT)
  const journal = options.journals == null ? null : yield* options.journals.open(bookId, node)
  const committer = new Committer({ book, bookId, clock, journal, node, options })
  yield* committer.reclaim
  yield* Effect.forkScoped(committer.gather)
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(options.heartbeatMs ?? HEARTBEAT), committer.beat)))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep((options.settleWaitMs ?? SETTLE_WAIT) / 4), committer.watch)))
  // The Scope itself would wait for the loop without end.
  yield* Effect.acquireRelease(Effect.forkDetach(committer.run), (loop) => committer.close(loop))
  return committer
})
