/**
 * The general router: contenders in the order of a mode. Pure.
 *
 * @since 0.1.0
 */
import { byPriceAndName, type Contender } from "./Contender.ts"
import type { GeneralMode } from "./RouterName.ts"

/** A contender with what its place comes from. @category models @since 0.1.0 */
export interface Ranked {
  readonly contender: Contender
  readonly score: number
}

/** Quality below which nothing is cheap. */
const MINIMUM_QUALITY = 60

/** `value` from 0, the worst of all, to 1, the best; in the middle where all are the same. */
const scaled = (value: number, worst: number, best: number): number => (worst === best ? 0.5 : (value - worst) / (best - worst))

const balancedScores = (contenders: ReadonlyArray<Contender>): ReadonlyMap<Contender, number> => {
  const qualities = contenders.map((contender) => contender.quality)
  const prices = contenders.map((contender) => contender.blended)
  const latencies = contenders.flatMap(({ p50 }) => (p50 === null ? [] : [p50]))
  const range = (values: ReadonlyArray<number>) => [Math.min(...values), Math.max(...values)] as const
  const [leastQuality, mostQuality] = range(qualities)
  const [leastPrice, mostPrice] = range(prices)
  const [leastLatency, mostLatency] = range(latencies)
  return new Map(
    contenders.map((contender) => {
      const quality = scaled(contender.quality, leastQuality, mostQuality)
      const cost = scaled(contender.blended, mostPrice, leastPrice)
      // What nobody has measured is neither fast nor slow.
      const latency = contender.p50 === null ? 0.5 : scaled(contender.p50, mostLatency, leastLatency)
      return [contender, 0.5 * quality + 0.3 * cost + 0.2 * latency]
    })
  )
}

/**
 * Contenders, the chosen one first. `cost` puts those of too little quality behind all others, `latency` those that nobody
 * has measured.
 *
 * @category routing
 * @since 0.1.0
 */
export const rankGeneral = (mode: GeneralMode, contenders: ReadonlyArray<Contender>): ReadonlyArray<Ranked> => {
  const scores = mode === "balanced" ? balancedScores(contenders) : null
  const scoreOf = (contender: Contender): number => {
    switch (mode) {
      case "quality":
        return contender.quality
      case "cost":
        return contender.quality >= MINIMUM_QUALITY ? -contender.blended : Number.NEGATIVE_INFINITY
      case "latency":
        return contender.p50 === null ? Number.NEGATIVE_INFINITY : -contender.p50
      case "balanced":
        return scores?.get(contender) ?? 0
    }
  }
  const ranked = contenders.map((contender): Ranked => ({ contender, score: scoreOf(contender) }))
  return ranked.toSorted((a, b) => (a.score === b.score ? byPriceAndName(a.contender, b.contender) : b.score - a.score))
}
