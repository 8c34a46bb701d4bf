import { once } from "node:events"
import { createServer, type Server } from "node:http"
import { connect, type Socket } from "node:net"
import { afterEach, assert, describe, it } from "@effect/vitest"
import { addressOf, type CreateServer } from "../../layers/GivenServer.ts"
import * as WideServer from "../../layers/WideServer.ts"

const open = new Set<{ readonly close?: () => unknown; readonly destroy?: () => unknown }>()

afterEach(() => {
  for (const one of open) (one.destroy ?? one.close)?.call(one)
  open.clear()
})

const listen = async (create: CreateServer, port = 0): Promise<{ readonly server: Server; readonly port: number }> => {
  const server = create({})
  open.add(server)
  server.listen({ host: "127.0.0.1", port })
  await once(server, "listening")
  return { server, port: addressOf(server)?.port ?? assert.fail("no address") }
}

const dial = (port: number): Socket => {
  const socket = connect(port, "127.0.0.1")
  open.add(socket)
  return socket
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe("a server that takes many connections at once", () => {
  it("takes a hundred that come together in few turns of the event loop", async () => {
    const { port, server } = await listen(WideServer.make)
    let taken = 0
    server.on("connection", () => taken++)
    const sockets = Array.from({ length: 100 }, () => dial(port))
    const connected = Promise.all(sockets.map((socket) => once(socket, "connect")))
    let turns = 0
    for (; taken < 100 && turns < 1_000; turns++) await turn()
    await connected
    assert.strictEqual(taken, 100)
    assert.isBelow(turns, 40)
  })

  it("is told that its port is another's, whether that shares ports or not", async () => {
    for (const create of [WideServer.make, createServer]) {
      const { port, server } = await listen(create)
      const second = WideServer.make({})
      second.listen({ host: "127.0.0.1", port })
      const [error] = await once(second, "error")
      assert.match(String(error), /EADDRINUSE/)
      server.close()
      await once(server, "close")
      assert.strictEqual((await listen(WideServer.make, port)).port, port)
    }
  })

  it("is closed when the last connection has ended, and takes none meanwhile", async () => {
    const { port, server } = await listen(WideServer.make)
    server.on("request", (_request, response) => response.end("yes"))
    const socket = dial(port)
    await once(server, "connection")
    let isClosed = false
    const closed = once(server, "close")
    server.close(() => (isClosed = true))
    const late = dial(port)
    const [refused] = await once(late, "error")
    assert.match(String(refused), /ECONNREFUSED/)
    assert.isFalse(isClosed)
    socket.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    const [answer] = await once(socket, "data")
    assert.match(String(answer), /^HTTP\/1\.1 200 /)
    await closed
    assert.isTrue(isClosed)
  })
})
