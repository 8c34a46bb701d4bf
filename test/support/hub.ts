/**
 * A Hugging Face Hub of our own: repositories as they are put there, and whatever else a Hub may do. Any other server that
 * is asked for one JSON at a time misbehaves in the same ways: it is asked by its path.
 */
import { createServer, type ServerResponse } from "node:http"

/** What the Hub does when a repository is asked for. */
export type HubAnswer =
  | { readonly json: unknown }
  | { readonly status: number; readonly location?: string; readonly text?: string }
  | { readonly text: string }
  /** Says nothing, or nothing after the head. */
  | { readonly silent: "head" | "body" }
  /** So many, as fast as they are taken. */
  | { readonly bytes: number }
  /** This, and then a space now and then for ever. */
  | { readonly trickle: string }
  | { readonly reset: true }

export interface FakeHub {
  readonly url: string
  /** Repositories that were asked for, in order. */
  readonly asked: ReadonlyArray<string>
  /** The latest address, fields and all. */
  readonly latest: () => URL
  /** How a repository is answered from now on; of others the Hub knows nothing. */
  readonly put: (repository: string, answer: HubAnswer) => void
  /** How everything is answered that nothing was put for. */
  readonly otherwise: (answer: HubAnswer) => void
  readonly close: () => Promise<void>
}

/** As the Hub describes a model, as of what its API answers with these fields. */
export const described = (repository: string, more: object = {}): HubAnswer => ({
  json: {
    _id: "621ffdc036468d709f17434d",
    id: repository,
    author: repository.split("/")[0],
    downloads: 1_234_567,
    likes: 890,
    pipeline_tag: "text-generation",
    safetensors: { parameters: { BF16: 70_553_706_496 }, total: 70_553_706_496 },
    inferenceProviderMapping: [
      { provider: "together", providerId: "x", status: "live", task: "conversational" },
      { provider: "groq", providerId: "y", status: "live", task: "conversational" },
      { provider: "fal-ai", providerId: "z", status: "staging", task: "conversational" }
    ],
    ...more
  }
})

const give = (response: ServerResponse, answer: HubAnswer): void => {
  const type = { "content-type": "application/json; charset=utf-8" }
  if ("json" in answer) return void response.writeHead(200, type).end(JSON.stringify(answer.json))
  if ("status" in answer) {
    return void response
      .writeHead(answer.status, answer.location === undefined ? type : { location: answer.location })
      .end(answer.text ?? '{"error":"no"}')
  }
  if ("text" in answer) return void response.writeHead(200, { "content-type": "text/html" }).end(answer.text)
  if ("reset" in answer) return void response.destroy()
  if ("silent" in answer) {
    if (answer.silent === "body") response.writeHead(200, type).write('{"id":')
    return
  }
  response.writeHead(200, type)
  if ("trickle" in answer) {
    response.write(answer.trickle)
    const drip = setInterval(() => response.write(" "), 20)
    return void response.once("close", () => clearInterval(drip))
  }
  const piece = Buffer.alloc(65_536, 0x20)
  let left = answer.bytes
  const more = () => {
    while (left > 0 && !response.destroyed) {
      left -= piece.length
      if (!response.write(piece)) return void response.once("drain", more)
    }
    response.end()
  }
  more()
}

export const startHub = async (): Promise<FakeHub> => {
  const answers = new Map<string, HubAnswer>()
  const asked: Array<string> = []
  let rest: HubAnswer = { status: 404 }
  let latest = new URL("http://nothing.asked")
  const server = createServer((request, response) => {
    latest = new URL(request.url ?? "/", "http://hub")
    const repository = latest.pathname.replace(/^\/api\/models\//, "")
    asked.push(repository)
    give(response, answers.get(repository) ?? rest)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    asked,
    latest: () => latest,
    put: (repository, answer) => {
      answers.set(repository, answer)
    },
    otherwise: (answer) => {
      rest = answer
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
