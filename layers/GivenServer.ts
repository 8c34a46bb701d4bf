/**
 * An HTTP server that does not listen itself: it is given its connections by who does.
 *
 * @since 0.1.0
 */
import { Server, type ServerOptions } from "node:http"
import { type AddressInfo, isIPv6, type ListenOptions, type Socket, type Server as TcpServer } from "node:net"
import type { Address } from "./WorkerMessages.ts"

/** How an HTTP server is made: `createServer`, or one that is given its connections. @category models @since 0.1.0 */
export type CreateServer = (options: ServerOptions) => Server

/** Where a server listens; null where it does not, or on no port. @category running @since 0.1.0 */
export const addressOf = (server: TcpServer): Address | null => {
  const bound = server.address()
  return typeof bound === "object" && bound !== null ? { address: bound.address, port: bound.port } : null
}

/** @category models @since 0.1.0 */
export abstract class GivenServer extends Server {
  override listening = false
  protected isAsking = false
  private bound: Address | null = null
  private count = 0

  /** Has connections given, and says where they come from by {@link begin}. */
  protected abstract ask(options: ListenOptions): void

  /** Has none given any more. */
  protected abstract leave(): void

  override address(): AddressInfo | null {
    return this.bound && { ...this.bound, family: isIPv6(this.bound.address) ? "IPv6" : "IPv4" }
  }

  /** Of Node's forms the one of an object of options is understood. `listener` is called when connections come. */
  override listen(options: unknown, listener?: unknown): this {
    if (typeof listener === "function") this.once("listening", () => listener())
    this.isAsking = true
    this.ask(typeof options === "object" && options !== null ? options : {})
    return this
  }

  /** Connections come from now on, of this address. */
  begin(address: Address): void {
    if (this.listening || !this.isAsking) return
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
    this.emit("connection", socket)
  }

  /** Asks for no more connections; ends none. `done` is called when the last has ended. */
  override close(done?: (error?: Error) => void): this {
    if (done !== undefined) this.once("close", done)
    if (this.isAsking) this.leave()
    this.isAsking = false
    this.listening = false
    this.closeIfOver()
    return this
  }

  private closeIfOver(): void {
    if (!this.isAsking && this.count === 0) process.nextTick(() => this.emit("close"))
  }
}
