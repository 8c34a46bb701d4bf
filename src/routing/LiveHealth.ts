/**
 * How well a model does at its providers just now, for whoever has to order them.
 *
 * @since 0.1.0
 */
import { Context } from "effect"

/** Null: too little is known, which counts as healthy. @category models @since 0.1.0 */
export interface Live {
  /** Between 0 and 1, of `calls`. */
  readonly uptime: number | null
  readonly calls: number
  /** Milliseconds to the end of a whole answer, half of them at most. */
  readonly latencyP50: number | null
  /** Milliseconds to the first content of a stream. */
  readonly firstChunkP50: number | null
  readonly tokensPerSecondP50: number | null
}

/** @category constructors @since 0.1.0 */
export const unknown: Live = { uptime: null, calls: 0, latencyP50: null, firstChunkP50: null, tokensPerSecondP50: null }

/** Nothing is known unless a program provides it. @category references @since 0.1.0 */
export const LiveHealth = Context.Reference<(model: string, provider: string) => Live>("sluice/routing/LiveHealth", {
  defaultValue: () => () => unknown
})
