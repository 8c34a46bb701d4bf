/**
 * What the gateway is to reach, what was measured of it, and whether it holds.
 */
import { table } from "../src/cli/Printing.ts"
import type { Row } from "./Report.ts"
import type { WholeFigure } from "./Whole.ts"

export interface Verdict {
  readonly what: string
  readonly target: string
  /** Null: this run could not tell. */
  readonly measured: number | null
  readonly unit: string
  readonly holds: boolean | null
  /** The figures that `measured` was made of. */
  readonly note: string
}

interface Bound {
  readonly least?: number
  readonly most?: number
}

const verdict = (what: string, unit: string, bound: Bound, measured: number | null, note = ""): Verdict => {
  const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = bound
  const known = measured !== null && Number.isFinite(measured) ? measured : null
  const target = bound.least === undefined ? `≤ ${most} ${unit}` : `≥ ${least} ${unit}`
  return { what, target, measured: known, unit, holds: known === null ? null : known >= least && known <= most, note }
}

type Figure = "p50" | "p99" | "first_p50" | "first_p99"

/** What a gateway adds to the provider's own time, over what the bare proxy adds; null where bare adds nothing that can be seen. */
const added = (
  rows: ReadonlyArray<Row>,
  scenario: string,
  figure: Figure
): { readonly times: number | null; readonly note: string } | null => {
  const of = (contestant: string) => rows.find((row) => row.scenario === scenario && row.contestant === contestant)?.figures[figure]
  const [direct, bare, gateway] = [of("direct"), of("bare"), of("sluice")]
  if (direct === undefined || bare === undefined || gateway === undefined) return null
  const note = `${(gateway - direct).toFixed(3)} ms added, by bare ${(bare - direct).toFixed(3)} ms`
  return { times: bare > direct ? (gateway - direct) / (bare - direct) : null, note }
}

/** The verdicts on whatever was measured. */
export const judge = (rows: ReadonlyArray<Row>, whole: ReadonlyArray<WholeFigure>): ReadonlyArray<Verdict> => {
  const throughput = (scenario: string, what: string, least: number): ReadonlyArray<Verdict> => {
    const row = rows.find((row) => row.scenario === scenario && row.contestant === "sluice")
    return row === undefined ? [] : [verdict(what, "× bare", { least }, row.ratios?.perSecond ?? null)]
  }
  const above = (scenario: string, figure: Figure, what: string, bound: Bound): ReadonlyArray<Verdict> => {
    const found = added(rows, scenario, figure)
    return found === null ? [] : [verdict(what, "× bare's", bound, found.times, found.note)]
  }
  const figure = (name: WholeFigure["name"], what: string, bound: Bound): ReadonlyArray<Verdict> => {
    const found = whole.find((row) => row.name === name)
    return found === undefined ? [] : [verdict(what, found.unit, bound, found.value, found.what)]
  }
  return [
    ...throughput("unary", "whole answers, 64 connections", 0.75),
    ...throughput("streamed", "streams of 20 chunks, 64 connections", 0.85),
    ...above("latency", "p50", "latency added, one connection, p50", { most: 2 }),
    ...above("streams", "first_p50", "first chunk, time added, 200 streams, p50", { most: 1.5 }),
    ...figure("idle streams", "memory of an idle stream", { most: 40 }),
    ...figure("workers", "two workers over one", { least: 1.6 }),
    ...figure("cold start", "cold start to the first answer", { most: 1_500 }),
    ...figure("growth", "with many accounts and models over few", { least: 0.9 }),
    ...figure("service mode", "Postgres and Redis over embedded", { least: 0.8 })
  ]
}

/** What is added, where the provider itself was asked too. */
export interface Addition {
  readonly scenario: string
  readonly figure: Figure
  readonly times: number | null
  readonly note: string
}

/** At the median and at the worst of a hundred. */
export const additions = (rows: ReadonlyArray<Row>): ReadonlyArray<Addition> => {
  const figures: ReadonlyArray<readonly [string, Figure]> = [
    ["latency", "p50"],
    ["latency", "p99"],
    ["streams", "first_p50"],
    ["streams", "first_p99"]
  ]
  return figures.flatMap(([scenario, figure]) => {
    const found = added(rows, scenario, figure)
    return found === null ? [] : [{ scenario, figure, ...found }]
  })
}

export const formatAdditions = (all: ReadonlyArray<Addition>): string =>
  table([
    ["added to the provider's own time", "", "", ""],
    ...all.map(({ figure, note, scenario, times }) => [
      scenario,
      figure,
      times === null ? "not known" : `${times.toFixed(2)} × bare's`,
      note
    ])
  ])

const said = (measured: number | null, unit: string): string =>
  measured === null ? "not known" : `${measured.toFixed(unit === "ms" || unit === "KiB" ? 0 : 2)} ${unit}`

export const formatVerdicts = (verdicts: ReadonlyArray<Verdict>): string =>
  table([
    ["target", "", "measured", "holds", ""],
    ...verdicts.map(({ holds, measured, note, target, unit, what }) => [
      what,
      target,
      said(measured, unit),
      holds === null ? "?" : holds ? "yes" : "NO",
      note
    ])
  ])
