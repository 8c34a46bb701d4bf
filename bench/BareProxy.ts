/**
 * The measure of all ratios: a Node server that does nothing but pass a request on and its answer back.
 */
import { createServer } from "node:http"
import { Pool } from "undici"

/** Starts it on a free port of the loopback, in front of a provider. */
export const startBareProxy = (provider: string): Promise<{ readonly port: number }> => {
  const { origin, pathname } = new URL(provider)
  const pool = new Pool(origin, { connections: 1_024, pipelining: 1 })
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const body = Buffer.concat(chunks)
      const path = pathname.replace(/\/$/, "") + (request.url ?? "/").replace(/^\/v1/, "")
      const headers = { "content-type": "application/json", authorization: "Bearer sk-load" }
      pool.dispatch(
        { method: "POST", path, headers, body },
        {
          onRequestStart() {},
          onResponseStart(controller, status, head) {
            response.writeHead(status, { "content-type": String(head["content-type"] ?? "application/json") })
            response.on("close", () => {
              if (!response.writableFinished) controller.abort(new Error("the caller left"))
            })
          },
          onResponseData(controller, chunk) {
            if (response.write(chunk)) return
            controller.pause()
            response.once("drain", () => controller.resume())
          },
          onResponseEnd() {
            response.end()
          },
          onResponseError() {
            if (!response.headersSent) response.writeHead(502)
            response.end()
          }
        }
      )
    })
  })
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve({ port: typeof address === "object" && address !== null ? address.port : 0 })
    })
  )
}
