/**
 * A classifier of harm, to be plugged in.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Schema } from "effect"

/** The classifier gave no verdict. @category errors @since 0.1.0 */
export class ModerationError extends Schema.TaggedError<ModerationError>()("ModerationError", { message: Schema.String }) {}

/** @category models @since 0.1.0 */
export interface Verdict {
  readonly isHarmful: boolean
  /** Lower-case names such as `hate` or `violence`; may be empty. */
  readonly categories: ReadonlyArray<string>
}

/** @category services @since 0.1.0 */
export class Moderation extends Context.Service<
  Moderation,
  {
    /** Judges a text, within a bounded time. */
    readonly judge: (text: string) => Effect.Effect<Verdict, ModerationError>
  }
>()("sluice/guardrails/Moderation") {
  /** No classifier: whoever asks for one is told so, and does as it chose for its failure. */
  static readonly layerNone = Layer.succeed(this, {
    judge: () => Effect.fail(new ModerationError({ message: "no classifier is set up" }))
  })
}
