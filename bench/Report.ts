/**
 * Figures of many rounds as medians with their spread, as a table and as JSON.
 */
import { table } from "../src/cli/Printing.ts"

export interface Round {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly first_p50: number
  readonly first_p99: number
  /** Of the contestant, in microseconds a request. */
  readonly cpu: number
  readonly memoryMiB: number
  readonly failures: Readonly<Record<string, number>>
}

export type Figures = Omit<Round, "failures"> & {
  /** Half the distance between the quartiles of `perSecond`, as a part of its median. */
  readonly spread: number
  readonly failures: Readonly<Record<string, number>>
}

export interface Row {
  readonly scenario: string
  readonly contestant: string
  readonly figures: Figures
  /** Against the bare proxy of the same run; null where it does not take part. */
  readonly ratios: Readonly<Record<keyof Omit<Round, "failures">, number>> | null
}

const at = (sorted: ReadonlyArray<number>, q: number): number => sorted[Math.round((sorted.length - 1) * q)] ?? Number.NaN
const sort = (values: ReadonlyArray<number>): ReadonlyArray<number> => [...values].sort((a, b) => a - b)

const columns = ["perSecond", "p50", "p99", "first_p50", "first_p99", "cpu", "memoryMiB"] as const

const each = (of: (column: (typeof columns)[number]) => number) => ({
  perSecond: of("perSecond"),
  p50: of("p50"),
  p99: of("p99"),
  first_p50: of("first_p50"),
  first_p99: of("first_p99"),
  cpu: of("cpu"),
  memoryMiB: of("memoryMiB")
})

/** Medians over the rounds of one contestant; its failures in all. */
export const summarise = (rounds: ReadonlyArray<Round>): Figures => {
  const rates = sort(rounds.map((round) => round.perSecond))
  const failures: Record<string, number> = {}
  for (const round of rounds)
    for (const [status, count] of Object.entries(round.failures)) failures[status] = (failures[status] ?? 0) + count
  return {
    ...each((column) => at(sort(rounds.map((round) => round[column])), 0.5)),
    spread: (at(rates, 0.75) - at(rates, 0.25)) / 2 / at(rates, 0.5),
    failures
  }
}

export const toRow = (scenario: string, contestant: string, figures: Figures, bare: Figures | null): Row => ({
  scenario,
  contestant,
  figures,
  ratios: bare === null ? null : each((column) => figures[column] / bare[column])
})

const number = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : "-")

const cells = ({ contestant, figures, ratios, scenario }: Row): ReadonlyArray<string> => {
  const beside = (column: (typeof columns)[number]) =>
    ratios === null || contestant === "bare" || !Number.isFinite(ratios[column]) ? "" : ` (${number(ratios[column], 2)} ×)`
  const failed = Object.entries(figures.failures).map(([status, count]) => `${count} × ${status}`)
  return [
    scenario,
    contestant,
    `${number(figures.perSecond, 0)} ±${number(figures.spread * 100, 0)} %${beside("perSecond")}`,
    `${number(figures.p50, 2)}${beside("p50")}`,
    `${number(figures.p99, 2)}${beside("p99")}`,
    `${number(figures.first_p50, 2)}${beside("first_p50")}`,
    `${number(figures.first_p99, 2)}${beside("first_p99")}`,
    `${number(figures.cpu, 0)}${beside("cpu")}`,
    `${number(figures.memoryMiB, 0)}${beside("memoryMiB")}`,
    failed.join(", ")
  ]
}

const heads = ["scenario", "", "requests/s", "p50 ms", "p99 ms", "first p50", "first p99", "CPU µs", "MiB", "failed"]

export const formatRows = (rows: ReadonlyArray<Row>): string => table([heads, ...rows.map(cells)])

/** How rows stand to those of an earlier run: the ratios to bare are compared, as machines differ. */
export const compare = (rows: ReadonlyArray<Row>, earlier: ReadonlyArray<Row>): string => {
  const lines = rows.flatMap((row) => {
    const before = earlier.find((other) => other.scenario === row.scenario && other.contestant === row.contestant)
    if (row.ratios === null || before === undefined || before.ratios === null || row.contestant === "bare") return []
    const [then, now] = [before.ratios.perSecond, row.ratios.perSecond]
    return [[row.scenario, row.contestant, `${number(then, 2)} ×`, `${number(now, 2)} ×`, `${number((now / then - 1) * 100, 0)} %`]]
  })
  return table([["scenario", "", "before", "now", "change"], ...lines])
}
