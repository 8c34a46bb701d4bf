/**
 * What a worker and the process that keeps it tell each other.
 *
 * @since 0.1.0
 */
import { Option, Schema } from "effect"

const ToWorker = Schema.Union([
  Schema.TaggedStruct("Stop", {}),
  /** Do not wait for what still runs. */
  Schema.TaggedStruct("Hurry", {}),
  /** Say what you have counted. */
  Schema.TaggedStruct("Collect", { round: Schema.Number }),
  /** What everybody has counted, for who asked; null: somebody did not answer. */
  Schema.TaggedStruct("Merged", { question: Schema.Number, text: Schema.NullOr(Schema.String) })
])

/** @category models @since 0.1.0 */
export type ToWorker = typeof ToWorker.Type

const FromWorker = Schema.Union([
  Schema.TaggedStruct("Ready", { url: Schema.String }),
  Schema.TaggedStruct("Counted", { round: Schema.Number, text: Schema.String }),
  /** Asks for what everybody has counted; this one's own goes with the question. */
  Schema.TaggedStruct("Merge", { question: Schema.Number, text: Schema.String })
])

/** @category models @since 0.1.0 */
export type FromWorker = typeof FromWorker.Type

const decodeToWorker = Schema.decodeUnknownOption(ToWorker)
const decodeFromWorker = Schema.decodeUnknownOption(FromWorker)

/** Null for a message that is not of ours. @category decoding @since 0.1.0 */
export const toWorker = (message: unknown): ToWorker | null => Option.getOrNull(decodeToWorker(message))

/** Null for a message that is not of ours. @category decoding @since 0.1.0 */
export const fromWorker = (message: unknown): FromWorker | null => Option.getOrNull(decodeFromWorker(message))
