/**
 * The one that speaks to the database for every account of this process: gathers settles, returns and wants into batches,
 * one in flight, each applied once.
 *
 * @since 0.1.0
 */
import { Clock, Deferred, Effect, Fiber, Latch, Metric, type Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { messageOf } from "../database/Failures.ts"
import { Lease } from "./Lease.ts"
import * as LedgerBook from "./LedgerBook.ts"

/** Times are milliseconds. @category models @since 0.1.0 */
export interface CommitterOptions {
  /** Longest wait of a settlement for its group. */
  readonly flushMs: number
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

/** How waiting for money ended. @category models @since 0.1.0 */
export type HoldAnswer =
  | { readonly _tag: "Held"; readonly amount: bigint }
  | { readonly _tag: "Insufficient"; readonly available: bigint }
  | { readonly _tag: "Unavailable" }

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
const CLOSE_TIMEOUT = 10_000
const PENDING_MAX = 50_000
const WAITERS_MAX = 10_000
/** The most that one refill of a busy account brings: 5 USD. */
const LEASE_MAX = 5_000_000_000_000n
/** A refill is to last this long at the present rate of spending. */
const TARGET_MS = 30_000
const REQUESTS_AHEAD = 20n
/** Tries of one who waits while another process holds some of the balance, and the pause between them. */
const RECALL_TRIES = 4
const RECALL_PAUSE = 40

const unsecured = Metric.counter("sluice_ledger_unsecured_total", {
  description: "Ends told before their settlement was durable",
  incremental: true
})
const batches = Metric.counter("sluice_ledger_batches_total", { description: "Batches committed", incremental: true })

/** @category models @since 0.1.0 */
export type Committer = Effect.Success<ReturnType<typeof make>>

/** @category constructors @since 0.1.0 */
export const make = Effect.fnUntraced(function* (options: CommitterOptions) {
  const book = yield* LedgerBook.make
  const clock = yield* Clock.Clock
  const leases = new Map<string, Lease>()
  const dirty = new Set<Lease>()
  const queue: Array<PendingSettle> = []
  const wake = Latch.makeUnsafe(false)
  const ttl = options.leaseTtlMs ?? 60_000
  const heartbeat = options.heartbeatMs ?? 5_000
  const idleReturn = options.idleReturnMs ?? 2_000
  const { host, isGone, process } = options.incarnation

  let node = yield* book.register(host, process)
  let lastBatch = 0
  let sentAt = clock.currentTimeMillisUnsafe()
  let acknowledgedAt = sentAt
  let closing = false

  const now = () => clock.currentTimeMillisUnsafe()
  /** Past this the others may take our leases for lost: nothing more is granted from them. */
  const inTime = () => now() < acknowledgedAt + 0.9 * ttl

  const leaseOf = (account: string): Lease => {
    const known = leases.get(account)
    if (known !== undefined) return known
    const fresh = new Lease(account, now())
    leases.set(account, fresh)
    return fresh
  }

  const ask = (lease: Lease): void => {
    dirty.add(lease)
    wake.openUnsafe()
  }

  const tryHold = (account: string, amount: bigint): boolean => {
    const lease = leases.get(account)
    if (amount === 0n) {
      leaseOf(account).lastUsed = now()
      return true
    }
    if (lease === undefined || closing || !inTime() || !lease.tryHold(amount)) return false
    lease.lastUsed = now()
    return true
  }

  const wait = (account: string, amount: bigint, minimum: bigint): Effect.Effect<HoldAnswer> =>
    Effect.callback((resume) => {
      const lease = leaseOf(account)
      if (closing || queue.length >= PENDING_MAX || lease.waiters.length >= WAITERS_MAX)
        return resume(Effect.succeed({ _tag: "Unavailable" }))
      lease.lastUsed = now()
      const waiter = {
        amount,
        minimum,
        refusals: 0,
        tell: (held: bigint | "insufficient" | "unavailable") => resume(Effect.succeed(toAnswer(held, lease)))
      }
      lease.waiters.push(waiter)
      ask(lease)
      return Effect.sync(() => {
        const at = lease.waiters.indexOf(waiter)
        if (at >= 0) lease.waiters.splice(at, 1)
      })
    })

  const settle = (input: SettleInput, done: Deferred.Deferred<void>): void => {
    const lease = leaseOf(input.account)
    const fromLease = lease.settle(input.hold, input.cost)
    lease.lastUsed = now()
    const { cost, hold, ...row } = input
    queue.push({ row: { ...row, cost: String(cost), hold: String(hold), fromLease: String(fromLease) }, fromLease, done })
    if (lease.waiters.length > 0) lease.serve(false)
    ask(lease)
  }

  const release = (account: string, amount: bigint): void => {
    const lease = leaseOf(account)
    lease.held -= amount
    lease.serve(false)
    ask(lease)
  }

  const collect = (): Batch | null => {
    const settles = queue.splice(0, BATCH)
    const returns: Array<readonly [Lease, bigint]> = []
    const wants: Array<Lease> = []
    const idleBefore = now() - idleReturn
    for (const lease of dirty) {
      const idle =
        lease.held === 0n && lease.waiters.length === 0 && (lease.direct || lease.recall || closing || lease.lastUsed <= idleBefore)
      if (lease.waiters.length > 0) wants.push(lease)
      else if ((idle || lease.direct || lease.recall) && lease.free > 0n) returns.push([lease, lease.free])
    }
    dirty.clear()
    if (settles.length === 0 && returns.length === 0 && wants.length === 0 && now() - sentAt < heartbeat) return null
    for (const [lease, amount] of returns) lease.returning += amount
    // Rows in key order, so that several processes never lock in opposite orders.
    const payload = {
      settles: settles.map((pending) => pending.row),
      returns: returns.map(([lease, amount]) => ({ account: lease.account, amount: String(amount) })),
      wants: wants.map((lease) => {
        const want = lease.want()
        return {
          account: lease.account,
          least: String(want.least),
          most: String(want.most),
          target: String(targetOf(lease, want.most, now()))
        }
      })
    }
    return { number: lastBatch + 1, payload, settles, returns, wants }
  }

  const acknowledge = (batch: Batch, totals: ReadonlyArray<LedgerBook.LeaseTotals>): void => {
    for (const settled of batch.settles) {
      const lease = leases.get(settled.row.account)
      if (lease !== undefined) lease.pending -= settled.fromLease
      Deferred.doneUnsafe(settled.done, Effect.void)
    }
    for (const [lease, amount] of batch.returns) lease.returning -= amount
    const asked = new Set(batch.wants)
    for (const total of totals) {
      const lease = leaseOf(total.account)
      lease.amount = total.lease
      lease.unleased = total.unleased
      lease.recall = total.recall && total.elsewhere > 0n
      if (asked.has(lease)) answerWaiters(lease, total)
      if (lease.waiters.length > 0) dirty.add(lease)
      if ((lease.direct || lease.recall) && lease.free > 0n && lease.waiters.length === 0) dirty.add(lease)
    }
    // An account that the book does not know has no money.
    for (const lease of asked) {
      if (!totals.some((total) => total.account === lease.account))
        for (const waiter of lease.waiters.splice(0)) waiter.tell("insufficient")
    }
  }

  const answerWaiters = (lease: Lease, total: LedgerBook.LeaseTotals): void => {
    lease.serve(total.unleased === 0n || total.direct)
    for (let first = lease.waiters[0]; first !== undefined && first.minimum > lease.free + lease.unleased; first = lease.waiters[0]) {
      // What another process holds may come back within a moment.
      if (total.elsewhere > 0n && ++first.refusals < RECALL_TRIES) {
        lease.asking = true
        break
      }
      lease.waiters.shift()
      first.tell("insufficient")
      lease.serve(true)
    }
    lease.direct = total.direct || lease.waiters.length > 0
  }

  const refuseAll = (why: "insufficient" | "unavailable"): void => {
    for (const lease of leases.values()) for (const waiter of lease.waiters.splice(0)) waiter.tell(why)
  }

  /** Another process thinks us dead, or the database forgot: begin anew under a new number; what is queued settles late. */
  const startAnew = Effect.gen(function* () {
    yield* Effect.logError("The ledger lost its lease and starts anew")
    yield* Effect.ignore(book.release(node))
    node = yield* book.register(host, process)
    lastBatch = 0
    for (const lease of leases.values()) lease.amount = lease.held + lease.pending + lease.returning
  })

  const send = (batch: Batch): Effect.Effect<void> =>
    Effect.gen(function* () {
      sentAt = now()
      const totals = yield* Effect.timeout(book.commit(node, batch.number, batch.payload), COMMIT_TIMEOUT)
      acknowledgedAt = sentAt
      lastBatch = batch.number
      acknowledge(batch, totals)
      yield* Metric.update(batches, 1)
    }).pipe(
      Effect.catch((error) => recover(batch, messageOf(error))),
      Effect.catchCause((cause) =>
        Effect.andThen(
          Effect.logError("A ledger batch failed", cause),
          Effect.andThen(
            Effect.sleep(200),
            Effect.suspend(() => send(batch))
          )
        )
      )
    )

  /** The outcome is not known, or the database is away: the same batch again, until it is. */
  const recover = (batch: Batch, message: string): Effect.Effect<void> => {
    if (message.includes("ledger: fenced") || message.includes("ledger: regressed")) {
      return Effect.andThen(
        Effect.orDie(startAnew),
        Effect.suspend(() => send({ ...batch, number: 1 }))
      )
    }
    // What is free in a lease is still granted; who needs more is told that the trouble is ours.
    refuseAll("unavailable")
    return Effect.andThen(
      Effect.logWarning(`A ledger batch will be sent again: ${message.slice(0, 300)}`),
      Effect.andThen(
        Effect.sleep(100),
        Effect.suspend(() => send(batch))
      )
    )
  }

  const turn = Effect.gen(function* () {
    wake.closeUnsafe()
    const batch = collect()
    if (batch === null) return
    yield* send(batch)
    if (queue.length > 0 || dirty.size > 0) wake.openUnsafe()
    const recalled = batch.wants.filter((lease) => lease.asking)
    if (recalled.length === 0) return
    for (const lease of recalled) lease.asking = false
    yield* Effect.sleep(RECALL_PAUSE)
  })

  /** Leases of processes that are surely gone, and of those that were silent for too long. */
  const reap = Effect.gen(function* () {
    for (const other of yield* book.liveNodes(host))
      if (other.id !== node && other.process !== process && isGone(other.process)) yield* book.release(other.id)
    const silence = options.reclaimAfterMs ?? ttl + 1.1 * 600_000 + 10_000
    for (const other of yield* book.silentNodes(Math.ceil(silence))) if (other.id !== node) yield* book.release(other.id)
  }).pipe(Effect.catch((error) => Effect.logWarning(`Leases of other processes could not be looked at: ${messageOf(error).slice(0, 300)}`)))

  const beat = Effect.gen(function* () {
    const idleBefore = now() - idleReturn
    for (const lease of leases.values()) {
      if (lease.amount > 0n && lease.lastUsed <= idleBefore) dirty.add(lease)
      if (lease.amount === 0n && lease.held === 0n && lease.pending === 0n && lease.waiters.length === 0) leases.delete(lease.account)
    }
    wake.openUnsafe()
    yield* reap
  })

  /** Says that this process is gone, after everything it owes is written. */
  const close = Effect.gen(function* () {
    closing = true
    refuseAll("unavailable")
    for (const lease of leases.values()) dirty.add(lease)
    while (queue.length > 0 || dirty.size > 0) yield* turn
    yield* Effect.ignore(book.release(node))
  }).pipe(
    Effect.interruptible,
    Effect.timeoutOrElse({
      duration: CLOSE_TIMEOUT,
      orElse: () => Effect.logError(`${queue.length} settlements could not be written before the end`)
    })
  )

  yield* reap
  const loop = yield* Effect.forkScoped(Effect.forever(Effect.andThen(wake.await, Effect.uninterruptible(turn))))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(heartbeat), beat)))
  yield* Effect.addFinalizer(() => Effect.andThen(Fiber.interrupt(loop), close))

  /** Waits until a settlement is durable, within reason: the caller is not kept from the answer by our trouble. */
  const secure = (done: Deferred.Deferred<void>): Effect.Effect<void> =>
    Effect.timeoutOrElse(Deferred.await(done), {
      duration: options.settleWaitMs ?? 1_000,
      orElse: () => Metric.update(unsecured, 1)
    })

  return { book, tryHold, wait, settle, release, secure, heldOf: (account: string) => leases.get(account)?.held ?? 0n }
})

const positive = (amount: bigint): bigint => (amount > 0n ? amount : 0n)

const toAnswer = (held: bigint | "insufficient" | "unavailable", lease: Lease): HoldAnswer => {
  if (held === "insufficient") return { _tag: "Insufficient", available: positive(lease.free + lease.unleased) }
  return held === "unavailable" ? { _tag: "Unavailable" } : { _tag: "Held", amount: held }
}

/** What 30 seconds of this account's spending come to, at least some more requests like those that wait; the count starts anew. */
const targetOf = (lease: Lease, most: bigint, now: number): bigint => {
  const elapsed = BigInt(Math.max(1, now - lease.spentSince))
  const rate = (lease.spent * BigInt(TARGET_MS)) / elapsed
  const ahead = most * REQUESTS_AHEAD
  const target = rate > ahead ? rate : ahead
  lease.spent = 0n
  lease.spentSince = now
  return target > LEASE_MAX ? LEASE_MAX : target
}

/** What making a committer needs. @category models @since 0.1.0 */
export type CommitterServices = SqlClient.SqlClient | Scope.Scope
