/**
 * Bodies read from Node's own requests, with nothing between the socket and their bytes.
 *
 * @since 0.1.0
 */
import { IncomingMessage } from "node:http"
import { Effect, Layer } from "effect"
import { BodyBytes, BodyFailed, type ReadBody, readAnywhere } from "../src/http/BodyBytes.ts"

const failed = (why: BodyFailed["why"]) => Effect.fail(new BodyFailed({ why }))

const readNode = (source: IncomingMessage, maxBytes: number): Effect.Effect<Uint8Array, BodyFailed> =>
  Effect.callback((resume) => {
    const chunks: Array<Buffer> = []
    let size = 0
    const stop = (): void => {
      source.off("data", onData).off("end", onEnd).off("error", onBroken).off("close", onBroken)
    }
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      if (size <= maxBytes) return void chunks.push(chunk)
      stop()
      source.pause()
      resume(failed("too_large"))
    }
    const onEnd = (): void => {
      stop()
      const [first] = chunks
      resume(Effect.succeed(first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks, size)))
    }
    const onBroken = (): void => {
      stop()
      resume(failed("broken"))
    }
    if (source.destroyed) return onBroken()
    source.on("data", onData).on("end", onEnd).on("error", onBroken).on("close", onBroken)
    return Effect.sync(stop)
  })

const read: ReadBody = (request, maxBytes) => {
  const { source } = request
  // Whoever waits to be told to go on is told by the server's own reader.
  const usual = source instanceof IncomingMessage && source.headers.expect === undefined && !source.readableEnded
  return usual ? readNode(source, maxBytes) : readAnywhere(request, maxBytes)
}

/** @category layers @since 0.1.0 */
export const layer: Layer.Layer<never> = Layer.succeed(BodyBytes, read)
