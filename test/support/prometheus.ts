/**
 * A strict reader of Prometheus's text format: whatever Prometheus itself would refuse, or take for something else, fails.
 */

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: Array<Sample>
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const escapes: Readonly<Record<string, string>> = { "\\": "\\", '"': '"', n: "\n" }

const readLabels = (text: string, line: string): Record<string, string> => {
  const labels: Record<string, string> = {}
  let rest = text
  while (rest !== "") {
    const found = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/.exec(rest)
    if (found === null) throw new Error(`labels that cannot be read: ${line}`)
    const [all, name = "", value = ""] = found
    if (name in labels) throw new Error(`a label twice: ${line}`)
    labels[name] = value.replace(/\\(["\\n])/g, (_, escaped: string) => escapes[escaped] ?? "")
    rest = rest.slice(all.length)
  }
  return labels
}

const readValue = (text: string, line: string): number => {
  if (text === "+Inf") return Number.POSITIVE_INFINITY
  if (text === "-Inf") return Number.NEGATIVE_INFINITY
  if (text === "NaN") return Number.NaN
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/.test(text)) throw new Error(`no number: ${line}`)
  return Number(text)
}

const readSample = (line: string): Sample => {
  const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)$/.exec(line)
  if (found === null) throw new Error(`no sample: ${line}`)
  const [, name = "", labels = "", value = ""] = found
  return { name, labels: readLabels(labels, line), value: readValue(value, line) }
}

const suffixes: Readonly<Record<string, ReadonlyArray<string>>> = {
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"]
}

const belongs = (family: Family, name: string): boolean => (suffixes[family.type] ?? [""]).some((suffix) => name === family.name + suffix)

const keyOf = (labels: Readonly<Record<string, string>>, without?: string): string =>
  JSON.stringify(
    Object.entries(labels)
      .filter(([name]) => name !== without)
      .sort()
  )

const checkHistogram = (family: Family): void => {
  const groups = Map.groupBy(family.samples, (sample) => keyOf(sample.labels, "le"))
  for (const samples of groups.values()) {
    const buckets = samples.filter((sample) => sample.name.endsWith("_bucket"))
    const bounds = buckets.map((bucket) => readValue(bucket.labels["le"] ?? "", "le"))
    const count = samples.filter((sample) => sample.name.endsWith("_count"))
    const sum = samples.filter((sample) => sample.name.endsWith("_sum"))
    const last = buckets.at(-1)
    if (count.length !== 1 || sum.length !== 1) throw new Error(`${family.name}: not one sum and one count`)
    if (last?.labels["le"] !== "+Inf" || last.value !== count[0]?.value) throw new Error(`${family.name}: +Inf is not the count`)
    for (let at = 1; at < buckets.length; at++) {
      const [before, now] = [buckets[at - 1], buckets[at]]
      if ((bounds[at] ?? 0) <= (bounds[at - 1] ?? 0)) throw new Error(`${family.name}: bounds do not rise`)
      if ((now?.value ?? 0) < (before?.value ?? 0)) throw new Error(`${family.name}: buckets are not cumulative`)
    }
  }
}

const check = (family: Family): void => {
  const seen = new Set<string>()
  for (const sample of family.samples) {
    const key = sample.name + keyOf(sample.labels)
    if (seen.has(key)) throw new Error(`a series twice: ${key}`)
    seen.add(key)
    if (family.type === "counter" && !(sample.value >= 0)) throw new Error(`${family.name}: a counter below zero`)
  }
  if (family.samples.length === 0 && family.help !== "Nothing was counted yet") throw new Error(`${family.name} has no samples`)
  if (family.type === "counter" && !family.name.endsWith("_total")) throw new Error(`${family.name}: a counter without _total`)
  if (family.type === "histogram") checkHistogram(family)
}

/** The families of a text, by name; throws at the first line that breaks a rule. */
export const parse = (text: string): ReadonlyMap<string, Family> => {
  if (!text.endsWith("\n")) throw new Error("the last line does not end")
  const families = new Map<string, Family>()
  let help: { readonly name: string; readonly text: string } | null = null
  let current: Family | null = null
  for (const line of text.slice(0, -1).split("\n")) {
    const about = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line)
    if (about !== null) {
      const [, what, name = "", rest = ""] = about
      if (!NAME.test(name) || families.has(name)) throw new Error(`told twice, or no name: ${line}`)
      if (what === "HELP") help = { name, text: rest }
      else {
        if (!["counter", "gauge", "histogram", "summary", "untyped"].includes(rest)) throw new Error(`no type: ${line}`)
        if (help?.name !== name) throw new Error(`no help before: ${line}`)
        current = { name, type: rest, help: help.text, samples: [] }
        families.set(name, current)
      }
      continue
    }
    const sample = readSample(line)
    if (current === null || !belongs(current, sample.name)) throw new Error(`a sample outside its family: ${line}`)
    current.samples.push(sample)
  }
  for (const family of families.values()) check(family)
  return families
}

/** The sum of a family's samples that have these labels; 0 where there are none. */
export const valueOf = (families: ReadonlyMap<string, Family>, name: string, labels: Readonly<Record<string, string>> = {}): number => {
  const family = families.get(name) ?? families.get(name.replace(/_(count|sum|bucket)$/, ""))
  return (family?.samples ?? [])
    .filter((sample) => sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, sample) => sum + sample.value, 0)
}
