/**
 * A small load balancer: sends each request to the next server that says it is ready, over connections that it keeps. It tries
 * nothing twice.
 */
import { Agent, request as ask, createServer } from "node:http"
import type { AddressInfo } from "node:net"

export interface Balancer {
  readonly url: string
  /** Adds a server, and waits until it takes requests. */
  readonly add: (url: string) => Promise<void>
  readonly remove: (url: string) => void
  readonly close: () => void
}

interface Backend {
  readonly url: string
  isReady: boolean
}

/** `everyMs`: between two questions for readiness. */
export const startBalancer = async (everyMs: number): Promise<Balancer> => {
  const agent = new Agent({ keepAlive: true })
  let backends: ReadonlyArray<Backend> = []
  let turn = 0
  const look = async (backend: Backend): Promise<void> => {
    backend.isReady = await fetch(`${backend.url}/health/ready`).then(
      (response) => response.body?.cancel().then(() => response.ok) ?? false,
      () => false
    )
  }
  const timer = setInterval(() => backends.forEach(look), everyMs)
  const server = createServer((incoming, outgoing) => {
    const ready = backends.filter(({ isReady }) => isReady)
    const backend = ready[turn++ % Math.max(1, ready.length)]
    if (backend === undefined) return void outgoing.writeHead(503).end("no server is ready")
    const { hostname, port } = new URL(backend.url)
    const { connection: _, ...headers } = incoming.headers
    const upstream = ask({ agent, hostname, port, path: incoming.url, method: incoming.method, headers }, (answer) => {
      const { connection: __, "transfer-encoding": ___, ...answered } = answer.headers
      outgoing.writeHead(answer.statusCode ?? 502, answered)
      answer.pipe(outgoing)
      answer.once("error", () => outgoing.destroy())
    })
    upstream.once("error", (error) =>
      outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end(`${backend.url}: ${error.message}`)
    )
    incoming.pipe(upstream)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${address.port}`,
    add: async (url) => {
      const backend = { url, isReady: false }
      await look(backend)
      backends = [...backends, backend]
    },
    remove: (url) => {
      backends = backends.filter((backend) => backend.url !== url)
    },
    close: () => {
      clearInterval(timer)
      server.close()
      server.closeAllConnections()
      agent.destroy()
    }
  }
}
