/**
 * A provider for load: answers from prepared bytes over bare sockets, so that it is never what is measured.
 *
 * The model's name says how: `…-slow-N` waits N milliseconds between two chunks, `…-idle` sends one chunk and then nothing.
 * `GET /__down` and `GET /__up` switch it between 503 and answers.
 */
import { createServer, type Socket } from "node:net"

const CHUNKS = 20

const frame = (data: string): Buffer => {
  const event = `data: ${data}\n\n`
  return Buffer.from(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`)
}

const chunk = (delta: object, finish: string | null, more: object = {}): string =>
  JSON.stringify({
    id: "chatcmpl-load",
    object: "chat.completion.chunk",
    created: 1_700_000_000,
    model: "gpt-4o-mini",
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
    ...more
  })

const usage = { prompt_tokens: 9, completion_tokens: CHUNKS, total_tokens: 9 + CHUNKS }

const sseHead = Buffer.from(
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n"
)
const ssePieces = [
  frame(chunk({ role: "assistant", content: "" }, null)),
  ...Array.from({ length: CHUNKS }, (_, i) => frame(chunk({ content: `word${i} ` }, null))),
  frame(chunk({}, "stop")),
  frame(
    JSON.stringify({
      id: "chatcmpl-load",
      object: "chat.completion.chunk",
      created: 1_700_000_000,
      model: "gpt-4o-mini",
      choices: [],
      usage
    })
  ),
  Buffer.concat([frame("[DONE]"), Buffer.from("0\r\n\r\n")])
]

const answerOf = (status: string, body: object): Buffer => {
  const text = JSON.stringify(body)
  return Buffer.from(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: keep-alive\r\n\r\n${text}`
  )
}

const unary = answerOf("200 OK", {
  id: "chatcmpl-load",
  object: "chat.completion",
  created: 1_700_000_000,
  model: "gpt-4o-mini",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: Array.from({ length: CHUNKS }, (_, i) => `word${i} `).join("") },
      logprobs: null,
      finish_reason: "stop"
    }
  ],
  usage
})
const down = answerOf("503 Service Unavailable", { error: { message: "down for the load", type: "server_error" } })
const models = answerOf("200 OK", { object: "list", data: [{ id: "gpt-4o-mini", object: "model" }] })

/** Pieces one after another, each in a turn of the event loop of its own, or as far apart as asked. */
const streamTo = (socket: Socket, gapMs: number, idle: boolean): void => {
  socket.write(sseHead)
  let at = 0
  const next = (): void => {
    if (socket.destroyed) return
    socket.write(ssePieces[at++] ?? "")
    if (idle && at === 2) return
    if (at < ssePieces.length) {
      if (gapMs > 0) setTimeout(next, gapMs)
      else setImmediate(next)
    }
  }
  next()
}

/** Starts it on a free port of the loopback. */
export const startFastProvider = (): Promise<{ readonly port: number }> => {
  let isDown = false
  const respond = (socket: Socket, head: string, body: string): void => {
    if (head.startsWith("GET /__")) {
      isDown = head.startsWith("GET /__down")
      return void socket.write(models)
    }
    if (head.startsWith("GET ")) return void socket.write(models)
    if (isDown) return void socket.write(down)
    if (!body.includes('"stream":true')) return void socket.write(unary)
    streamTo(socket, Number(/-slow-(\d+)/.exec(body)?.[1] ?? 0), body.includes('"user":"idle"'))
  }
  const server = createServer({ noDelay: true }, (socket) => {
    let buffered = Buffer.alloc(0)
    socket.on("error", () => socket.destroy())
    socket.on("data", (bytes) => {
      buffered = buffered.length === 0 ? bytes : Buffer.concat([buffered, bytes])
      for (;;) {
        const end = buffered.indexOf("\r\n\r\n")
        if (end === -1) return
        const head = buffered.toString("latin1", 0, end)
        const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
        if (buffered.length < end + 4 + length) return
        respond(socket, head, buffered.toString("utf8", end + 4, end + 4 + length))
        buffered = buffered.subarray(end + 4 + length)
      }
    })
  })
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve({ port: typeof address === "object" && address !== null ? address.port : 0 })
    })
  )
}
