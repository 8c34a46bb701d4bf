/**
 * Where ends of requests are kept until the database has them.
 *
 * @since 0.1.0
 */
import type { Effect, Scope } from "effect"
import type { SettleRow } from "./LedgerBook.ts"

/** One process's journal. @category models @since 0.1.0 */
export interface Journal {
  /** Keeps rows so that they survive this process and this machine's power; false when that cannot be promised. */
  readonly append: (rows: ReadonlyArray<SettleRow>) => Effect.Effect<boolean>
  /** Keeps a row at once so that it survives this process, though not this machine's power; false when that cannot be promised. */
  readonly appendNow: (row: SettleRow) => boolean
  /** The database has the requests of these ids: their room may be used again. */
  readonly written: (rids: ReadonlyArray<string>) => void
}

/** What a process that is gone left. @category models @since 0.1.0 */
export interface LeftJournal {
  /** The number under which that process stood in the book. */
  readonly node: string
  readonly rows: ReadonlyArray<SettleRow>
  /** The database has its rows. */
  readonly remove: Effect.Effect<void>
}

/** The journals of one host, told apart by the book that they belong to. @category models @since 0.1.0 */
export interface Journals {
  readonly open: (book: string, node: string) => Effect.Effect<Journal, never, Scope.Scope>
  /** Those of processes that are surely gone. */
  readonly left: (book: string) => Effect.Effect<ReadonlyArray<LeftJournal>>
}
