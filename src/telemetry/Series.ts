/**
 * The series of a metric by its labels, each made once: to find it again costs a look into a map, and no string of all labels
 * is built for every update.
 *
 * @since 0.1.0
 */
import { Metric } from "effect"

/** Finds the series of label values, in the order of the labels' names. @category models @since 0.1.0 */
export type Series<M> = (...values: ReadonlyArray<string>) => M

/** Label values of one metric, at most: whatever goes beyond is counted as `other`. */
const MOST = 20_000

/** What a map has under a key, made when it has nothing. @category accessors @since 0.1.0 */
export const obtain = <K, V>(map: Map<K, V>, key: K, fresh: () => V): V => {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = fresh()
  map.set(key, made)
  return made
}

const make = <M>(names: ReadonlyArray<string>, of: (attributes: Record<string, string>) => M): Series<M> => {
  const known = new Map<string, M>()
  const find = (values: ReadonlyArray<string>): M => {
    const key = values.join("\n")
    const found = known.get(key)
    if (found !== undefined) return found
    if (known.size >= MOST && values.some((value) => value !== "other")) return find(values.map(() => "other"))
    const fresh = of(Object.fromEntries(names.map((name, at) => [name, values[at] ?? ""])))
    known.set(key, fresh)
    return fresh
  }
  return (...values) => find(values)
}

/** @category constructors @since 0.1.0 */
export const counter = (id: string, description: string, names: ReadonlyArray<string>): Series<Metric.Counter<number>> =>
  make(names, (attributes) => Metric.counter(id, { description, attributes, incremental: true }))

/** @category constructors @since 0.1.0 */
export const gauge = (id: string, description: string, names: ReadonlyArray<string>): Series<Metric.Gauge<number>> =>
  make(names, (attributes) => Metric.gauge(id, { description, attributes }))

/** @category constructors @since 0.1.0 */
export const histogram = (
  id: string,
  description: string,
  names: ReadonlyArray<string>,
  boundaries: ReadonlyArray<number>
): Series<Metric.Histogram<number>> => make(names, (attributes) => Metric.histogram(id, { description, attributes, boundaries }))
