/**
 * Slow uploads: those that move are waited for, those that do not are cut.
 */
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { type AddressInfo, connect, type Socket } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as UploadWatch from "../../layers/UploadWatch.ts"

const bounds: UploadWatch.UploadBounds = { withinMs: 400, everyMs: 200, leastBytes: 500 }

describe("the watch over uploads", () => {
  const received: Array<number> = []
  /** Answers when a request has come whole; at once where the path says so. */
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    if (request.url === "/refuses") return void response.writeHead(413).end("no")
    let bytes = 0
    request.on("data", (chunk: Buffer) => (bytes += chunk.length))
    request.on("end", () => {
      received.push(bytes)
      // Longer than any upload may take: what is waited for now is us.
      setTimeout(() => response.end("whole"), request.url === "/thinks" ? 1_200 : 0)
    })
  })
  let port = 0

  beforeAll(async () => {
    UploadWatch.watch(server, bounds)
    server.requestTimeout = 0
    await once(server.listen(0, "127.0.0.1"), "listening")
    const address = server.address()
    const found: AddressInfo | null = typeof address === "object" ? address : null
    port = found?.port ?? 0
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  const open = async (
    path: string,
    length: number,
    connection = "close"
  ): Promise<{ readonly socket: Socket; readonly end: Promise<string> }> => {
    const socket = connect(port, "127.0.0.1")
    let text = ""
    socket.on("data", (chunk) => (text += chunk.toString()))
    socket.on("error", () => socket.destroy())
    const end = once(socket, "close").then(() => text)
    await once(socket, "connect")
    socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\nconnection: ${connection}\r\ncontent-length: ${length}\r\n\r\n`)
    return { socket, end }
  }

  /** Sends as much as said each 20 ms, so many times. */
  const drip = async (socket: Socket, bytes: number, times: number): Promise<void> => {
    for (let i = 0; i < times && !socket.destroyed; i++) {
      socket.write(Buffer.alloc(bytes))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  it("waits for an upload that keeps moving, however long it takes", async () => {
    const { end, socket } = await open("/", 80 * 1_000)
    await drip(socket, 1_000, 80)
    assert.match(await end, /^HTTP\/1\.1 200 .*whole/s)
    assert.strictEqual(received.at(-1), 80_000)
  })

  it("cuts an upload that stands still with 408", async () => {
    const { end, socket } = await open("/", 1_000)
    await drip(socket, 10, 1)
    assert.match(await end, /^HTTP\/1\.1 408 /)
  })

  it("cuts an upload that only drips", async () => {
    const { end, socket } = await open("/", 100_000)
    await drip(socket, 1, 400)
    assert.match(await end, /^HTTP\/1\.1 408 /)
  })

  it("lets a request that has come whole wait for its answer", async () => {
    const { end, socket } = await open("/thinks", 10)
    await drip(socket, 10, 1)
    assert.match(await end, /^HTTP\/1\.1 200 .*whole/s)
  })

  it("ends what goes on being sent after its answer", async () => {
    const { end, socket } = await open("/refuses", 10_000_000, "keep-alive")
    await drip(socket, 1_000, 400)
    assert.match(await end, /^HTTP\/1\.1 413 /)
    assert.isTrue(socket.destroyed)
  })
})
