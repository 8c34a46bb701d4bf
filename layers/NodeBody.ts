/**
 * Bodies read from Node's own requests, with nothing between the socket and their bytes.
 *
 * @since 0.1.0
 */
import { IncomingMessage } from "node:http"
import { Effect, Layer } from "effect"
import { BodyBytes, BodyFailed, type ReadBody, readAnywhere } from "../src/http/BodyBytes.ts"

const failed = (why: BodyFailed["why"]) => Effect.fail(new BodyFailed({ why }))

/** One body as it comes. */
class Incoming {
  private readonly source: IncomingMessage
  private readonly maxBytes: number
  /** NaN where it is not told. */
  private readonly declared: number
  private readonly resume: (done: Effect.Effect<Uint8Array, BodyFailed>) => void
  private chunks: Array<Buffer> = []
  private size = 0
  private readonly onData = (chunk: Buffer): void => this.take(chunk)
  private readonly onEnd = (): void => this.end()
  private readonly onBroken = (): void => {
    this.stop()
    this.resume(failed("broken"))
  }

  constructor(source: IncomingMessage, maxBytes: number, resume: (done: Effect.Effect<Uint8Array, BodyFailed>) => void) {
    this.source = source
    this.maxBytes = maxBytes
    this.declared = Number(source.headers["content-length"])
    this.resume = resume
  }

  begin(): void {
    if (this.source.destroyed) {
      this.resume(failed("broken"))
      return
    }
    // What is closed has been broken before, where there was an error too: nobody has to listen for that.
    this.source.on("close", this.onBroken).on("data", this.onData)
    // Of what says its length the end comes with the last byte.
    if (!(this.declared > 0)) this.source.on("end", this.onEnd)
  }

  stop(): void {
    this.source.off("data", this.onData).off("end", this.onEnd).off("close", this.onBroken)
  }

  private take(chunk: Buffer): void {
    this.size += chunk.length
    this.chunks.push(chunk)
    if (this.size > this.maxBytes) {
      this.stop()
      this.source.pause()
      this.resume(failed("too_large"))
    } else if (this.size === this.declared) this.end()
  }

  private end(): void {
    this.stop()
    const [first] = this.chunks
    this.resume(Effect.succeed(first !== undefined && this.chunks.length === 1 ? first : Buffer.concat(this.chunks, this.size)))
  }
}

const readNode = (source: IncomingMessage, maxBytes: number): Effect.Effect<Uint8Array, BodyFailed> =>
  Effect.callback((resume) => {
    const incoming = new Incoming(source, maxBytes, resume)
    incoming.begin()
    return Effect.sync(() => incoming.stop())
  })

const read: ReadBody = (request, maxBytes) => {
  const { source } = request
  // Whoever waits to be told to go on is told by the server's own reader.
  const usual = source instanceof IncomingMessage && source.headers.expect === undefined && !source.readableEnded
  return usual ? readNode(source, maxBytes) : readAnywhere(request, maxBytes)
}

/** @category layers @since 0.1.0 */
export const layer: Layer.Layer<never> = Layer.succeed(BodyBytes, read)
