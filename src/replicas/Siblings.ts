/**
 * The other processes that serve on the same port, for what only all of them together can answer.
 *
 * @since 0.1.0
 */
import { Context, Effect } from "effect"

/** @category models @since 0.1.0 */
export interface Siblings {
  /** This process's metrics as Prometheus reads them, with those of the others; null when they cannot be had just now. */
  readonly withMetrics: (own: string) => Effect.Effect<string | null>
}

/** Alone, where nobody says otherwise. @category references @since 0.1.0 */
export const Siblings = Context.Reference<Siblings>("sluice/replicas/Siblings", {
  defaultValue: () => ({ withMetrics: Effect.succeed })
})
