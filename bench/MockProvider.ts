/**
 * A provider of our own that speaks the protocols of OpenAI, Anthropic and Gemini, chosen by the path, and misbehaves on
 * demand. Used by tests and by the load suite.
 *
 * Scripts come from `script(…)`, from `POST /__script`, or in a request's own body as the field `mock`, one or a list of
 * which the first that fits is taken.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { anthropic } from "./mock/Anthropic.ts"
import { gemini } from "./mock/Gemini.ts"
import { mediaAnswer, readForm } from "./mock/Media.ts"
import { openAi } from "./mock/OpenAi.ts"
import type { Call, Script } from "./mock/Script.ts"
import type { Spoken, StreamEvent } from "./mock/Spoken.ts"

export interface MockProvider {
  /** Ends in `/v1`: a provider's base URL, whatever its protocol. */
  readonly url: string
  readonly port: number
  readonly calls: () => ReadonlyArray<Call>
  /** Adds scripts to the queue: each call takes the first that fits. */
  readonly script: (...scripts: ReadonlyArray<Script>) => void
  readonly reset: () => void
  readonly close: () => Promise<void>
}

const forever = new Promise<never>(() => {})

const readBody = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  const type = request.headers["content-type"] ?? ""
  if (type.startsWith("multipart/")) return readForm(type, bytes)
  const text = bytes.toString("utf8")
  return text === "" ? {} : JSON.parse(text)
}

const isScript = (value: unknown): value is Script => typeof value === "object" && value !== null

const write = (response: ServerResponse, bytes: string | Buffer): Promise<void> =>
  new Promise((resolve) => {
    if (response.destroyed || response.write(bytes)) resolve()
    else {
      response.once("drain", resolve)
      response.once("close", resolve)
    }
  })

const frame = (script: Script, event: StreamEvent): string => {
  const data = JSON.stringify(event.data)
  const name = event.event === undefined ? "" : `event: ${event.event}\n`
  switch (script.framing) {
    case "crlf":
      return `${name}data: ${data}\n\n`.replaceAll("\n", "\r\n")
    case "comments":
      return `: keep-alive\n\n${name === "" ? "event: message\n" : name}data: ${data}\n\n`
    case "multiline":
      return `${name}${JSON.stringify(event.data, null, 1)
        .split("\n")
        .map((line) => `data: ${line}`)
        .join("\n")}\n\n`
    default:
      return `${name}data: ${data}\n\n`
  }
}

const writeFramed = async (response: ServerResponse, script: Script, text: string): Promise<void> => {
  if (script.framing !== "bytes") return write(response, text)
  for (const byte of Buffer.from(text)) {
    await write(response, Buffer.from([byte]))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** A call as it was understood. */
interface Asked {
  readonly path: string
  readonly protocol: Call["protocol"]
  readonly spoken: Spoken
  readonly model: string
  readonly streams: boolean
  readonly body: Record<string, unknown>
}

const understand = (path: string, body: Record<string, unknown>): Asked => {
  const generate = /\/([^/]+):(stream)?[gG]enerateContent/.exec(path)
  if (generate !== null) {
    return { path, protocol: "gemini", spoken: gemini, model: generate[1] ?? "", streams: generate[2] !== undefined, body }
  }
  const other = /\/([^/]+):(batchEmbedContents|predict)/.exec(path)
  if (other !== null) return { path, protocol: "gemini", spoken: gemini, model: other[1] ?? "", streams: false, body }
  const more = { path, model: String(body["model"]), streams: body["stream"] === true, body }
  return /\/messages(\?|$)/.test(path)
    ? { protocol: "anthropic", spoken: anthropic, ...more }
    : { protocol: "openai", spoken: openAi, ...more }
}

const keyOf = (headers: IncomingMessage["headers"]): string =>
  String(headers.authorization ?? headers["x-api-key"] ?? headers["x-goog-api-key"] ?? "")

/** Sends a stream as its script says; false when it broke off on purpose. */
const stream = async (response: ServerResponse, script: Script, call: Asked): Promise<void> => {
  response.writeHead(200, { "content-type": script.contentType ?? "text/event-stream", ...script.headers })
  response.flushHeaders()
  if (script.reset === "after_head") return void response.destroy()
  if (script.hang === "first_chunk") return forever
  await sleep(script.firstChunkDelayMs ?? 0)
  const all = call.spoken.events(script, call.body)
  const breaksAt = (script.after ?? 2) + call.spoken.head
  for (const [index, event] of all.entries()) {
    if (index === breaksAt) {
      if (script.hang === "mid") return forever
      // What was written before must have left, or the break would swallow it.
      if (script.reset === "mid") return void setTimeout(() => response.destroy(), 20)
      if (script.cut === true) return void response.end()
      if (script.malformed === true) await write(response, 'data: {"choices": [{"delta"\n\n')
      if (script.errorEvent === true) await write(response, frame({}, call.spoken.error))
    }
    await writeFramed(response, script, frame(script, event))
    if (script.chunkDelayMs !== undefined) await sleep(script.chunkDelayMs)
  }
  if (script.noDone !== true && script.empty !== true) await write(response, call.spoken.done)
  if (script.afterDone === true) await write(response, frame({}, all[1] ?? { data: {} }))
  response.end()
}

const answer = async (response: ServerResponse, script: Script, call: Asked): Promise<void> => {
  await sleep(script.headDelayMs ?? 0)
  if (script.hang === "head") return forever
  if (script.reset === "head") return void response.destroy()
  if (script.status !== undefined && script.status >= 300) {
    response.writeHead(script.status, { "content-type": "application/json", ...script.headers })
    return void response.end(JSON.stringify(script.body ?? call.spoken.failure(script.status)))
  }
  if (script.raw !== undefined) {
    response.writeHead(200, { "content-type": script.contentType ?? "text/html", ...script.headers })
    return void response.end(script.raw)
  }
  const media = mediaAnswer(call.path, script, call.body)
  if (media === undefined && call.streams) return stream(response, script, call)
  const type = typeof media === "string" ? "text/plain" : "application/json"
  response.writeHead(200, { "content-type": script.contentType ?? type, ...script.headers })
  if (script.reset === "after_head" || script.reset === "mid") {
    response.write('{"id":')
    return void setTimeout(() => response.destroy(), 20)
  }
  if (script.hang === "first_chunk" || script.hang === "mid") {
    response.flushHeaders()
    return forever
  }
  if (script.malformed === true || script.cut === true) return void response.end('{"choices":[{')
  response.end(typeof media === "string" ? media : JSON.stringify(media ?? call.spoken.unary(script, call.body)))
}

export const startMockProvider = async (options: { readonly port?: number } = {}): Promise<MockProvider> => {
  let calls: Array<Call> = []
  let queue: Array<{ readonly script: Script; left: number }> = []
  const named = new Map<string, number>()

  const hasCallsLeft = ({ name, times }: Script): boolean => {
    if (name === undefined) return true
    const before = named.get(name) ?? 0
    named.set(name, before + 1)
    return before < (times ?? 1)
  }

  const take = (asked: Asked, key: string): Script => {
    const fits = (script: Script) =>
      (script.model === undefined || script.model === asked.model) &&
      (script.protocol === undefined || script.protocol === asked.protocol) &&
      (script.apiKey === undefined || key.includes(script.apiKey))
    const own = asked.body["mock"]
    if (isScript(own)) {
      const scripts: ReadonlyArray<unknown> = Array.isArray(own) ? own : [own]
      const script = scripts.find((candidate): candidate is Script => isScript(candidate) && fits(candidate) && hasCallsLeft(candidate))
      return script ?? {}
    }
    const entry = queue.find((candidate) => candidate.left > 0 && fits(candidate.script))
    if (entry === undefined) return {}
    entry.left--
    return entry.script
  }

  const add = (scripts: ReadonlyArray<Script>) => queue.push(...scripts.map((script) => ({ script, left: script.times ?? 1 })))

  const control = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = request.method === "POST" ? await readBody(request) : {}
    if (request.url === "/__script") add(Array.isArray(body) ? body : [body])
    if (request.url === "/__reset") {
      calls = []
      queue = []
    }
    response.writeHead(200, { "content-type": "application/json" })
    response.end(JSON.stringify(request.url === "/__calls" ? calls : {}))
  }

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url ?? "/"
    if (path.startsWith("/__")) return control(request, response)
    if (request.method === "GET") {
      response.writeHead(200, { "content-type": "application/json" })
      return void response.end(JSON.stringify({ object: "list", data: [{ id: "gpt-4o", object: "model" }] }))
    }
    const asked = understand(path, await readBody(request))
    if (path.includes("/count_tokens") || path.includes(":countTokens")) {
      response.writeHead(200, { "content-type": "application/json" })
      return void response.end(JSON.stringify({ input_tokens: 10, totalTokens: 10 }))
    }
    const call: Call = {
      path,
      protocol: asked.protocol,
      model: asked.model,
      headers: request.headers,
      body: asked.body,
      startedAt: Date.now(),
      abortedAt: null,
      endedAt: null
    }
    calls.push(call)
    response.on("close", () => {
      if (response.writableFinished) call.endedAt = Date.now()
      else call.abortedAt = Date.now()
    })
    await answer(response, take(asked, keyOf(request.headers)), asked)
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve))
  const address = server.address()
  const { port }: AddressInfo = typeof address === "object" && address !== null ? address : { port: 0, address: "", family: "" }
  return {
    url: `http://127.0.0.1:${port}/v1`,
    port,
    calls: () => calls,
    script: (...scripts) => {
      add(scripts)
    },
    reset: () => {
      calls = []
      queue = []
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
