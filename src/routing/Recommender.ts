/**
 * A scorer of one's own, such as a trained one, that the general router asks before it decides by itself.
 *
 * @since 0.1.0
 */
import { Context, Effect } from "effect"
import type { GeneralMode } from "./RouterName.ts"

/** What a recommender is told. @category models @since 0.1.0 */
export interface RecommenderQuestion {
  readonly mode: GeneralMode
  /** The last words of the user. */
  readonly text: string
  /** Ids of the models that can do what is asked, the router's own choice first. */
  readonly models: ReadonlyArray<string>
}

/** Ids of models, the best first; others are put behind. @category models @since 0.1.0 */
export type Recommend = (question: RecommenderQuestion) => Effect.Effect<ReadonlyArray<string>, unknown>

/** Nobody is asked unless a program provides one. @category references @since 0.1.0 */
export const Recommender = Context.Reference<Recommend | null>("sluice/routing/Recommender", { defaultValue: () => null })

/** Milliseconds that a request waits for a recommendation. */
const PATIENCE = 150

/** What is recommended; nothing when it fails or takes too long. @category accessors @since 0.1.0 */
export const recommended = (recommend: Recommend, question: RecommenderQuestion): Effect.Effect<ReadonlyArray<string>> =>
  Effect.suspend(() => recommend(question)).pipe(
    Effect.timeoutOrElse({ duration: PATIENCE, orElse: () => Effect.succeed([]) }),
    Effect.catchCause((cause) => Effect.as(Effect.logDebug("The recommender failed", cause), []))
  )
