/**
 * What this process remembers of ends, so that neither a database that is away nor one that forgets loses any.
 *
 * @since 0.1.0
 */
import { Deferred, Effect, Metric, Schedule } from "effect"
import type { PendingSettle } from "./Batch.ts"
import type { Journal } from "./Journal.ts"
import type { LedgerBook } from "./LedgerBook.ts"

/** What was written this recently (milliseconds) is sent again to a database that may have forgotten it. */
const RESEND_WINDOW = 60_000
const RESEND_MAX = 20_000
const QUARANTINE_TIMEOUT = 5_000
const QUARANTINE_PAUSE = 100
const QUARANTINE_TRIES = 600

const unsecured = Metric.counter("sluice_ledger_unsecured_total", {
  description: "Ends told before their settlement was durable",
  incremental: true
})
const journaled = Metric.counter("sluice_ledger_journaled_total", {
  description: "Ends kept in the journal because the database did not answer in time",
  incremental: true
})

const quarantined = Metric.counter("sluice_ledger_quarantined_total", {
  description: "Settlements that the database can never take",
  incremental: true
})

/** How this process's ledger stands with the database. @category models @since 0.1.0 */
export interface LedgerStanding {
  /** Ends that the database does not have yet. */
  readonly pending: number
  /** Those of them that the journal keeps, and those that nothing does but memory, though their callers were told. */
  readonly journaled: number
  readonly unsecured: number
  /** Whether the database was heard of lately enough for leases to hold. */
  readonly inTime: boolean
}

/** @category models @since 0.1.0 */
export class Keeper {
  private readonly journal: Journal | null
  /** Requests whose end is in the journal and not yet in the database. */
  private readonly inJournal = new Set<string>()
  /** Requests whose end was told though it is kept nowhere. */
  private readonly nowhere = new Set<string>()
  /** What was written lately, oldest first. */
  private readonly recent: Array<{ readonly at: number; readonly settled: PendingSettle }> = []

  constructor(journal: Journal | null) {
    this.journal = journal
  }

  /** Keeps ends outside of memory. Without that they are told unsecured: our trouble does not keep a caller from the answer. */
  keep(settles: ReadonlyArray<PendingSettle>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const fresh = settles.filter((settled) => !this.inJournal.has(settled.row.rid))
      if (fresh.length === 0) return Effect.void
      if (this.journal === null) return this.tellUnsecured(fresh)
      for (const settled of fresh) this.inJournal.add(settled.row.rid)
      return Effect.flatMap(this.journal.append(fresh.map((settled) => settled.row)), (kept) =>
        kept ? Metric.update(journaled, fresh.length) : this.tellUnsecured(fresh)
      )
    })
  }

  standing(pending: number, inTime: boolean): LedgerStanding {
    return { pending, journaled: this.inJournal.size - this.nowhere.size, unsecured: this.nowhere.size, inTime }
  }

  private tellUnsecured(settles: ReadonlyArray<PendingSettle>): Effect.Effect<void> {
    for (const { row } of settles) {
      this.nowhere.add(row.rid)
      this.inJournal.add(row.rid)
    }
    return Metric.update(unsecured, settles.length)
  }

  /** Keeps what has waited since `due`, and tells who waits for it that it is safe. */
  keepLate(waiting: ReadonlyArray<PendingSettle>, due: number): Effect.Effect<void> {
    const late = waiting.filter((settled) => settled.since <= due && !settled.told)
    if (late.length === 0) return Effect.void
    for (const settled of late) settled.told = true
    return Effect.map(this.keep(late), () => {
      for (const settled of late) Deferred.doneUnsafe(settled.done, Effect.void)
    })
  }

  /** Puts an end that the database can never take where the operator finds it. */
  setAside(book: LedgerBook, node: string, settled: PendingSettle, reason: string): Effect.Effect<void> {
    const { rid } = settled.row
    const attempt = Effect.suspend(() => Effect.timeout(book.quarantine(node, settled.row, reason), QUARANTINE_TIMEOUT))
    return Effect.logError(`The end of ${rid} can never be written and is set aside: ${reason.slice(0, 300)}`).pipe(
      Effect.andThen(Effect.retry(attempt, { schedule: Schedule.spaced(QUARANTINE_PAUSE), times: QUARANTINE_TRIES })),
      Effect.catch(() => Effect.logError(`The end of ${rid} is lost: ${JSON.stringify(settled.row)}`)),
      Effect.andThen(Metric.update(quarantined, 1))
    )
  }

  /** The database says that it has these. */
  written(settles: ReadonlyArray<PendingSettle>, now: number): Effect.Effect<void> {
    for (const settled of settles) this.recent.push({ at: now, settled })
    let old = Math.max(0, this.recent.length - RESEND_MAX)
    while (old < this.recent.length && (this.recent[old]?.at ?? now) < now - RESEND_WINDOW) old++
    if (old > 0) this.recent.splice(0, old)
    if (this.inJournal.size === 0) return Effect.void
    for (const settled of settles) {
      this.inJournal.delete(settled.row.rid)
      this.nowhere.delete(settled.row.rid)
    }
    return this.journal !== null && this.inJournal.size === 0 ? this.journal.clear : Effect.void
  }

  /** What the database may have forgotten, to be settled again on no lease. */
  again(): ReadonlyArray<PendingSettle> {
    return this.recent.splice(0).map(({ settled }) => ({ ...settled, row: { ...settled.row, fromLease: "0" }, fromLease: 0n, told: true }))
  }
}
