/**
 * Money that processes which are gone had leased, given back.
 *
 * @since 0.1.0
 */
import { Effect } from "effect"
import { isDataError, messageOf } from "../database/Failures.ts"
import type { Journals } from "./Journal.ts"
import type { LedgerBook, SettleRow } from "./LedgerBook.ts"

/** This process, as others of its host can tell whether it lives. @category models @since 0.1.0 */
export interface Incarnation {
  readonly host: string
  readonly process: string
  /** Whether a process of this host is surely gone. */
  readonly isGone: (process: string) => boolean
}

/** @category models @since 0.1.0 */
export interface ReclaimOptions {
  readonly book: LedgerBook
  readonly bookId: string
  readonly journals: Journals | null
  readonly incarnation: Incarnation
  /** A process of another host that was silent for so long, in milliseconds, is taken for dead. */
  readonly silenceMs: number
}

/**
 * Leases of this host's processes that are surely gone, with what their journals kept; and of any process that was silent
 * for too long. Journals come last: what they settle may be paid from what the others gave back.
 *
 * @category running
 * @since 0.1.0
 */
export const reclaim = (options: ReclaimOptions, self: string): Effect.Effect<void> => {
  const { book, bookId, incarnation, journals } = options
  return Effect.gen(function* () {
    const left = journals === null ? [] : yield* journals.left(bookId)
    const kept = new Set(left.map((journal) => journal.node))
    const takeOver = (node: string) => (node === self || kept.has(node) ? Effect.void : book.takeOver(node, []))
    for (const other of yield* book.liveNodes(incarnation.host)) {
      if (other.process !== incarnation.process && incarnation.isGone(other.process)) yield* takeOver(other.id)
    }
    for (const other of yield* book.silentNodes(Math.ceil(options.silenceMs))) yield* takeOver(other.id)
    for (const journal of left) {
      yield* settleLeft(book, journal.node, journal.rows)
      yield* journal.remove
      if (journal.rows.length > 0) yield* Effect.logInfo(`${journal.rows.length} settlements of a process that is gone were written`)
    }
  }).pipe(Effect.catch((error) => Effect.logWarning(`Leases of other processes could not be looked at: ${messageOf(error).slice(0, 300)}`)))
}

/** Settles what a journal kept; a row that can never be written is set aside, so that it does not keep the others. */
const settleLeft = (book: LedgerBook, node: string, rows: ReadonlyArray<SettleRow>): Effect.Effect<void, unknown> =>
  Effect.catch(book.takeOver(node, rows), (error) => {
    const [first, ...others] = rows
    if (first === undefined || !isDataError(error)) return Effect.fail(error)
    if (others.length === 0) return Effect.andThen(book.quarantine(node, first, messageOf(error)), book.takeOver(node, []))
    const half = Math.ceil(rows.length / 2)
    return Effect.andThen(settleLeft(book, node, rows.slice(0, half)), settleLeft(book, node, rows.slice(half)))
  })
