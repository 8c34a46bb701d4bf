/**
 * The transport over undici's `dispatch`: bytes as the socket brings them, backpressure down to the socket, one timer a
 * request.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Cause, Effect, Layer, Scope, Stream } from "effect"
import { Agent, type Dispatcher } from "undici"
import { ProviderConnection, ProviderTimeout } from "../schemas/Provider.ts"
import { Transport, TransportError, type TransportRequest, type TransportResponse } from "../src/providers/Transport.ts"

/** Milliseconds: until the first byte of an answer's body, and between two reads of it. @category models @since 0.1.0 */
export interface UndiciTransportOptions {
  readonly firstByteTimeoutMs: number
  readonly idleTimeoutMs: number
}

/** Unread bytes of one answer at which its socket is paused. */
const HIGH_WATER = 256 * 1_024

const departed = new Error("the request is no longer wanted")

type Resume<A> = (effect: Effect.Effect<A, TransportError | Cause.Done>) => void

/** One exchange: the head is told once, the body is pulled. */
class Exchange implements Dispatcher.DispatchHandler {
  private controller: Dispatcher.DispatchController | null = null
  private readonly options: UndiciTransportOptions
  private onHead: ((effect: Effect.Effect<TransportResponse, TransportError>) => void) | null
  private chunks: Array<Uint8Array> = []
  private bytes = 0
  private answered = false
  private ended = false
  private unwanted = false
  private failure: TransportError | null = null
  private timedOut: "first_byte" | "idle" | null = null
  private waiting: Resume<Arr.NonEmptyReadonlyArray<Uint8Array>> | null = null
  private timer: NodeJS.Timeout

  constructor(
    options: UndiciTransportOptions,
    patience: number,
    onHead: (effect: Effect.Effect<TransportResponse, TransportError>) => void
  ) {
    this.options = options
    this.onHead = onHead
    this.timer = setTimeout(() => this.expire("first_byte"), options.firstByteTimeoutMs * patience)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.unwanted || this.timedOut !== null) controller.abort(departed)
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, incoming: Record<string, string | Array<string> | undefined>): void {
    // An interim answer such as 100 or 103 is not the answer.
    if (status < 200) return
    this.answered = true
    const headers: Record<string, string> = {}
    for (const name in incoming) {
      const value = incoming[name]
      if (value !== undefined) headers[name] = typeof value === "string" ? value : value.join(", ")
    }
    this.tellHead(Effect.succeed({ status, headers, body: Stream.fromPull(Effect.succeed(this.pull)) }))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (chunk.length === 0) return
    if (this.bytes === 0 && this.chunks.length === 0 && this.waiting !== null) {
      const resume = this.waiting
      this.waiting = null
      this.rearm()
      resume(Effect.succeed([chunk]))
      return
    }
    this.rearm()
    this.chunks.push(chunk)
    this.bytes += chunk.length
    if (this.bytes > HIGH_WATER && !controller.paused) controller.pause()
  }

  onResponseEnd(): void {
    this.ended = true
    this.finish()
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    this.failure = this.toFailure(error)
    this.finish()
    this.tellHead(Effect.fail(this.failure))
  }

  /** Nobody wants the answer any more: what is not finished is torn down now. */
  abandon(): void {
    this.unwanted = true
    clearTimeout(this.timer)
    if (!this.ended && this.failure === null) this.controller?.abort(departed)
  }

  private readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array>, TransportError | Cause.Done> = Effect.suspend(() => {
    const [first, ...rest] = this.chunks
    if (first !== undefined) {
      this.chunks = []
      this.bytes = 0
      if (this.controller?.paused === true) {
        this.timer.refresh()
        this.controller.resume()
      }
      const read: Arr.NonEmptyReadonlyArray<Uint8Array> = [first, ...rest]
      return Effect.succeed(read)
    }
    if (this.failure !== null) return Effect.fail(this.failure)
    if (this.ended) return Cause.done()
    return Effect.callback((resume) => {
      this.waiting = resume
      return Effect.sync(() => {
        this.waiting = null
      })
    })
  })

  private finish(): void {
    clearTimeout(this.timer)
    const resume = this.waiting
    this.waiting = null
    if (resume !== null) resume(this.failure === null ? Cause.done() : Effect.fail(this.failure))
  }

  private tellHead(effect: Effect.Effect<TransportResponse, TransportError>): void {
    const tell = this.onHead
    this.onHead = null
    tell?.(effect)
  }

  private received = false

  /** The first byte ends one wait and begins the other; later ones begin it anew. */
  private rearm(): void {
    if (this.received) {
      this.timer.refresh()
      return
    }
    this.received = true
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.expire("idle"), this.options.idleTimeoutMs)
  }

  private expire(phase: "first_byte" | "idle"): void {
    // Silence that we asked for by pausing is not the provider's.
    if (this.controller?.paused === true) {
      this.timer.refresh()
      return
    }
    this.timedOut = phase
    if (this.controller !== null) this.controller.abort(departed)
    else this.onResponseError(null, departed)
  }

  private toFailure(error: Error): TransportError {
    if (this.timedOut !== null) return new TransportError({ reason: new ProviderTimeout({ phase: this.timedOut }) })
    const code = "code" in error ? String(error.code) : error.name
    return new TransportError({ reason: new ProviderConnection({ answered: this.answered, message: code }) })
  }
}

const split = (url: string): { readonly origin: string; readonly path: string } => {
  const slash = url.indexOf("/", url.indexOf("//") + 2)
  return slash === -1 ? { origin: url, path: "/" } : { origin: url.slice(0, slash), path: url.slice(slash) }
}

/** @category layers @since 0.1.0 */
export const layer = (options: UndiciTransportOptions): Layer.Layer<Transport> =>
  Layer.effect(
    Transport,
    Effect.gen(function* () {
      const agent = yield* Effect.acquireRelease(
        Effect.sync(
          () => new Agent({ connect: { timeout: options.firstByteTimeoutMs }, headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 30_000 })
        ),
        (agent) => Effect.promise(() => agent.destroy())
      )
      const send = Effect.fnUntraced(function* (request: TransportRequest) {
        let exchange: Exchange | null = null
        yield* Scope.addFinalizer(
          yield* Effect.scope,
          Effect.sync(() => exchange?.abandon())
        )
        return yield* Effect.callback<TransportResponse, TransportError>((resume) => {
          const current = new Exchange(options, request.patience ?? 1, resume)
          exchange = current
          const { origin, path } = split(request.url)
          agent.dispatch({ origin, path, method: request.method, headers: { ...request.headers }, body: request.body }, current)
          return Effect.sync(() => current.abandon())
        })
      })
      return Transport.of({ send })
    })
  )
