/**
 * The series of a metric by its labels, each made once: to find it again costs a look into a map, and no string of all labels
 * is built for every update.
 *
 * @since 0.1.0
 */
import { Context, Metric } from "effect"

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

/**
 * One series as it is updated for every request: found once, at its first update, and not before, since it is told from then on.
 *
 * It updates the registry's own, so that everybody who reads that sees it.
 *
 * @category models
 * @since 0.1.0
 */
export class Updates<Input, State> {
  private readonly metric: Metric.Metric<Input, State>
  private readonly context: Context.Context<never>
  private found: Metric.Metric.Hooks<Input, State> | null = null

  constructor(metric: Metric.Metric<Input, State>, context: Context.Context<never>) {
    this.metric = metric
    this.context = context
  }

  update(input: Input): void {
    this.found ??= find(this.metric, this.context)
    this.found.update(input, this.context)
  }

  /** Adds to a gauge. */
  modify(input: Input): void {
    this.found ??= find(this.metric, this.context)
    this.found.modify(input, this.context)
  }
}

const find = <Input, State>(metric: Metric.Metric<Input, State>, context: Context.Context<never>): Metric.Metric.Hooks<Input, State> => {
  const registry = Context.get(context, Metric.MetricRegistry)
  // To read it registers it: here in a registry of its own, where it is the only one.
  const own: Metric.MetricRegistry = new Map()
  metric.valueUnsafe(Context.add(context, Metric.MetricRegistry, own))
  for (const [key, made] of own) {
    if (!registry.has(key)) registry.set(key, made)
    const known = registry.get(key)
    if (known !== undefined) return known.hooks
  }
  throw new Error(`The series of ${metric.id} is in no registry`)
}
