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

/** Charges whose write is tried again, and those that can never be written. Those that succeed are counted with the requests. */
const deductions = (status: "retried" | "failed") =>
  Metric.counter("sluice_credit_deduction_total", {
    description: "Charges",
    incremental: true,
    attributes: { status, endpoint: "", is_streaming: "" }
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
  /** Ends that the journal keeps because the database did not take them in time, and those told though nothing keeps them. */
  private late = 0
  private nowhere = 0
  /** Whether the journal has ends that the database does not. */
  private inUse = false
  /** What was written lately, oldest first, a batch at a time, and how many ends that are. */
  private readonly recent: Array<{ readonly at: number; readonly settles: ReadonlyArray<PendingSettle> }> = []
  private remembered = 0

  constructor(journal: Journal | null) {
    this.journal = journal
  }

  /** Keeps an end in the journal at once, so that nobody has to wait for the database; false when it cannot. */
  keepFirst(settled: PendingSettle): boolean {
    if (this.journal === null || !this.journal.appendNow(settled.row)) return false
    settled.told = true
    settled.kept = "first"
    this.inUse = true
    return true
  }

  /** Keeps ends outside of memory. Without that they are told unsecured: our trouble does not keep a caller from the answer. */
  keep(settles: ReadonlyArray<PendingSettle>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const first = settles.filter((settled) => settled.kept === "first")
      const fresh = settles.filter((settled) => settled.kept === null)
      this.count(first, "late")
      const more = fresh.length === 0 ? Effect.void : this.journal === null ? this.tellUnsecured(fresh) : this.append(this.journal, fresh)
      return first.length === 0 ? more : Effect.andThen(Metric.update(journaled, first.length), more)
    })
  }

  private append(journal: Journal, settles: ReadonlyArray<PendingSettle>): Effect.Effect<void> {
    this.inUse = true
    this.count(settles, "late")
    return Effect.flatMap(journal.append(settles.map((settled) => settled.row)), (kept) => {
      // The database may have taken some of them meanwhile.
      const written = settles.filter((settled) => settled.kept === "book")
      if (written.length > 0) journal.written(written.map((settled) => settled.row.rid))
      return kept ? Metric.update(journaled, settles.length) : this.tellUnsecured(settles)
    })
  }

  standing(pending: number, inTime: boolean): LedgerStanding {
    return { pending, journaled: this.late, unsecured: this.nowhere, inTime }
  }

  private count(settles: ReadonlyArray<PendingSettle>, kept: PendingSettle["kept"]): void {
    for (const settled of settles) {
      if (settled.kept === "late") this.late--
      if (settled.kept === "memory") this.nowhere--
      settled.kept = kept
      if (kept === "late") this.late++
      if (kept === "memory") this.nowhere++
    }
  }

  private tellUnsecured(settles: ReadonlyArray<PendingSettle>): Effect.Effect<void> {
    const fresh = settles.filter((settled) => settled.kept !== "book")
    this.count(fresh, "memory")
    return Metric.update(unsecured, settles.length)
  }

  /** Keeps what has waited since `due`, and tells who waits for it that it is safe. */
  keepLate(waiting: ReadonlyArray<PendingSettle>, due: number): Effect.Effect<void> {
    const late = waiting.filter((settled) => settled.since <= due && (settled.kept === "first" || (settled.kept === null && !settled.told)))
    if (late.length === 0) return Effect.void
    for (const settled of late) settled.told = true
    return Effect.map(this.keep(late), () => {
      for (const { done } of late) if (done !== null) Deferred.doneUnsafe(done, Effect.void)
    })
  }

  /** Keeps everything that is owed when this process ends, and tells the operator where it is. */
  leave(owed: ReadonlyArray<PendingSettle>): Effect.Effect<void> {
    if (owed.length === 0) return Effect.void
    const fresh = owed.filter((settled) => settled.kept === null || settled.kept === "memory")
    for (const settled of fresh) settled.told = true
    // Where all are in it already this makes sure of them: what was kept at once may still be on its way to the disk.
    const append = this.journal === null ? Effect.succeed(false) : this.journal.append(fresh.map(({ row }) => row))
    return Effect.flatMap(append, (kept) => {
      const first = owed.filter((settled) => settled.kept === "first")
      this.inUse = true
      if (kept) this.count([...first, ...fresh], "late")
      const counted = kept ? Metric.update(journaled, first.length + fresh.length) : this.tellUnsecured(fresh)
      for (const { done } of owed) if (done !== null) Deferred.doneUnsafe(done, Effect.void)
      return Effect.andThen(counted, this.tellLeft(owed, kept ? [] : [...fresh, ...first]))
    })
  }

  private tellLeft(owed: ReadonlyArray<PendingSettle>, unsure: ReadonlyArray<PendingSettle>): Effect.Effect<void> {
    const away = `The database is away: ${owed.length} settlements are left to the journal and the next start`
    if (unsure.length === 0) return Effect.logWarning(away)
    const rids = unsure.map(({ row }) => row.rid).join(", ")
    return Effect.logError(`${away}; ${unsure.length} of them may be lost, because the journal cannot be written: ${rids.slice(0, 10_000)}`)
  }

  /** Counts ends that the database did not take this time. */
  sendsAgain(count: number): Effect.Effect<void> {
    return Metric.update(deductions("retried"), count)
  }

  /** Puts an end that the database can never take where the operator finds it. */
  setAside(book: LedgerBook, node: string, settled: PendingSettle, reason: string): Effect.Effect<void> {
    const { rid } = settled.row
    const attempt = Effect.suspend(() => Effect.timeout(book.quarantine(node, settled.row, reason), QUARANTINE_TIMEOUT))
    return Effect.logError(`The end of ${rid} can never be written and is set aside: ${reason.slice(0, 300)}`).pipe(
      Effect.andThen(Effect.retry(attempt, { schedule: Schedule.spaced(QUARANTINE_PAUSE), times: QUARANTINE_TRIES })),
      Effect.catch(() => Effect.logError(`The end of ${rid} is lost: ${JSON.stringify(settled.row)}`)),
      Effect.andThen(Metric.update(quarantined, 1)),
      Effect.andThen(Metric.update(deductions("failed"), 1))
    )
  }

  /** The database says that it has these. */
  written(settles: ReadonlyArray<PendingSettle>, now: number): void {
    if (settles.length === 0) return
    this.recent.push({ at: now, settles })
    this.remembered += settles.length
    for (let oldest = this.recent[0]; oldest !== undefined; oldest = this.recent[0]) {
      if (oldest.at >= now - RESEND_WINDOW && this.remembered <= RESEND_MAX) break
      this.recent.shift()
      this.remembered -= oldest.settles.length
    }
    if (this.inUse) this.journal?.written(settles.map((settled) => settled.row.rid))
    this.count(settles, "book")
  }

  /** What the database may have forgotten, to be settled again on no lease. */
  again(): ReadonlyArray<PendingSettle> {
    this.remembered = 0
    return this.recent.splice(0).flatMap(({ settles }) =>
      settles.map((settled) => ({
        ...settled,
        row: { ...settled.row, fromLease: "0" },
        fromLease: 0n,
        told: true,
        kept: null
      }))
    )
  }
}
