/**
 * Orders the candidates of each request by what is known just now.
 *
 * @since 0.1.0
 */
import { Array as Arr, Context, Effect, Layer, Random } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { balance, isSplit, RoutingOptions } from "./Balancing.ts"
import { LiveHealth } from "./LiveHealth.ts"
import { LowCredit } from "./LowCredit.ts"

/** Candidates, at least one. @category models @since 0.1.0 */
export type Candidates = Arr.NonEmptyReadonlyArray<Candidate>

/** @category services @since 0.1.0 */
export class Balancer extends Context.Service<
  Balancer,
  {
    /** The same candidates in the order to try them; a caller's own order stays. `cost`: of this request at a candidate. */
    readonly order: (request: InferenceRequest, candidates: Candidates, cost: (candidate: Candidate) => bigint) => Effect.Effect<Candidates>
  }
>()("sluice/routing/Balancer") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const live = yield* LiveHealth
      const options = yield* RoutingOptions
      const isLow = yield* LowCredit
      const input = { options, isLow, live: (candidate: Candidate) => live(candidate.model.id, candidate.provider) }
      const order: Balancer["Service"]["order"] = (request, candidates, cost) => {
        if (candidates.length === 1 || (request.preference?.order.length ?? 0) > 0) return Effect.succeed(candidates)
        const sort = request.preference?.sort ?? null
        const by = (draw: number | null): Candidates => {
          const ordered = balance(candidates, { ...input, sort, isStream: request.stream, cost, draw })
          return Arr.isReadonlyArrayNonEmpty(ordered) ? ordered : candidates
        }
        return sort === null && isSplit(options, candidates) ? Effect.map(Random.next, by) : Effect.sync(() => by(null))
      }
      return Balancer.of({ order })
    })
  )
}
