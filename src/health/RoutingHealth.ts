/**
 * What passive health tells those who choose between providers and models.
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import { Latencies } from "../routing/Latencies.ts"
import { type Live, LiveHealth, unknown } from "../routing/LiveHealth.ts"
import { PassiveHealth } from "./PassiveHealth.ts"

/** A model at its provider; how the provider does with others stands in where too little is known of this one. */
const liveOf =
  (health: PassiveHealth["Service"]) =>
  (model: string, provider: string): Live => {
    const whole = health.provider(provider)
    if (whole === null) return unknown
    const own = health.model(provider, model)
    return own === null ? { ...unknown, uptime: whole.uptime } : { ...own, uptime: own.uptime ?? whole.uptime }
  }

/** @category layers @since 0.1.0 */
export const layer: Layer.Layer<never, never, PassiveHealth> = Layer.mergeAll(
  Layer.effect(LiveHealth, Effect.map(PassiveHealth, liveOf)),
  Layer.effect(
    Latencies,
    Effect.map(PassiveHealth, (health) => (model: string, provider: string) => {
      const own = health.model(provider, model)
      return own?.latencyP50 ?? own?.firstChunkP50 ?? null
    })
  )
)
