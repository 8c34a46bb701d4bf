/**
 * One circuit, as a value and its turns. Pure.
 *
 * @since 0.1.0
 */

/** @category models @since 0.1.0 */
export interface BreakersOptions {
  /** Consecutive failures that open a circuit. */
  readonly failures: number
  /** Milliseconds until an open circuit lets a probe through. */
  readonly recoveryMs: number
}

/** How a call went; `ignored` says nothing about the provider. @category models @since 0.1.0 */
export type CallOutcome = "success" | "failure" | "ignored"

/**
 * `epoch` changes with every transition, so that calls admitted before one change nothing after it. `probedUntil`: a probe
 * is under way, and whose it is, it is no longer waited for then.
 *
 * @category models
 * @since 0.1.0
 */
export type Circuit =
  | { readonly state: "closed"; readonly epoch: number; readonly failures: number }
  | { readonly state: "open"; readonly epoch: number; readonly failures: number; readonly openedAt: number }
  | {
      readonly state: "half_open"
      readonly epoch: number
      readonly failures: number
      readonly openedAt: number
      readonly probedUntil: number | null
    }

/** A circuit as replicas tell each other of it. Times are epoch milliseconds of whoever tells. @category models @since 0.1.0 */
export type SharedCircuit =
  | { readonly state: "open"; readonly failures: number; readonly openedAt: number }
  | { readonly state: "closed"; readonly closedAt: number }

/** @category models @since 0.1.0 */
export type CircuitMessage =
  /** A call is let through to see how the provider is. */
  | { readonly _tag: "Probe"; readonly until: number }
  | { readonly _tag: "Outcome"; readonly epoch: number; readonly outcome: CallOutcome; readonly now: number }
  | { readonly _tag: "Reset" }
  /** What another replica made of it. */
  | { readonly _tag: "Heard"; readonly circuit: SharedCircuit }

/** A provider never seen. @category constructors @since 0.1.0 */
export const initial: Circuit = { state: "closed", epoch: 0, failures: 0 }

const close = (circuit: Circuit): Circuit => ({ state: "closed", epoch: circuit.epoch + 1, failures: 0 })

const hear = (circuit: Circuit, heard: SharedCircuit): Circuit => {
  if (heard.state === "open") {
    const isNews = circuit.state === "closed" || heard.openedAt > circuit.openedAt
    return isNews ? { state: "open", epoch: circuit.epoch + 1, failures: heard.failures, openedAt: heard.openedAt } : circuit
  }
  return circuit.state !== "closed" && heard.closedAt >= circuit.openedAt ? close(circuit) : circuit
}

const conclude = (
  circuit: Circuit,
  { epoch, now, outcome }: Extract<CircuitMessage, { readonly _tag: "Outcome" }>,
  options: BreakersOptions
): Circuit => {
  if (epoch !== circuit.epoch || circuit.state === "open") return circuit
  if (circuit.state === "half_open") {
    if (outcome === "ignored") return { ...circuit, probedUntil: null }
    if (outcome === "success") return close(circuit)
    return { state: "open", epoch: circuit.epoch + 1, failures: circuit.failures + 1, openedAt: now }
  }
  if (outcome === "ignored") return circuit
  if (outcome === "success") return circuit.failures === 0 ? circuit : { ...circuit, failures: 0 }
  const failures = circuit.failures + 1
  if (failures < options.failures) return { ...circuit, failures }
  return { state: "open", epoch: circuit.epoch + 1, failures, openedAt: now }
}

/** The turn of a circuit. @category turns @since 0.1.0 */
export const receive =
  (options: BreakersOptions) =>
  (circuit: Circuit, message: CircuitMessage): Circuit => {
    switch (message._tag) {
      case "Reset":
        return close(circuit)
      case "Probe":
        if (circuit.state === "closed") return circuit
        return circuit.state === "open"
          ? { ...circuit, state: "half_open", epoch: circuit.epoch + 1, probedUntil: message.until }
          : { ...circuit, probedUntil: message.until }
      case "Heard":
        return hear(circuit, message.circuit)
      case "Outcome":
        return conclude(circuit, message, options)
    }
  }

/** Whether a call may find out how the provider is. @category predicates @since 0.1.0 */
export const mayProbe = (circuit: Circuit, now: number, options: BreakersOptions): boolean => {
  if (circuit.state === "half_open") return circuit.probedUntil === null || now >= circuit.probedUntil
  return circuit.state === "open" && now >= circuit.openedAt + options.recoveryMs
}

/** A circuit as it is told to other replicas; null while it is half open, as that follows from the time. @category conversions @since 0.1.0 */
export const toShared = (circuit: Circuit, now: number): SharedCircuit | null => {
  if (circuit.state === "half_open") return null
  return circuit.state === "open"
    ? { state: "open", failures: circuit.failures, openedAt: circuit.openedAt }
    : { state: "closed", closedAt: now }
}
