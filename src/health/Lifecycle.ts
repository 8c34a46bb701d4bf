/**
 * Whether the server takes requests: ready only when everything stands, not while it drains.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"

/** @category services @since 0.1.0 */
export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    /** Read at every request: plain, not an effect. */
    readonly state: () => "starting" | "ready" | "draining"
    readonly set: (state: "ready" | "draining") => Effect.Effect<void>
  }
>()("sluice/health/Lifecycle") {
  static readonly layer = Layer.sync(this, () => {
    let state: "starting" | "ready" | "draining" = "starting"
    return Lifecycle.of({
      state: () => state,
      set: (next) =>
        Effect.sync(() => {
          state = next
        })
    })
  })
}
