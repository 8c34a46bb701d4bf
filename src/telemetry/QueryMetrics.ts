/**
 * Counts and times every statement that is sent to the database, by table and operation.
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import { Statement } from "effect/sql"
import * as Series from "./Series.ts"

const LABELS = ["table", "operation"]
const DURATIONS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15]

/** Texts of statements that are known at once; the rest is read anew. */
const KNOWN = 2_000

/** What a statement does to which table: of several steps what the first that writes does. @category parsing @since 0.1.0 */
export const kindOf = (statement: string): { readonly table: string; readonly operation: string } => {
  // Not every FROM names a table.
  const text = statement.replace(/\bextract\s*\(\s*\w+\s+from\b|\bdistinct\s+from\b/gi, "")
  const written = /\b(insert)\s+into\s+"?(\w+)|\b(update)\s+"?(\w+)"?\s+(?:as\s+)?(?:\w+\s+)?set\b|\b(delete)\s+from\s+"?(\w+)/i.exec(text)
  if (written !== null) {
    const [operation = "", table = ""] = written.slice(1).filter((part) => part !== undefined)
    return { operation: operation.toLowerCase(), table }
  }
  // A function of the database stands for what it writes.
  const read = /^\s*select\s+(\w+)\s*\((?![\s\S]*\bfrom\b)/i.exec(text) ?? /\bfrom\s+"?(?!jsonb?_)(\w+)/i.exec(text)
  if (read !== null) return { operation: "select", table: read[1] ?? "" }
  const [word = ""] = text.trim().toLowerCase().split(/\W/, 1)
  return { operation: word === "" ? "other" : word, table: "" }
}

const make = () => {
  const queries = Series.counter("sluice_database_queries_total", "Statements sent to the database", LABELS)
  const durations = Series.histogram(
    "sluice_database_query_duration_seconds",
    "Statements from their start to their end, the wait for a connection among it, in seconds",
    LABELS,
    DURATIONS
  )
  const known = new Map<string, { readonly count: ReturnType<typeof queries>; readonly time: ReturnType<typeof durations> }>()
  const seriesOf = (text: string) => {
    const found = known.get(text)
    if (found !== undefined) return found
    const { operation, table } = kindOf(text)
    const fresh = { count: queries(table, operation), time: durations(table, operation) }
    if (known.size < KNOWN) known.set(text, fresh)
    return fresh
  }
  // The span of a statement, which there is also where nobody traces, knows its text, its begin and its end.
  const counted: Statement.Transformer = (statement, _, fiber, span) => {
    const { status } = span
    if (status._tag === "Started") {
      const end = span.end.bind(span)
      span.end = (time, exit) => {
        end(time, exit)
        const text = span.attributes.get("db.query.text")
        if (typeof text !== "string") return
        const { count, time: duration } = seriesOf(text)
        count.updateUnsafe(1, fiber.context)
        duration.updateUnsafe(Number(time - status.startTime) / 1e9, fiber.context)
      }
    }
    return Effect.succeed(statement)
  }
  return counted
}

/** For all that is built or served over it. @category layers @since 0.1.0 */
export const layer = Layer.sync(Statement.CurrentTransformer, make)
