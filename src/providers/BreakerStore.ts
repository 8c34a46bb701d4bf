/**
 * What replicas keep together of their circuits: the last transition of each, and who may probe.
 *
 * @since 0.1.0
 */
import { Clock, Context, Effect, Layer, Schema } from "effect"
import type { SharedCircuit } from "./Circuit.ts"

/** The store did not answer, or not in time. @category errors @since 0.1.0 */
export class BreakerStoreError extends Schema.TaggedError<BreakerStoreError>()("BreakerStoreError", { message: Schema.String }) {}

/** A transition in words that every replica reads. */
const Shared = Schema.fromJsonString(
  Schema.Struct({
    provider: Schema.String,
    circuit: Schema.Union([
      Schema.Struct({ state: Schema.Literal("open"), failures: Schema.Finite, openedAt: Schema.Finite }),
      Schema.Struct({ state: Schema.Literal("closed"), closedAt: Schema.Finite })
    ])
  })
)

/** @category decoding @since 0.1.0 */
export const decodeShared = Schema.decodeUnknownOption(Shared)

/** @category encoding @since 0.1.0 */
export const encodeShared = Schema.encodeSync(Shared)

/** @category models @since 0.1.0 */
export interface ProbePermit {
  readonly provider: string
  /** When the circuit was opened: each opening is probed anew. */
  readonly openedAt: number
  /** Who takes it. */
  readonly owner: string
}

/** @category services @since 0.1.0 */
export class BreakerStore extends Context.Service<
  BreakerStore,
  {
    /** The last transition of each circuit, written by `save`. */
    readonly load: Effect.Effect<ReadonlyMap<string, SharedCircuit>, BreakerStoreError>
    readonly save: (provider: string, circuit: SharedCircuit) => Effect.Effect<void, BreakerStoreError>
    /** False when somebody else has it. It comes back by itself after `ttlMs`. */
    readonly takeProbe: (permit: ProbePermit, ttlMs: number) => Effect.Effect<boolean, BreakerStoreError>
    /** Gives it back, if it is still the owner's: the probe has found nothing out. */
    readonly freeProbe: (permit: ProbePermit) => Effect.Effect<void, BreakerStoreError>
  }
>()("sluice/providers/BreakerStore") {
  /** For one process, and for tests of several in one. */
  static readonly layerMemory = Layer.sync(this, () => {
    const circuits = new Map<string, SharedCircuit>()
    const probes = new Map<string, { readonly permit: ProbePermit; readonly until: number }>()
    return BreakerStore.of({
      load: Effect.sync(() => new Map(circuits)),
      save: (provider, circuit) => Effect.sync(() => circuits.set(provider, circuit)),
      takeProbe: (permit, ttlMs) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const held = probes.get(permit.provider)
          if (held !== undefined && held.permit.openedAt === permit.openedAt && now < held.until) return false
          probes.set(permit.provider, { permit, until: now + ttlMs })
          return true
        }),
      freeProbe: (permit) =>
        Effect.sync(() => {
          if (probes.get(permit.provider)?.permit.owner === permit.owner) probes.delete(permit.provider)
        })
    })
  })
}
