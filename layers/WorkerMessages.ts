/**
 * What a worker and the process that keeps it tell each other.
 *
 * @since 0.1.0
 */
import { Option, Schema } from "effect"

/** Where the port of all workers is. @category models @since 0.1.0 */
export const Address = Schema.Struct({ address: Schema.String, port: Schema.Number })

/** @category models @since 0.1.0 */
export type Address = typeof Address.Type

const ToWorker = Schema.Union([
  /** Connections come from now on, of this address. */
  Schema.TaggedStruct("Listening", { address: Address }),
  /** Goes with a connection. */
  Schema.TaggedStruct("Connection", { id: Schema.Number }),
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
  /** Asks for connections. */
  Schema.TaggedStruct("Taking", {}),
  /** Asks for no more. */
  Schema.TaggedStruct("Leaving", {}),
  /** What became of a connection: it is this worker's, or has to go to another. */
  Schema.TaggedStruct("Answered", { id: Schema.Number, isTaken: Schema.Boolean }),
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
