/**
 * An HTTP server that takes many connections at once.
 *
 * Node takes one new connection from a socket that listens, then does all that is ready on the connections it has, and then takes
 * the next: of two hundred that come together, the last would wait while the others are served for the two hundredth time. So
 * the port has several sockets that listen, among which the kernel deals out who comes.
 *
 * @since 0.1.0
 */
import { createServer as createHttpServer } from "node:http"
import { createServer, type ListenOptions, type Server } from "node:net"
import { addressOf, type CreateServer, GivenServer } from "./GivenServer.ts"

/** How many listen: as many connections are taken in a turn of the event loop. */
const DOORS = 32

/** As an HTTP server has it. */
const HTTP = { allowHalfOpen: true, noDelay: true } as const

class WideServer extends GivenServer {
  private readonly doors = new Set<Server>()

  protected override ask(options: ListenOptions): void {
    if (options.port === 0) this.openFirst(options)
    else this.find(options)
  }

  protected override leave(): void {
    for (const door of this.doors) door.close()
    this.doors.clear()
  }

  /** Sockets of one user may share a port without knowing of each other: that nobody else has it, one finds out that shares nothing. */
  private find(options: ListenOptions): void {
    const alone = createServer()
    alone.once("error", (error) => this.emit("error", error))
    alone.listen(options, () => alone.close(() => this.openFirst(options)))
  }

  private openFirst(options: ListenOptions): void {
    const first = this.open(options)
    first.on("error", (error) => this.emit("error", error))
    first.once("listening", () => {
      const address = addressOf(first)
      if (address === null) return
      for (let more = 1; more < DOORS; more++) this.open({ ...options, port: address.port }).on("error", () => {})
      this.begin(address)
    })
  }

  private open(options: ListenOptions): Server {
    const door = createServer(HTTP, (socket) => this.admit(socket))
    if (!this.isAsking) return door
    this.doors.add(door)
    return door.listen({ ...options, reusePort: true })
  }
}

/** Elsewhere than on Linux, sockets that share a port do not share who comes: there it is Node's usual one. @category constructors @since 0.1.0 */
export const make: CreateServer = process.platform === "linux" ? (options) => new WideServer(options) : createHttpServer
