/**
 * Callers who read slowly, and many at once: the provider is held back, the server's memory stays where it was.
 */
import { readFileSync } from "node:fs"
import { createServer, type IncomingMessage, request, type Server } from "node:http"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import { type Customer, eventually, newCustomer, type RunningServer, startServer, temporaryDirectory } from "../support/server.ts"

const MB = 1_024 * 1_024

/** Bytes of memory that a process has in RAM. */
const residentOf = (pid: number): number => {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  return Number(line ?? Number.NaN) * 1_024
}

/** A provider that writes one long answer as fast as it is read. */
const startLongWinded = async (events: number, size: number) => {
  const piece = "~".repeat(size)
  const chunk = (delta: object, finish: string | null) =>
    `data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
  let written = 0
  const server: Server = createServer(async (incoming, response) => {
    incoming.resume()
    response.writeHead(200, { "content-type": "text/event-stream" })
    for (let i = 0; i < events && !response.destroyed; i++) {
      written += size
      if (!response.write(chunk({ content: piece }, null))) {
        await new Promise<void>((resolve) => {
          const on = () => {
            response.off("drain", on)
            response.off("close", on)
            resolve()
          }
          response.once("drain", on)
          response.once("close", on)
        })
      }
    }
    response.end(`${chunk({}, "stop")}data: [DONE]\n\n`)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/v1`,
    written: () => written,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

describe("backpressure", () => {
  const directory = temporaryDirectory()
  const EVENTS = 800
  const SIZE = 64 * 1_024
  let longWinded: Awaited<ReturnType<typeof startLongWinded>>
  let mock: MockProvider
  let server: RunningServer
  let customer: Customer

  beforeAll(async () => {
    longWinded = await startLongWinded(EVENTS, SIZE)
    mock = await startMockProvider()
    server = await startServer({
      DATA_DIR: directory.path,
      OPENAI_API_KEY: "sk-openai",
      OPENAI_BASE_URL: longWinded.url,
      GROQ_API_KEY: "sk-groq",
      GROQ_BASE_URL: mock.url,
      PROVIDER_IDLE_TIMEOUT_MS: "1000"
    })
    customer = await newCustomer(server, { balanceUsd: "1000" })
  })
  afterAll(async () => {
    await server?.stop()
    await longWinded?.close()
    await mock?.close()
    directory.remove()
  })

  const open = (model: string, more: object = {}): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const asked = request(
        `${server.url}/v1/chat/completions`,
        { method: "POST", agent: false, headers: { authorization: `Bearer ${customer.key}`, "content-type": "application/json" } },
        resolve
      )
      asked.on("error", reject)
      asked.end(JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "hello" }], ...more }))
    })

  it("a caller who does not read holds the provider back, not our memory; its silence is no fault of the provider's", async () => {
    const before = residentOf(server.pid)
    const response = await open("openai/gpt-4o")
    assert.strictEqual(response.statusCode, 200)
    response.pause()
    // What the provider can write comes to rest in the buffers of sockets.
    let last = -1
    await eventually(async () => {
      const now = longWinded.written()
      const rests = now === last
      last = now
      await new Promise((resolve) => setTimeout(resolve, 200))
      assert.isTrue(rests && now > 0)
    }, 15_000)
    assert.isBelow(longWinded.written(), 30 * MB)
    assert.isBelow(residentOf(server.pid) - before, 120 * MB)
    // Longer than the provider may be silent.
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    let characters = 0
    let tail = ""
    for await (const chunk of response) {
      const text = String(chunk)
      characters += text.split("~").length - 1
      tail = (tail + text).slice(-200)
    }
    assert.strictEqual(characters, EVENTS * SIZE)
    assert.include(tail, "data: [DONE]")
    assert.isBelow(residentOf(server.pid) - before, 200 * MB)
  })

  it("200 streams at once are all whole, and leave nothing behind", async () => {
    const streams = async (count: number) => {
      const read = async () => {
        const response = await open("groq/llama-3.3-70b-versatile", { mock: { chunks: 10, chunkDelayMs: 20 } })
        let text = ""
        for await (const chunk of response) text += String(chunk)
        return text
      }
      const texts = await Promise.all(Array.from({ length: count }, read))
      assert.strictEqual(texts.filter((text) => text.includes("word9") && text.includes("data: [DONE]")).length, count)
    }
    await streams(200)
    const before = residentOf(server.pid)
    await streams(200)
    await streams(200)
    assert.isBelow(residentOf(server.pid) - before, 160 * MB)
  })
})
