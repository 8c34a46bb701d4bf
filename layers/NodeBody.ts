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
    const declared = Number(source.headers["content-length"])
    const chunks: Array<Buffer> = []
    let size = 0
    const stop = (): void => {
      source.off("data", onData).off("end", onEnd).off("close", onBroken)
    }
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      if (size > maxBytes) {
        stop()
        source.pause()
        resume(failed("too_large"))
      } else if (size === declared && chunks.length === 0) {
        // Most come in one piece, after which there is nothing to wait for; the end comes by itself.
        stop()
        resume(Effect.succeed(chunk))
      } else chunks.push(chunk)
    }
    const onEnd = (): void => {
      stop()
      const [first] = chunks
      resume(Effect.succeed(first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks, size)))
    }
    // Comes after an error too, which nobody has to listen for.
    const onBroken = (): void => {
      stop()
      resume(failed("broken"))
    }
    if (source.destroyed) return onBroken()
    source.on("data", onData).on("end", onEnd).on("close", onBroken)
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
