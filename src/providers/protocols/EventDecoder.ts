/**
 * Streams whose every server-sent event is one JSON object, and whose last one may say that it is the last.
 *
 * @since 0.1.0
 */
import type { InferenceEvent } from "../../../schemas/Inference.ts"
import * as Json from "../../../schemas/Json.ts"
import type { ProviderAnswer } from "../../../schemas/Provider.ts"
import { SseParser } from "../../streams/Sse.ts"
import { type AnswerDecoder, type Decoded, fault } from "./AnswerDecoding.ts"

/** Makes events out of a protocol's objects, one after another. @category models @since 0.1.0 */
export interface EventReader {
  /** What was read and not given on yet. */
  readonly events: Array<InferenceEvent>
  /** The protocol's last event has come. */
  readonly stopped: boolean
  /** How the object breaks the protocol; null when it does not. */
  take(event: Json.JsonObject): ProviderAnswer | null
  /** What is wrong with the answer when the provider has ended; null when it is whole. */
  verdict(): ProviderAnswer | null
}

/** The state of one stream. @category decoding @since 0.1.0 */
export class EventDecoder implements AnswerDecoder {
  private readonly sse = new SseParser()
  private readonly reader: EventReader

  constructor(reader: EventReader) {
    this.reader = reader
  }

  push(bytes: Uint8Array): Decoded {
    const decoded = this.read(this.sse.push(bytes))
    return this.sse.overflowed && decoded.fault === null
      ? { events: decoded.events, fault: fault("malformed", "an event is too large") }
      : decoded
  }

  end(): Decoded {
    const decoded = this.read(this.sse.end())
    return decoded.fault === null ? { events: decoded.events, fault: this.reader.verdict() } : decoded
  }

  get isDone(): boolean {
    return this.reader.stopped
  }

  private read(incoming: ReadonlyArray<{ readonly data: string }>): Decoded {
    let broken: ProviderAnswer | null = null
    for (const { data } of incoming) {
      if (this.reader.stopped || broken !== null) break
      const event = data === "" ? {} : Json.parse(data)
      broken = Json.isObject(event) ? this.reader.take(event) : fault("malformed", "an event is not a JSON object")
    }
    return { events: this.reader.events.splice(0), fault: broken }
  }
}
