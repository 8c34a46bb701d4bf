/**
 * A customer's server for webhooks: keeps what comes, and answers as it is told.
 */
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Webhook } from "standardwebhooks"
import { eventually } from "./server.ts"

export interface Received {
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: string
  readonly at: number
  /** The body, read. */
  readonly event: { readonly id: string; readonly type: string; readonly timestamp: string; readonly data: Record<string, unknown> }
}

export type Answer = number | "hang" | "close" | { readonly redirect: string } | ((response: ServerResponse, call: number) => void)

export interface Receiver {
  readonly url: string
  readonly port: number
  readonly received: Array<Received>
  /** How a path answers from now on; 200 unless told. */
  readonly answer: (path: string, answer: Answer) => void
  /** What came to a path, as soon as that is so many. */
  readonly at: (path: string, count: number, withinMs?: number) => Promise<ReadonlyArray<Received>>
  readonly close: () => Promise<void>
}

export const startReceiver = async (): Promise<Receiver> => {
  const received: Array<Received> = []
  const answers = new Map<string, Answer>()
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const path = request.url ?? ""
      const body = Buffer.concat(chunks).toString("utf8")
      const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
      received.push({ path, headers, body, at: Date.now(), event: body === "" ? null : JSON.parse(body) })
      const answer = answers.get(path) ?? 200
      if (answer === "hang") return
      if (answer === "close") return response.destroy()
      if (typeof answer === "function") return answer(response, received.filter((each) => each.path === path).length)
      if (typeof answer === "object") return response.writeHead(302, { location: answer.redirect }).end()
      return response.writeHead(answer).end("an answer")
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    received,
    answer: (path, answer) => answers.set(path, answer),
    at: async (path, count, withinMs = 10_000) => {
      const those = () => received.filter((each) => each.path === path)
      await eventually(() => {
        if (those().length < count) throw new Error(`${path} got ${those().length} of ${count}`)
      }, withinMs)
      return those()
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      })
  }
}

/** Proves a message's signature with the package that receivers use; throws on any other secret. */
export const verify = (secret: string, { body, headers }: Received): unknown => new Webhook(secret).verify(body, headers)
