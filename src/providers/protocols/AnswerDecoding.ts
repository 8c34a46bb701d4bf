/**
 * What every provider protocol's decoder gives: events, or how the answer breaks its protocol.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../../schemas/Inference.ts"
import { ProviderAnswer } from "../../../schemas/Provider.ts"

/** What was decoded, or how the answer breaks its protocol. @category models @since 0.1.0 */
export interface Decoded {
  readonly events: Array<InferenceEvent>
  readonly fault: ProviderAnswer | null
}

/** The state of one stream: bytes in, events out, one batch for each read. @category models @since 0.1.0 */
export interface AnswerDecoder {
  push(bytes: Uint8Array): Decoded
  /** The provider has ended. */
  end(): Decoded
  /** The protocol's last event has come: what follows is not read. */
  readonly isDone: boolean
}

/** @category constructors @since 0.1.0 */
export const fault = (kind: ProviderAnswer["fault"], message: string): ProviderAnswer =>
  new ProviderAnswer({ fault: kind, message: message.slice(0, 500) })
