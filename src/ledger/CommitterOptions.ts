/**
 * What a deployment decides about its committer.
 *
 * @since 0.1.0
 */
import type { Clock } from "effect"
import type { Journal, Journals } from "./Journal.ts"
import type { LedgerBook } from "./LedgerBook.ts"
import type { Incarnation } from "./Reclaim.ts"
import type { Stopwatch } from "./Stopwatch.ts"

/** Times are milliseconds. @category models @since 0.1.0 */
export interface CommitterOptions {
  readonly incarnation: Incarnation
  /** Where ends are kept while the database is away; null keeps them in memory alone. */
  readonly journals?: Journals | null
  /** Where a database is no safer than a file: how long an end that the journal keeps may wait for its commit. 0: it is waited for. */
  readonly journalFirstMs?: number
  /** No other process has the database: of a small balance, too, more may be leased than one request needs. */
  readonly isAlone?: boolean
  /** Defaults to the clock's time. */
  readonly stopwatch?: Stopwatch
  readonly leaseTtlMs?: number
  readonly heartbeatMs?: number
  readonly reclaimAfterMs?: number
  readonly settleWaitMs?: number
  readonly idleReturnMs?: number
}

/** What a committer works with. @category models @since 0.1.0 */
export interface CommitterParts {
  readonly options: CommitterOptions
  readonly book: LedgerBook
  /** Names the database. */
  readonly bookId: string
  readonly journal: Journal | null
  readonly clock: Clock.Clock
  /** This process in the book. */
  readonly node: string
}
