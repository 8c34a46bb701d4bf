/**
 * The port of several workers: the process that keeps them takes every connection and hands it to one of them.
 *
 * Node's own way of sharing a port forgets a connection that is on its way to a worker when that worker ends, and refuses
 * everybody while none listens. Here a connection is the keeper's until a worker says that it has it: what is not taken goes to
 * another one, and waits where there is none.
 *
 * @since 0.1.0
 */
import type { Worker } from "node:cluster"
import { createServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"
import { addressOf } from "./GivenServer.ts"
import { type CannotListen, cannotListen } from "./NodeServer.ts"
import type { Address, FromWorker, ToWorker } from "./WorkerMessages.ts"

/** Says something to a worker, if that can still hear. @category running @since 0.1.0 */
export const say = (worker: Worker | null, message: ToWorker): void => {
  if (worker?.isConnected() === true) worker.send(message, () => {})
}

/** @category models @since 0.1.0 */
export interface Door {
  readonly address: Address
  /** What a worker says about connections. */
  readonly hear: (worker: Worker, told: FromWorker) => void
  /** A worker says nothing more: what it has not taken goes to others. */
  readonly lost: (worker: Worker) => void
  /** No worker comes any more: nobody waits once the last does not take connections. */
  readonly finish: () => void
}

/** What a worker was handed and has said nothing of yet, and whether it takes more. */
interface Handed {
  isTaking: boolean
  readonly sockets: Map<number, Socket>
}

class Handing {
  /** Who was handed a connection last stands at the end. */
  private readonly workers = new Map<Worker, Handed>()
  private waiting: Array<Socket> = []
  private isFinishing = false
  private next = 0
  private readonly closed: () => void

  constructor(closed: () => void) {
    this.closed = closed
  }

  /** To who has the fewest on the way, which is who takes them fastest. */
  offer(socket: Socket): void {
    let chosen: readonly [Worker, Handed] | null = null
    for (const entry of this.workers) {
      if (entry[1].isTaking && (chosen === null || entry[1].sockets.size < chosen[1].sockets.size)) chosen = entry
    }
    if (chosen === null) return void (this.isFinishing ? socket.destroy() : this.waiting.push(socket))
    const [worker, handed] = chosen
    this.workers.delete(worker)
    this.workers.set(worker, handed)
    const id = this.next++
    handed.sockets.set(id, socket)
    const message: ToWorker = { _tag: "Connection", id }
    // Who cannot be reached is lost, which is heard of.
    worker.send(message, socket, { keepOpen: true }, () => {})
  }

  take(worker: Worker): void {
    this.workers.set(worker, { isTaking: true, sockets: this.workers.get(worker)?.sockets ?? new Map() })
    this.offerAll()
  }

  leave(worker: Worker): void {
    const handed = this.workers.get(worker)
    if (handed !== undefined) handed.isTaking = false
    this.closeIfOver()
  }

  /** A connection that a worker has, or does not want. */
  answered(worker: Worker, id: number, isTaken: boolean): void {
    const sockets = this.workers.get(worker)?.sockets
    const socket = sockets?.get(id)
    if (socket === undefined) return
    sockets?.delete(id)
    if (isTaken) socket.destroy()
    else this.offer(socket)
  }

  lost(worker: Worker): void {
    const sockets = this.workers.get(worker)?.sockets
    this.workers.delete(worker)
    this.closeIfOver()
    for (const socket of sockets?.values() ?? []) this.offer(socket)
  }

  finish(): void {
    this.isFinishing = true
    this.closeIfOver()
  }

  private offerAll(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const socket of waiting) this.offer(socket)
  }

  private closeIfOver(): void {
    const isOver = this.isFinishing && ![...this.workers.values()].some(({ isTaking }) => isTaking)
    if (!isOver) return
    this.closed()
    this.offerAll()
  }
}

/**
 * Takes a port until the Scope closes. `port`: 0 picks a free one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (options: { readonly host: string; readonly port: number }): Effect.Effect<Door, CannotListen, Scope.Scope> =>
  Effect.gen(function* () {
    const { host, port } = options
    const server = createServer({ pauseOnConnect: true })
    const handing = new Handing(() => server.close())
    server.on("connection", (socket) => {
      socket.on("error", () => {})
      handing.offer(socket)
    })
    yield* Effect.acquireRelease(
      Effect.callback<void, { readonly cause: unknown }>((resume) => {
        // What it complains of once it runs is one connection's matter: by then this is nobody's news.
        server.on("error", (cause) => resume(Effect.fail({ cause })))
        server.listen({ host, port }, () => resume(Effect.void))
      }),
      () => Effect.sync(() => server.close())
    ).pipe(Effect.mapError(cannotListen(host, port)))
    const address = addressOf(server) ?? { address: host, port }
    return {
      address,
      hear: (worker, told) => {
        if (told._tag === "Taking") {
          say(worker, { _tag: "Listening", address })
          handing.take(worker)
        }
        if (told._tag === "Leaving") handing.leave(worker)
        if (told._tag === "Answered") handing.answered(worker, told.id, told.isTaken)
      },
      lost: (worker) => handing.lost(worker),
      finish: () => handing.finish()
    }
  })
