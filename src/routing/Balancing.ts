/**
 * In which order the providers of a route are tried when the fixed order is not all that counts. Pure.
 *
 * @since 0.1.0
 */
import { Context } from "effect"
import type { ProviderSort } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import type { Live } from "./LiveHealth.ts"

/** How a deployment balances. @category models @since 0.1.0 */
export interface Balancing {
  /** By model, then provider: how often it comes first, in proportion to the others. A provider without a weight is not drawn. */
  readonly weights: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** A provider whose uptime is less, over at least `least` calls, is moved back … */
  readonly floor: number
  readonly least: number
  /** … where another's is at least this. */
  readonly alternative: number
  /** A provider that answers slower than this is not the cheapest that will do, in milliseconds. */
  readonly slowestMs: number
}

/** The thresholds of the fixed order, no weights. @category references @since 0.1.0 */
export const RoutingOptions = Context.Reference<Balancing>("sluice/routing/RoutingOptions", {
  defaultValue: () => ({ weights: {}, floor: 0.5, least: 20, alternative: 0.7, slowestMs: 30_000 })
})

/** Too few calls say nothing: then a provider counts as well. */
const uptimeOf = (live: Live, options: Balancing): number => (live.calls < options.least ? 1 : (live.uptime ?? 1))

/** What one request is ordered by. @category models @since 0.1.0 */
export interface BalancingInput {
  readonly options: Balancing
  readonly sort: ProviderSort | null
  readonly isStream: boolean
  readonly live: (candidate: Candidate) => Live
  /** Whether next to nothing is left of the credit at a provider. */
  readonly isLow: (provider: string) => boolean
  /** What this request would cost there. */
  readonly cost: (candidate: Candidate) => bigint
  /** From 0 to 1, for a split by weights; null: none is drawn. */
  readonly draw: number | null
}

/** Whether a route has weights that a number has to be drawn for. @category predicates @since 0.1.0 */
export const isSplit = (options: Balancing, candidates: ReadonlyArray<Candidate>): boolean =>
  candidates.some((candidate) => options.weights[candidate.model.id] !== undefined)

const latencyOf = (live: Live, isStream: boolean): number =>
  (isStream ? (live.firstChunkP50 ?? live.latencyP50) : (live.latencyP50 ?? live.firstChunkP50)) ?? Number.POSITIVE_INFINITY

/** Those of some value first, the order among equals kept. */
const sortBy = (candidates: ReadonlyArray<Candidate>, value: (candidate: Candidate) => number | bigint): ReadonlyArray<Candidate> =>
  candidates
    .map((candidate) => ({ candidate, by: value(candidate) }))
    .sort((a, b) => (a.by < b.by ? -1 : a.by > b.by ? 1 : 0))
    .map(({ candidate }) => candidate)

/** The cheapest that is healthy and quick enough first, then the others by price. */
const byPrice = (candidates: ReadonlyArray<Candidate>, { cost, isStream, live, options }: BalancingInput): ReadonlyArray<Candidate> => {
  const willDo = (candidate: Candidate): boolean => {
    const seen = live(candidate)
    const latency = latencyOf(seen, isStream)
    return uptimeOf(seen, options) >= options.alternative && (latency === Number.POSITIVE_INFINITY || latency <= options.slowestMs)
  }
  const sorted = sortBy(candidates, cost)
  return [...sorted.filter(willDo), ...sorted.filter((candidate) => !willDo(candidate))]
}

const sorted = (candidates: ReadonlyArray<Candidate>, input: BalancingInput): ReadonlyArray<Candidate> => {
  switch (input.sort) {
    case "price":
      return byPrice(candidates, input)
    case "latency":
      return sortBy(candidates, (candidate) => latencyOf(input.live(candidate), input.isStream))
    case "throughput":
      return sortBy(candidates, (candidate) => -(input.live(candidate).tokensPerSecondP50 ?? 0))
    case null:
      return split(candidates, input)
  }
}

/** The one that the draw falls on first, in proportion to the weights. */
const split = (candidates: ReadonlyArray<Candidate>, { draw, options }: BalancingInput): ReadonlyArray<Candidate> => {
  const weights = options.weights[candidates[0]?.model.id ?? ""]
  if (weights === undefined || draw === null) return candidates
  const weightOf = (candidate: Candidate) => Math.max(0, weights[candidate.provider] ?? 0)
  let left = draw * candidates.reduce((sum, candidate) => sum + weightOf(candidate), 0)
  const first = candidates.find((candidate) => {
    const weight = weightOf(candidate)
    left -= weight
    return weight > 0 && left < 0
  })
  return first === undefined ? candidates : [first, ...candidates.filter((candidate) => candidate !== first)]
}

/** Those that fail more often than not go behind the others, where there is one that does not; nobody is left out. */
const healthyFirst = (candidates: ReadonlyArray<Candidate>, { live, options }: BalancingInput): ReadonlyArray<Candidate> => {
  const uptimes = candidates.map((candidate) => uptimeOf(live(candidate), options))
  const isIll = (at: number) => (uptimes[at] ?? 1) < options.floor
  if (!uptimes.some((_, at) => isIll(at)) || !uptimes.some((uptime) => uptime >= options.alternative)) return candidates
  return [...candidates.filter((_, at) => !isIll(at)), ...candidates.filter((_, at) => isIll(at))]
}

/** Those at which the credit is about to end go behind all others, before they refuse for want of it. */
const paidFirst = (candidates: ReadonlyArray<Candidate>, { isLow }: BalancingInput): ReadonlyArray<Candidate> => {
  const low = candidates.filter(({ provider }) => isLow(provider))
  return low.length === 0 ? candidates : [...candidates.filter((candidate) => !low.includes(candidate)), ...low]
}

/**
 * Orders the candidates of a route: within each model, as models follow each other because the caller or a router said so.
 *
 * @category routing
 * @since 0.1.0
 */
export const balance = (candidates: ReadonlyArray<Candidate>, input: BalancingInput): ReadonlyArray<Candidate> => {
  const ordered: Array<Candidate> = []
  for (let at = 0; at < candidates.length; ) {
    const model = candidates[at]?.model.id
    let end = at + 1
    while (candidates[end]?.model.id === model) end++
    const group = candidates.slice(at, end)
    ordered.push(...(group.length === 1 ? group : paidFirst(healthyFirst(sorted(group, input), input), input)))
    at = end
  }
  return ordered
}
