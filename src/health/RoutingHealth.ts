/**
 * What passive health tells those who choose between providers and models.
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import { Breakers } from "../providers/Breakers.ts"
import { Latencies } from "../routing/Latencies.ts"
import { type Live, LiveHealth, unknown } from "../routing/LiveHealth.ts"
import type { Health } from "./HealthRecord.ts"
import { PassiveHealth } from "./PassiveHealth.ts"

/**
 * A model at its provider; how the provider does with others stands in where too little is known of this one. While its
 * circuit is not closed the breaker alone decides, and what was before the circuit last changed is past.
 */
const liveOf = (health: PassiveHealth["Service"], breakers: Breakers["Service"]) => {
  const callsOf = ({ failures, successes }: Health) => failures + successes
  return (model: string, provider: string): Live => {
    const circuit = breakers.look(provider)
    const whole = health.provider(provider, circuit?.changedAt)
    if (whole === null) return unknown
    const own = health.model(provider, model, circuit?.changedAt)
    const medians = own ?? unknown
    const counts = own === null || own.uptime === null ? whole : own
    const isJudged = circuit === null || circuit.state === "closed"
    return {
      uptime: isJudged ? counts.uptime : null,
      calls: isJudged ? callsOf(counts) : 0,
      latencyP50: medians.latencyP50,
      firstChunkP50: medians.firstChunkP50,
      tokensPerSecondP50: medians.tokensPerSecondP50
    }
  }
}

/** @category layers @since 0.1.0 */
export const layer: Layer.Layer<never, never, PassiveHealth | Breakers> = Layer.mergeAll(
  Layer.effect(
    LiveHealth,
    Effect.gen(function* () {
      return liveOf(yield* PassiveHealth, yield* Breakers)
    })
  ),
  Layer.effect(
    Latencies,
    Effect.map(PassiveHealth, (health) => (model: string, provider: string) => {
      const own = health.model(provider, model)
      return own?.latencyP50 ?? own?.firstChunkP50 ?? null
    })
  )
)
