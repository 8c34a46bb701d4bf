/**
 * A load client over bare sockets: cheap enough to share a core with the provider and still ask more than a gateway can answer.
 *
 * Each connection asks, reads the whole answer, and asks again.
 */
import { connect, type Socket } from "node:net"

export interface LoadOptions {
  readonly host: string
  readonly port: number
  readonly path: string
  /** Taken in turn, one for each request: many tenants are many of these. */
  readonly headers: ReadonlyArray<Readonly<Record<string, string>>>
  /** Taken in turn as well. */
  readonly bodies: ReadonlyArray<string>
  readonly connections: number
  readonly warmupMs: number
  readonly durationMs: number
  /** After so many answers the load ends, however much time is left. */
  readonly mostRequests?: number
  /** Milliseconds between two reads of a caller who takes his time. */
  readonly slowReadMs?: number
  /** Every so many requests of a connection, the caller leaves after the first bytes. */
  readonly leaveEvery?: number
}

export interface LoadFigures {
  readonly requests: number
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** To the first chunk that says something, in milliseconds: a chunk that only names the role may come before it. */
  readonly first_p50: number
  readonly first_p99: number
  /** Answers other than 200, by status; connections that broke count as 0. */
  readonly failures: Readonly<Record<string, number>>
}

/** Text of an answer, in a chunk or whole; some gateways write a space. */
const CONTENT = /"content": ?"[^"]/

/** Where one answer stands. */
class Answer {
  status = 0
  complete = false
  /** Some of its text has come. */
  hasContent = false
  private head: Buffer | null = null
  private left = -1
  private chunked = false
  /** Bytes of the chunk under way, its line end included; 0: a size line is next. */
  private chunk = 0
  private line = ""

  /** Takes a read; what lies beyond the answer's end is not expected. */
  feed(bytes: Buffer): void {
    let at = 0
    if (this.status === 0) {
      const all = this.head === null ? bytes : Buffer.concat([this.head, bytes])
      const end = all.indexOf("\r\n\r\n")
      if (end === -1) {
        this.head = all
        return
      }
      this.parseHead(all.toString("latin1", 0, end))
      bytes = all
      at = end + 4
    }
    this.hasContent ||= CONTENT.test(bytes.toString("latin1", at))
    if (this.chunked) this.takeChunks(bytes, at)
    else {
      this.left -= bytes.length - at
      this.complete = this.left <= 0
    }
  }

  private parseHead(text: string): void {
    this.status = Number(text.slice(9, 12))
    const lower = text.toLowerCase()
    const length = /\r\ncontent-length: *(\d+)/.exec(lower)
    this.chunked = lower.includes("\r\ntransfer-encoding: chunked")
    this.left = length === null ? 0 : Number(length[1])
  }

  private takeChunks(bytes: Buffer, from: number): void {
    let at = from
    while (at < bytes.length) {
      if (this.chunk > 0) {
        const taken = Math.min(this.chunk, bytes.length - at)
        this.chunk -= taken
        at += taken
        if (this.chunk === 0 && this.line === "end") this.complete = true
        continue
      }
      const end = bytes.indexOf(10, at)
      if (end === -1) {
        this.line += bytes.toString("latin1", at)
        return
      }
      const size = Number.parseInt(this.line + bytes.toString("latin1", at, end), 16)
      at = end + 1
      this.chunk = size + 2
      this.line = size === 0 ? "end" : ""
    }
  }
}

const quantile = (sorted: Float64Array, q: number): number =>
  sorted.length === 0 ? Number.NaN : (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN)

/** What all connections of a run share. */
interface Tally {
  readonly requests: ReadonlyArray<Buffer>
  readonly whole: Array<number>
  readonly first: Array<number>
  readonly failures: Record<string, number>
  next: number
  /** Answers in all, whether they are measured or not. */
  answered: number
  measuring: boolean
  stopped: boolean
  enough: () => void
}

const requestsOf = (options: LoadOptions): ReadonlyArray<Buffer> =>
  Array.from({ length: Math.max(options.headers.length, options.bodies.length) }, (_, i) => {
    const body = Buffer.from(options.bodies[i % options.bodies.length] ?? "")
    const headers = {
      host: `${options.host}:${options.port}`,
      ...options.headers[i % options.headers.length],
      "content-length": body.length
    }
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
    return Buffer.concat([Buffer.from(`POST ${options.path} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n`), body])
  })

/** One connection, opened anew when it breaks or the caller leaves; done when the run stops. */
const runConnection = (options: LoadOptions, tally: Tally, sockets: Set<Socket>): Promise<void> =>
  new Promise((resolve) => {
    let asked = 0
    const open = (): void => {
      if (tally.stopped) return void resolve()
      const socket = connect({ host: options.host, port: options.port, noDelay: true })
      sockets.add(socket)
      let answer = new Answer()
      let startedAt = 0
      let firstAt = 0
      const ask = (): void => {
        if (tally.stopped) return void socket.destroy()
        answer = new Answer()
        firstAt = 0
        startedAt = performance.now()
        asked++
        socket.write(tally.requests[tally.next++ % tally.requests.length] ?? "")
      }
      const count = (status: number): void => {
        if (++tally.answered === options.mostRequests) tally.enough()
        if (!tally.measuring) return
        if (status !== 200) tally.failures[status] = (tally.failures[status] ?? 0) + 1
        else {
          tally.whole.push(performance.now() - startedAt)
          tally.first.push(firstAt - startedAt)
        }
      }
      socket.on("connect", ask)
      socket.on("data", (bytes) => {
        answer.feed(bytes)
        if (firstAt === 0 && (answer.hasContent || answer.complete)) firstAt = performance.now()
        if (options.leaveEvery !== undefined && asked % options.leaveEvery === 0 && answer.hasContent) {
          asked++
          return void socket.destroy()
        }
        if (answer.complete) {
          count(answer.status)
          ask()
        } else if (options.slowReadMs !== undefined) {
          socket.pause()
          setTimeout(() => socket.resume(), options.slowReadMs)
        }
      })
      socket.on("error", () => count(0))
      socket.on("close", () => {
        sockets.delete(socket)
        setTimeout(open, 1)
      })
    }
    open()
  })

/** Runs one load and tells its figures. */
export const load = async (options: LoadOptions): Promise<LoadFigures> => {
  const tally: Tally = {
    requests: requestsOf(options),
    whole: [],
    first: [],
    failures: {},
    next: 0,
    answered: 0,
    measuring: false,
    stopped: false,
    enough: () => {}
  }
  const sockets = new Set<Socket>()
  const running = Array.from({ length: options.connections }, () => runConnection(options, tally, sockets))
  await new Promise((resolve) => setTimeout(resolve, options.warmupMs))
  tally.measuring = true
  const startedAt = performance.now()
  await new Promise<void>((resolve) => {
    const ended = setTimeout(resolve, options.durationMs)
    tally.enough = () => {
      clearTimeout(ended)
      resolve()
    }
  })
  const seconds = (performance.now() - startedAt) / 1_000
  tally.measuring = false
  tally.stopped = true
  for (const socket of sockets) socket.destroy()
  await Promise.all(running)
  const whole = Float64Array.from(tally.whole).sort()
  const first = Float64Array.from(tally.first).sort()
  return {
    requests: whole.length,
    perSecond: whole.length / seconds,
    p50: quantile(whole, 0.5),
    p99: quantile(whole, 0.99),
    first_p50: quantile(first, 0.5),
    first_p99: quantile(first, 0.99),
    failures: tally.failures
  }
}
