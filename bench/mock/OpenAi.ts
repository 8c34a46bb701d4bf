/**
 * What the mock answers in the OpenAI protocol: plain values, no sockets.
 */
import type { Script } from "./Script.ts"

type Body = Readonly<Record<string, unknown>>

/** Words of an answer where nothing else is said. */
const DEFAULT_CHUNKS = 5

export const piecesOf = (script: Script, body: Body): ReadonlyArray<string> => {
  if (script.text !== undefined) {
    const size = Math.max(1, Math.ceil(script.text.length / (script.chunks ?? DEFAULT_CHUNKS)))
    return script.text.match(new RegExp(`[\\s\\S]{1,${size}}`, "gu")) ?? []
  }
  const bound = typeof body["max_tokens"] === "number" ? body["max_tokens"] : Number.POSITIVE_INFINITY
  return Array.from({ length: Math.min(script.chunks ?? DEFAULT_CHUNKS, bound) }, (_, i) => `word${i} `)
}

export const usageOf = (script: Script, pieces: number): Readonly<Record<string, unknown>> =>
  script.usage ?? { prompt_tokens: 10, completion_tokens: pieces, total_tokens: 10 + pieces }

const countOf = (body: Body): number => (typeof body["n"] === "number" ? body["n"] : 1)

const head = (body: Body, object: string) => ({ id: "mock-1", object, created: 1_700_000_000, model: body["model"] })

const extra = { x_host: "node-7", timings: { queue_ms: 3 }, system_fingerprint: "fp_mock" }

export const unary = (script: Script, body: Body): Readonly<Record<string, unknown>> => {
  const pieces = piecesOf(script, body)
  const calls = script.toolCalls?.map((call, i) => ({ id: `call_${i}`, type: "function", function: call }))
  const choices = Array.from({ length: countOf(body) }, (_, index) => ({
    index,
    message: {
      role: "assistant",
      content: calls === undefined ? (script.empty === true ? "" : pieces.join("")) : null,
      ...(calls === undefined ? {} : { tool_calls: calls }),
      ...(script.extraFields === true ? { x_provider_note: "internal" } : {})
    },
    logprobs:
      body["logprobs"] === true ? { content: pieces.map((token) => ({ token, logprob: -0.1, bytes: null, top_logprobs: [] })) } : null,
    finish_reason: script.finish ?? (calls === undefined ? "stop" : "tool_calls")
  }))
  return {
    ...head(body, "chat.completion"),
    choices,
    ...(script.noUsage === true ? {} : { usage: usageOf(script, pieces.length) }),
    ...(script.extraFields === true ? extra : {})
  }
}

/** The data of every event of a stream, in order; `[DONE]` not among them. */
export const events = (script: Script, body: Body): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  const pieces = piecesOf(script, body)
  const n = countOf(body)
  const event = (choices: ReadonlyArray<unknown>, more = {}) => ({
    ...head(body, "chat.completion.chunk"),
    choices,
    ...more,
    ...(script.extraFields === true ? extra : {})
  })
  const choices = (delta: object, finish: string | null) =>
    Array.from({ length: n }, (_, index) => ({ index, delta, finish_reason: finish }))
  const out: Array<Readonly<Record<string, unknown>>> = [event(choices({ role: "assistant", content: "" }, null))]
  if (script.empty === true) return out.slice(0, 1)
  if (script.toolCalls !== undefined) {
    script.toolCalls.forEach((call, index) => {
      out.push(
        event(
          choices({ tool_calls: [{ index, id: `call_${index}`, type: "function", function: { name: call.name, arguments: "" } }] }, null)
        )
      )
    })
    script.toolCalls.forEach((call, index) => {
      for (const part of call.arguments.match(/[\s\S]{1,4}/g) ?? []) {
        out.push(event(choices({ tool_calls: [{ index, function: { arguments: part } }] }, null)))
      }
    })
  } else {
    for (const content of pieces) out.push(event(choices({ content }, null)))
  }
  out.push(event(choices({}, script.finish ?? (script.toolCalls === undefined ? "stop" : "tool_calls"))))
  const options = body["stream_options"]
  const wantsUsage = typeof options === "object" && options !== null && "include_usage" in options && options.include_usage === true
  if (wantsUsage && script.noUsage !== true) out.push(event([], { usage: usageOf(script, pieces.length) }))
  return out
}
