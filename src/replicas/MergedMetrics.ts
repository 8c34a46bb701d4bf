/**
 * Metrics of several processes as if one had counted: counters and histograms added up, everything else told apart by a label.
 *
 * @since 0.1.0
 */

/** What one process says, in Prometheus's text format. @category models @since 0.1.0 */
export interface MetricsPart {
  /** Its name in the label `worker`; null: it is gone, and only what it counted is still told. */
  readonly worker: string | null
  readonly text: string
}

interface Family {
  readonly comments: Array<string>
  type: string
  /** By name and labels, as they are written. */
  readonly series: Map<string, number>
}

/** Of these, what several processes counted adds up. */
const additive: ReadonlySet<string> = new Set(["counter", "histogram"])

const comment = /^# (HELP|TYPE) (\S+) ?(.*)$/
const sample = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/

const toNumber = (text: string): number =>
  text === "+Inf" ? Number.POSITIVE_INFINITY : text === "-Inf" ? Number.NEGATIVE_INFINITY : Number(text)

const toText = (value: number): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value)

const familyOf = (families: Map<string, Family>, name: string): Family => {
  const known = families.get(name)
  if (known !== undefined) return known
  const family: Family = { comments: [], type: "untyped", series: new Map() }
  families.set(name, family)
  return family
}

const read = (families: Map<string, Family>, { text, worker }: MetricsPart): void => {
  let family: Family | null = null
  for (const line of text.split("\n")) {
    const [, kind, name = "", rest = ""] = comment.exec(line) ?? []
    if (kind !== undefined) {
      family = familyOf(families, name)
      if (kind === "TYPE") family.type = rest
      if (!family.comments.includes(line)) family.comments.push(line)
      continue
    }
    const [, series, labels, value] = sample.exec(line) ?? []
    if (series === undefined || value === undefined) continue
    family ??= familyOf(families, series)
    const adds = additive.has(family.type)
    if (!adds && worker === null) continue
    const told = [...(labels === undefined ? [] : [labels]), ...(adds ? [] : [`worker="${worker}"`])].join(",")
    const key = told === "" ? series : `${series}{${told}}`
    family.series.set(key, adds ? (family.series.get(key) ?? 0) + toNumber(value) : toNumber(value))
  }
}

/** @category conversions @since 0.1.0 */
export const merge = (parts: ReadonlyArray<MetricsPart>): string => {
  const families = new Map<string, Family>()
  for (const part of parts) read(families, part)
  const lines: Array<string> = []
  for (const { comments, series } of families.values()) {
    if (series.size === 0) continue
    lines.push(...comments)
    for (const [key, value] of series) lines.push(`${key} ${toText(value)}`)
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`
}
