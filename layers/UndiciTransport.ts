/**
 * The transport over undici's `dispatch`: bytes as the socket brings them, backpressure down to the socket, one clock for the
 * silence of all that are under way.
 *
 * @since 0.1.0
 */
import { type Array as Arr, Cause, Effect, Layer, Scope } from "effect"
import { Agent, type Dispatcher } from "undici"
import { ProviderConnection, ProviderTimeout } from "../schemas/Provider.ts"
import {
  isSuccess,
  MAX_FAILURE,
  Transport,
  type TransportAnswer,
  TransportError,
  type TransportRequest,
  type TransportResponse
} from "../src/providers/Transport.ts"
import type { Source, Take } from "../src/streams/Source.ts"
import { YoungSet } from "./YoungSet.ts"

/** Milliseconds: until the first byte of an answer's body, and between two reads of it. @category models @since 0.1.0 */
export interface UndiciTransportOptions {
  readonly firstByteTimeoutMs: number
  readonly idleTimeoutMs: number
}

/** Unread bytes of one answer at which its socket is paused. */
const HIGH_WATER = 256 * 1_024

const departed = new Error("the request is no longer wanted")

type Phase = "first_byte" | "idle" | "end"

/** How long the end of an answer may take of which nobody wants more. */
const END_MS = 1_000

type Headers = Record<string, string | Array<string> | undefined>

/**
 * Ends exchanges that are silent too long. A timer for each of them, set anew with each read, would cost more than the reads;
 * so time is counted in ticks, and a silence may last a tick longer than it should.
 */
class Silence {
  private readonly exchanges = new YoungSet<Exchange>()
  private readonly tickMs: number
  private readonly limits: Readonly<Record<Phase, number>>
  private clock: NodeJS.Timeout | null = null
  now = 0

  constructor(options: UndiciTransportOptions) {
    const shortest = Math.min(options.firstByteTimeoutMs, options.idleTimeoutMs)
    this.tickMs = Math.max(1, Math.min(250, Math.floor(shortest / 16)))
    const ticks = (ms: number): number => Math.ceil(ms / this.tickMs) + 1
    this.limits = { first_byte: ticks(options.firstByteTimeoutMs), idle: ticks(options.idleTimeoutMs), end: ticks(END_MS) }
  }

  watch(exchange: Exchange): void {
    this.exchanges.add(exchange)
    this.clock ??= setInterval(() => this.tick(), this.tickMs)
  }

  forget(exchange: Exchange): void {
    this.exchanges.delete(exchange)
  }

  private tick(): void {
    this.now++
    // It stops only when it finds nobody, not with each request that ends.
    if (this.exchanges.size === 0) this.stop()
    this.exchanges.forEach((exchange) => {
      if (this.now - exchange.heardAt > this.limits[exchange.phase] * exchange.patience) exchange.expire()
    })
  }

  stop(): void {
    if (this.clock !== null) clearInterval(this.clock)
    this.clock = null
  }
}

/** One request and what comes back. */
abstract class Exchange implements Dispatcher.DispatchHandler {
  phase: Phase = "first_byte"
  /** The tick of the last sign of life. */
  heardAt: number
  patience: number
  protected controller: Dispatcher.DispatchController | null = null
  protected failure: TransportError | null = null
  protected ended = false
  private readonly silence: Silence
  private answered = false
  private unwanted = false
  private timedOut: Exclude<Phase, "end"> | null = null
  private hasAll = false

  constructor(silence: Silence, patience: number) {
    this.silence = silence
    this.patience = patience
    this.heardAt = silence.now
    silence.watch(this)
  }

  protected abstract head(status: number, incoming: Headers): void
  protected abstract take(controller: Dispatcher.DispatchController, chunk: Buffer): void
  /** All has come, or it failed. */
  protected abstract over(): void

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.unwanted || this.timedOut !== null) controller.abort(departed)
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, incoming: Headers): void {
    // An interim answer such as 100 or 103 is not the answer.
    if (status < 200) return
    this.answered = true
    this.head(status, incoming)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (chunk.length === 0 || this.phase === "end") return
    // The first byte ends one wait and begins the other; later ones begin it anew.
    this.phase = "idle"
    this.patience = 1
    this.heardAt = this.silence.now
    this.take(controller, chunk)
  }

  onResponseEnd(): void {
    this.silence.forget(this)
    this.ended = true
    this.over()
  }

  onResponseError(_: Dispatcher.DispatchController | null, error: Error): void {
    this.silence.forget(this)
    this.failure ??= this.toFailure(error)
    this.over()
  }

  /** All that was wanted has come. */
  readonly finished = (): void => {
    this.hasAll = true
  }

  /** Nobody wants the answer any more: what is not finished is torn down now, unless only its end is left to come. */
  abandon(): void {
    const isOver = this.ended || this.failure !== null
    if (this.hasAll && !isOver) {
      this.phase = "end"
      this.resume()
      this.heardAt = this.silence.now
      return
    }
    this.silence.forget(this)
    this.unwanted = true
    if (!isOver) this.controller?.abort(departed)
  }

  expire(): void {
    if (this.phase === "end") {
      this.silence.forget(this)
      this.controller?.abort(departed)
      return
    }
    // Silence that we asked for by pausing is not the provider's.
    if (this.controller?.paused === true) {
      this.heardAt = this.silence.now
      return
    }
    this.timedOut = this.phase
    if (this.controller !== null) this.controller.abort(departed)
    else this.onResponseError(null, departed)
  }

  /** Reading goes on after a pause. */
  protected resume(): void {
    if (this.controller?.paused !== true) return
    this.heardAt = this.silence.now
    this.controller.resume()
  }

  private toFailure(error: Error): TransportError {
    if (this.timedOut !== null) return new TransportError({ reason: new ProviderTimeout({ phase: this.timedOut }) })
    const code = "code" in error ? String(error.code) : error.name
    return new TransportError({ reason: new ProviderConnection({ answered: this.answered, message: code }) })
  }
}

const plain = (incoming: Headers): Record<string, string> => {
  const headers: Record<string, string> = {}
  for (const name in incoming) {
    const value = incoming[name]
    if (value !== undefined) headers[name] = typeof value === "string" ? value : value.join(", ")
  }
  return headers
}

type Resume<A> = (effect: Effect.Effect<A, TransportError>) => void

/** The head is told once, the body is pulled. */
class StreamedExchange extends Exchange {
  private onHead: Resume<TransportResponse> | null
  private chunks: Array<Uint8Array> = []
  private bytes = 0
  private waiting: ((effect: Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array>, TransportError | Cause.Done>) => void) | null = null
  /** Who is handed what comes, and what is told when that is over. */
  private flowing: { readonly take: Take<Uint8Array>; readonly resume: (over: Effect.Effect<void>) => void } | null = null

  constructor(silence: Silence, patience: number, onHead: Resume<TransportResponse>) {
    super(silence, patience)
    this.onHead = onHead
  }

  protected head(status: number, incoming: Headers): void {
    const body = { pull: this.pull, flow: this.flow }
    this.tellHead(Effect.succeed({ status, headers: plain(incoming), finished: this.finished, body }))
  }

  protected take(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.flowing !== null) {
      this.hand(chunk)
      return
    }
    if (this.waiting !== null) {
      const resume = this.waiting
      this.waiting = null
      resume(Effect.succeed([chunk]))
      return
    }
    this.chunks.push(chunk)
    this.bytes += chunk.length
    if (this.bytes > HIGH_WATER && !controller.paused) controller.pause()
  }

  private hand(chunk: Buffer): void {
    try {
      if (this.flowing?.take([chunk]) !== true) this.stopFlow(Effect.void)
    } catch (defect) {
      this.stopFlow(Effect.die(defect))
    }
  }

  private stopFlow(over: Effect.Effect<void>): void {
    const resume = this.flowing?.resume
    this.flowing = null
    resume?.(over)
  }

  protected over(): void {
    this.stopFlow(Effect.void)
    const resume = this.waiting
    this.waiting = null
    if (resume !== null) resume(this.failure === null ? Cause.done() : Effect.fail(this.failure))
    if (this.failure !== null) this.tellHead(Effect.fail(this.failure))
  }

  private tellHead(effect: Effect.Effect<TransportResponse, TransportError>): void {
    const tell = this.onHead
    this.onHead = null
    tell?.(effect)
  }

  private readonly flow: Source<Uint8Array, TransportError>["flow"] = (take) =>
    Effect.callback((resume) => {
      // What has come before is pulled.
      if (this.chunks.length > 0 || this.ended || this.failure !== null) return resume(Effect.void)
      this.flowing = { take, resume }
      return Effect.sync(() => {
        this.flowing = null
      })
    })

  private readonly wait: Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array>, TransportError | Cause.Done> = Effect.callback((resume) => {
    this.waiting = resume
    return Effect.sync(() => {
      this.waiting = null
    })
  })

  private readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array>, TransportError | Cause.Done> = Effect.suspend(() => {
    const [first, ...rest] = this.chunks
    if (first !== undefined) {
      this.chunks = []
      this.bytes = 0
      this.resume()
      return Effect.succeed<Arr.NonEmptyReadonlyArray<Uint8Array>>([first, ...rest])
    }
    if (this.failure !== null) return Effect.fail(this.failure)
    return this.ended ? Cause.done() : this.wait
  })
}

const utf8 = new TextDecoder("utf-8")

/** Told once, when all of it has come. */
class WholeExchange extends Exchange {
  private maxBytes: number
  private readonly tell: Resume<TransportAnswer>
  private status = 0
  private incoming: Headers = {}
  private chunks: Array<Buffer> = []
  private bytes = 0

  constructor(silence: Silence, patience: number, maxBytes: number, tell: Resume<TransportAnswer>) {
    super(silence, patience)
    this.maxBytes = maxBytes
    this.tell = tell
  }

  protected head(status: number, incoming: Headers): void {
    this.status = status
    if (!isSuccess(status)) this.maxBytes = MAX_FAILURE
    this.incoming = incoming
  }

  protected take(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.chunks.push(chunk)
    this.bytes += chunk.length
    if (this.bytes <= this.maxBytes) return
    this.answer()
    this.abandon()
  }

  protected over(): void {
    if (this.failure === null) this.answer()
    else this.tell(Effect.fail(this.failure))
  }

  private answer(): void {
    const [first] = this.chunks
    const text = first === undefined ? "" : utf8.decode(this.chunks.length === 1 ? first : Buffer.concat(this.chunks))
    this.tell(Effect.succeed({ status: this.status, headers: plain(this.incoming), text, isWhole: this.bytes <= this.maxBytes }))
  }
}

/** @category layers @since 0.1.0 */
export const layer = (options: UndiciTransportOptions): Layer.Layer<Transport> =>
  Layer.effect(
    Transport,
    Effect.gen(function* () {
      const silence = new Silence(options)
      const agent = yield* Effect.acquireRelease(
        Effect.sync(
          () => new Agent({ connect: { timeout: options.firstByteTimeoutMs }, headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 30_000 })
        ),
        (agent) =>
          Effect.andThen(
            Effect.promise(() => agent.destroy()),
            Effect.sync(() => silence.stop())
          )
      )
      const dispatch = ({ body, headers, method, url }: TransportRequest, exchange: Exchange): void => {
        const slash = url.indexOf("/", url.indexOf("//") + 2)
        const origin = slash === -1 ? url : url.slice(0, slash)
        agent.dispatch({ origin, path: slash === -1 ? "/" : url.slice(slash), method, headers, body }, exchange)
      }
      return Transport.of({
        send: Effect.fnUntraced(function* (request: TransportRequest) {
          let exchange: Exchange | null = null
          yield* Scope.addFinalizer(
            yield* Effect.scope,
            Effect.sync(() => exchange?.abandon())
          )
          return yield* Effect.callback<TransportResponse, TransportError>((resume) => {
            const current = new StreamedExchange(silence, request.patience ?? 1, resume)
            exchange = current
            dispatch(request, current)
            return Effect.sync(() => current.abandon())
          })
        }),
        ask: (request, maxBytes) =>
          Effect.callback<TransportAnswer, TransportError>((resume) => {
            const exchange = new WholeExchange(silence, request.patience ?? 1, maxBytes, resume)
            dispatch(request, exchange)
            return Effect.sync(() => exchange.abandon())
          })
      })
    })
  )
