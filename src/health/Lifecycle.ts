/**
 * Whether the server takes requests: ready only when everything stands, not while it drains.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"

/**
 * `draining`: a stop was asked for. What runs may end and what still comes in is answered, but nobody should send more.
 * `stopped`: the time for that is over. What runs is cut at no cost to its caller, what comes in is refused.
 *
 * @category models
 * @since 0.1.0
 */
export type LifecycleState = "starting" | "ready" | "draining" | "stopped"

/** @category services @since 0.1.0 */
export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    /** Read at every request: plain, not an effect. */
    readonly state: () => LifecycleState
    readonly set: (state: Exclude<LifecycleState, "starting">) => Effect.Effect<void>
    /** Calls a listener once, at the moment when what still runs is about to be cut. What is given back takes it away. */
    readonly onStopped: (listener: () => void) => () => void
  }
>()("sluice/health/Lifecycle") {
  static readonly layer = Layer.sync(this, () => {
    let state: LifecycleState = "starting"
    const listeners = new Set<() => void>()
    return Lifecycle.of({
      state: () => state,
      set: (next) =>
        Effect.sync(() => {
          state = next
          if (next !== "stopped") return
          for (const listener of listeners) listener()
          listeners.clear()
        }),
      onStopped: (listener) => {
        listeners.add(listener)
        return () => listeners.delete(listener)
      }
    })
  })
}
