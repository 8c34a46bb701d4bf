/**
 * Tells accounts of limits that their keys come near to.
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import type { Approach } from "../limits/Approach.ts"
import { KeyLimits } from "../limits/KeyLimits.ts"
import { type BusEvent, EventBus } from "./EventBus.ts"

const toEvent = (approach: Approach): BusEvent => ({
  accountId: approach.accountId,
  type: "rate_limit.approaching",
  data: {
    key_id: approach.keyId,
    limit: approach.limit,
    used: approach.used,
    max: approach.most,
    resets_at: new Date(approach.resetAt).toISOString()
  },
  once: `rate_limit.approaching ${approach.window}`
})

/** @category layers @since 0.1.0 */
export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const limits = yield* KeyLimits
    const bus = yield* EventBus
    const run = Effect.runForkWith(yield* Effect.context<never>())
    yield* limits.subscribe((approach) => run(bus.publish(toEvent(approach))))
  })
)
