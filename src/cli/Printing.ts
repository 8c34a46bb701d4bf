/**
 * What commands print: rows for people, JSON for machines.
 *
 * @since 0.1.0
 */
import { Console, type Effect } from "effect"

/** Columns as wide as what stands in them. @category formatting @since 0.1.0 */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** @category formatting @since 0.1.0 */
export const printJson = (value: unknown): Effect.Effect<void> => Console.log(JSON.stringify(value, null, 2))
