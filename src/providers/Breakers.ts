/**
 * Circuit breakers: one actor per provider.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Metric } from "effect"
import * as Actor from "../actors/Actor.ts"

/** @category models @since 0.1.0 */
export interface BreakerState {
  readonly provider: string
  readonly state: "closed" | "open" | "half_open"
  /** Consecutive. */
  readonly failures: number
  /** ISO-8601; null unless open or half open. */
  readonly opened_at: string | null
  /** ISO-8601; null unless open. */
  readonly retry_at: string | null
}

/** Leave to call a provider. Tell the outcome once; a probe's permit must be told something, also when the caller left. @category models @since 0.1.0 */
export interface Permit {
  readonly provider: string
  readonly probe: boolean
  /** `ignored` says nothing about the provider and frees a probe's place. Never waits. */
  readonly tell: (outcome: "success" | "failure" | "ignored") => Effect.Effect<void>
}

/** @category models @since 0.1.0 */
export interface BreakersOptions {
  /** Consecutive failures that open a circuit. */
  readonly failures: number
  /** Milliseconds until an open circuit lets a probe through. */
  readonly recoveryMs: number
}

type Outcome = "success" | "failure" | "ignored"

/** One circuit. `epoch` changes with every transition, so that calls admitted before one change nothing after it. */
type Circuit =
  | { readonly state: "closed"; readonly epoch: number; readonly failures: number }
  | { readonly state: "open"; readonly epoch: number; readonly failures: number; readonly openedAt: number }
  | { readonly state: "half_open"; readonly epoch: number; readonly failures: number; readonly openedAt: number; readonly probing: boolean }

type Message =
  | { readonly _tag: "Probe" }
  | { readonly _tag: "Outcome"; readonly epoch: number; readonly outcome: Outcome; readonly now: number }
  | { readonly _tag: "Reset" }

const initial: Circuit = { state: "closed", epoch: 0, failures: 0 }

/** The turn of a circuit: pure. */
const receive =
  (options: BreakersOptions) =>
  (circuit: Circuit, message: Message): Circuit => {
    if (message._tag === "Reset") return { state: "closed", epoch: circuit.epoch + 1, failures: 0 }
    if (message._tag === "Probe") {
      if (circuit.state === "open") return { ...circuit, state: "half_open", epoch: circuit.epoch + 1, probing: true }
      return circuit.state === "half_open" ? { ...circuit, probing: true } : circuit
    }
    if (message.epoch !== circuit.epoch || circuit.state === "open") return circuit
    const { now, outcome } = message
    if (circuit.state === "half_open") {
      if (outcome === "ignored") return { ...circuit, probing: false }
      if (outcome === "success") return { state: "closed", epoch: circuit.epoch + 1, failures: 0 }
      return { state: "open", epoch: circuit.epoch + 1, failures: circuit.failures + 1, openedAt: now }
    }
    if (outcome === "ignored") return circuit
    if (outcome === "success") return circuit.failures === 0 ? circuit : { ...circuit, failures: 0 }
    const failures = circuit.failures + 1
    if (failures < options.failures) return { ...circuit, failures }
    return { state: "open", epoch: circuit.epoch + 1, failures, openedAt: now }
  }

const transitions = Metric.counter("sluice_circuit_breaker_state_transitions_total", {
  description: "Circuits that changed state",
  incremental: true
})
const rejected = Metric.counter("sluice_circuit_breaker_rejected_requests_total", {
  description: "Calls that an open circuit kept away",
  incremental: true
})

/** @category services @since 0.1.0 */
export class Breakers extends Context.Service<
  Breakers,
  {
    /** Null when the circuit is open, or half open with its one probe under way. Never waits. */
    readonly permit: (provider: string) => Effect.Effect<Permit | null>
    readonly states: Effect.Effect<ReadonlyArray<BreakerState>>
    readonly reset: (provider: string) => Effect.Effect<void>
  }
>()("sluice/providers/Breakers") {
  static readonly layer = (options: BreakersOptions): Layer.Layer<Breakers> => Layer.sync(this, () => make(options))
}

const make = (options: BreakersOptions): Breakers["Service"] => {
  const circuits = new Map<string, Actor.Actor<Circuit, Message>>()
  const turn = receive(options)

  const circuitOf = (provider: string) => {
    const known = circuits.get(provider)
    if (known !== undefined) return known
    const fresh = Actor.make({ initial, receive: turn })
    circuits.set(provider, fresh)
    return fresh
  }

  /** Tells a circuit, and counts the transition if it made one. */
  const tell = (provider: string, message: Message): Effect.Effect<void> =>
    Effect.suspend(() => {
      const circuit = circuitOf(provider)
      const from = circuit.snapshot().state
      circuit.tell(message)
      const to = circuit.snapshot().state
      if (from === to) return Effect.void
      return Effect.andThen(
        Metric.update(Metric.withAttributes(transitions, { provider, from_state: from, to_state: to }), 1),
        Effect.logWarning(`The circuit of ${provider} went from ${from} to ${to}`)
      )
    })

  const mayProbe = (circuit: Circuit, now: number): boolean =>
    circuit.state === "half_open" ? !circuit.probing : circuit.state === "open" && now >= circuit.openedAt + options.recoveryMs

  const admit = (provider: string, probe: boolean): Permit => {
    const { epoch } = circuitOf(provider).snapshot()
    return {
      provider,
      probe,
      tell: (outcome) => Effect.flatMap(Clock.currentTimeMillis, (now) => tell(provider, { _tag: "Outcome", epoch, outcome, now }))
    }
  }

  const permit = Effect.fnUntraced(function* (provider: string) {
    const circuit = circuitOf(provider)
    if (circuit.snapshot().state === "closed") return admit(provider, false)
    // No await between the look and the turn: one probe at a time.
    if (mayProbe(circuit.snapshot(), yield* Clock.currentTimeMillis)) {
      yield* tell(provider, { _tag: "Probe" })
      return admit(provider, true)
    }
    yield* Metric.update(Metric.withAttributes(rejected, { provider }), 1)
    return null
  })

  const states = Effect.map(Clock.currentTimeMillis, (now) =>
    [...circuits].map(([provider, circuit]): BreakerState => {
      const seen = circuit.snapshot()
      const openedAt = seen.state === "closed" ? null : seen.openedAt
      return {
        provider,
        state: mayProbe(seen, now) ? "half_open" : seen.state,
        failures: seen.failures,
        opened_at: openedAt === null ? null : new Date(openedAt).toISOString(),
        retry_at: openedAt === null || seen.state !== "open" ? null : new Date(openedAt + options.recoveryMs).toISOString()
      }
    })
  )

  return Breakers.of({ permit, states, reset: (provider) => tell(provider, { _tag: "Reset" }) })
}
