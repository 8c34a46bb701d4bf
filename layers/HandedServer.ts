/**
 * A worker's HTTP server: it listens on nothing of its own, and has the connections that the keeper of its port hands it.
 *
 * @since 0.1.0
 */
import { Server, type ServerOptions } from "node:http"
import { type AddressInfo, isIPv6, Socket } from "node:net"
import * as WorkerLink from "./WorkerLink.ts"
import { type Address, toWorker } from "./WorkerMessages.ts"

/** The server that connections are for; there is at most one at a time. */
let current: HandedServer | null = null

const hear = (message: unknown, handle: unknown): void => {
  const told = toWorker(message)
  if (told?._tag === "Listening") current?.begin(told.address)
  if (told?._tag !== "Connection") return
  const isTaken = current !== null
  if (handle instanceof Socket) {
    // What was not read yet is for who has it next.
    if (current === null) handle.destroy()
    else current.admit(handle)
  }
  WorkerLink.tell({ _tag: "Answered", id: told.id, isTaken })
}

let isHearing = false

/** @category models @since 0.1.0 */
export class HandedServer extends Server {
  override listening = false
  private bound: Address | null = null
  private count = 0

  /** Where the keeper listens. */
  override address(): AddressInfo | null {
    return this.bound && { ...this.bound, family: isIPv6(this.bound.address) ? "IPv6" : "IPv4" }
  }

  /** Asks for connections. `listener` is called when they come. */
  override listen(_options: unknown, listener?: unknown): this {
    if (typeof listener === "function") this.once("listening", () => listener())
    if (!isHearing) process.on("message", hear)
    isHearing = true
    current = this
    WorkerLink.tell({ _tag: "Taking" })
    return this
  }

  begin(address: Address): void {
    if (this.listening) return
    this.listening = true
    this.bound = address
    this.emit("listening")
  }

  /** As Node does with a connection of a server's own. */
  admit(socket: Socket): void {
    this.count++
    socket.once("close", () => {
      this.count--
      this.closeIfOver()
    })
    socket.allowHalfOpen = true
    socket.setNoDelay(true)
    this.emit("connection", socket)
  }

  /** Asks for no more connections; ends none. `done` is called when the last has ended. */
  override close(done?: (error?: Error) => void): this {
    if (done !== undefined) this.once("close", done)
    if (current === this) {
      current = null
      WorkerLink.tell({ _tag: "Leaving" })
    }
    this.listening = false
    this.closeIfOver()
    return this
  }

  private closeIfOver(): void {
    if (current !== this && this.count === 0) process.nextTick(() => this.emit("close"))
  }
}

/** How an HTTP server is made: `createServer`, or {@link make} in a worker. @category models @since 0.1.0 */
export type CreateServer = (options: ServerOptions) => Server

/** @category constructors @since 0.1.0 */
export const make: CreateServer = (options) => new HandedServer(options)
