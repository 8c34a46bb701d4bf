/**
 * Work that one process does for all replicas: what reads, resets, probes or forgets from time to time.
 *
 * **Gotchas**: a process that was cut off from the database may be in the middle of it for a moment while another begins. So
 * what must not happen twice is decided by a row as well.
 *
 * @since 0.1.0
 */
import { Context, Effect, type Scope } from "effect"

/** @category models @since 0.1.0 */
export interface Singletons {
  /**
   * Runs an effect that never ends in one process of all that register it by this name, and in another when that one is gone.
   * Taken back with the Scope.
   */
  readonly register: <R>(name: string, run: Effect.Effect<void, never, R>) => Effect.Effect<void, never, R | Scope.Scope>
}

/** Every process for itself, where nobody says otherwise. @category references @since 0.1.0 */
export const Singletons = Context.Reference<Singletons>("sluice/replicas/Singletons", {
  defaultValue: () => ({ register: (_, run) => Effect.asVoid(Effect.forkScoped(run)) })
})

/** Registers an effect that is repeated by one process. The first time comes after the first pause. @category constructors @since 0.1.0 */
export const every = Effect.fnUntraced(function* <R>(name: string, pauseMs: number, effect: Effect.Effect<void, never, R>) {
  const { register } = yield* Singletons
  yield* register(name, Effect.forever(Effect.andThen(Effect.sleep(pauseMs), effect)))
})
