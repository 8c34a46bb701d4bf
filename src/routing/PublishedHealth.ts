/**
 * How models are at their providers, as it was last published, for whoever lists them or chooses between them.
 *
 * @since 0.1.0
 */
import { Context } from "effect"
import type { HealthState } from "../../schemas/Health.ts"

/** Unchanged once it is published. @category models @since 0.1.0 */
export interface HealthSnapshot {
  /** Another one, another number. */
  readonly version: number
  /** Null: nothing is known, which counts as healthy. */
  readonly of: (model: string, provider: string) => HealthState | null
  /** Of the provider as a whole. */
  readonly ofProvider: (provider: string) => HealthState | null
}

/** Nothing is known. @category constructors @since 0.1.0 */
export const nothing: HealthSnapshot = { version: 0, of: () => null, ofProvider: () => null }

/** Nothing is known unless a program provides it. @category references @since 0.1.0 */
export const PublishedHealth = Context.Reference<() => HealthSnapshot>("sluice/routing/PublishedHealth", {
  defaultValue: () => () => nothing
})
