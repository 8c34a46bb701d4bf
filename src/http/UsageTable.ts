/**
 * A report of usage as a table of comma-separated values.
 *
 * @since 0.1.0
 */
import { Effect, Stream } from "effect"
import { Csv } from "effect/encoding"
import type { Grouping, UsageGroup } from "../usage/UsageReports.ts"

/** A cell that a spreadsheet takes for text: what would begin a formula there is quoted. @category encoding @since 0.1.0 */
export const safeCell = (text: string): string => (/^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text)

const number = (value: number | null): string => (value === null ? "" : String(value))

const cells: ReadonlyArray<readonly [string, (row: UsageGroup) => string]> = [
  ["requests", (row) => number(row.requests)],
  ["errors", (row) => number(row.errors)],
  ["error_rate", (row) => number(row.error_rate)],
  ["cancelled", (row) => number(row.cancelled)],
  ["input_tokens", (row) => number(row.tokens.input)],
  ["cached_read_tokens", (row) => number(row.tokens.cached_read)],
  ["cache_write_tokens", (row) => number(row.tokens.cache_write)],
  ["output_tokens", (row) => number(row.tokens.output)],
  ["reasoning_tokens", (row) => number(row.tokens.reasoning)],
  ["total_tokens", (row) => number(row.tokens.total)],
  ["cost_usd", (row) => row.cost_usd],
  ["latency_p50_ms", (row) => number(row.latency_ms.p50)],
  ["latency_p95_ms", (row) => number(row.latency_ms.p95)],
  ["latency_p99_ms", (row) => number(row.latency_ms.p99)],
  ["time_to_first_chunk_p50_ms", (row) => number(row.time_to_first_chunk_ms.p50)],
  ["time_to_first_chunk_p95_ms", (row) => number(row.time_to_first_chunk_ms.p95)],
  ["time_to_first_chunk_p99_ms", (row) => number(row.time_to_first_chunk_ms.p99)]
]

/** @category encoding @since 0.1.0 */
export const encodeTable = (groupBy: ReadonlyArray<Grouping>, rows: ReadonlyArray<UsageGroup>): Effect.Effect<string> => {
  const lines = [
    [...groupBy, ...cells.map(([name]) => name)],
    ...rows.map((row) => [...groupBy.map((grouping) => safeCell(row.group[grouping] ?? "")), ...cells.map(([, cell]) => cell(row))])
  ]
  return Effect.map(Stream.runCollect(Stream.pipeThroughChannel(Stream.fromIterable(lines), Csv.encodeString())), (parts) => parts.join(""))
}
