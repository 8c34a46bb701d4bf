/**
 * Why a request that could be understood is not let through.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"

/** The trial is over and the model is not free. @category errors @since 0.1.0 */
export class TrialExpired extends Schema.TaggedError<TrialExpired>()("TrialExpired", { model: Schema.String }) {}

/** Without a key only free models are served. @category errors @since 0.1.0 */
export class ModelNeedsKey extends Schema.TaggedError<ModelNeedsKey>()("ModelNeedsKey", { model: Schema.String }) {}

/** The output asked for is more than the model's whole context. @category errors @since 0.1.0 */
export class MaxTokensTooLarge extends Schema.TaggedError<MaxTokensTooLarge>()("MaxTokensTooLarge", {
  maxTokens: Schema.Number,
  limit: Schema.Number
}) {}
