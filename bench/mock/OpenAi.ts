/**
 * What the mock answers in the OpenAI protocol: plain values, no sockets.
 */
import type { Script } from "./Script.ts"
import { type Body, beginningOf, internal, piecesOf, type Spoken } from "./Spoken.ts"

/** A beginning is read like the prompt: a token for four characters. */
export const usageOf = (script: Script, pieces: number, body: Body): Readonly<Record<string, unknown>> => {
  const read = 10 + Math.ceil(beginningOf(body).length / 4)
  return script.usage ?? { prompt_tokens: read, completion_tokens: pieces, total_tokens: read + pieces }
}

const countOf = (body: Body): number => (typeof body["n"] === "number" ? body["n"] : 1)

const head = (body: Body, object: string) => ({ id: "mock-1", object, created: 1_700_000_000, model: body["model"] })

export const unary = (script: Script, body: Body): Readonly<Record<string, unknown>> => {
  const pieces = piecesOf(script, body["max_tokens"], beginningOf(body))
  const calls = script.toolCalls?.map((call, i) => ({ id: `call_${i}`, type: "function", function: call }))
  const choices = Array.from({ length: countOf(body) }, (_, index) => ({
    index,
    message: {
      role: "assistant",
      content: calls === undefined ? (script.empty === true ? "" : pieces.join("")) : null,
      ...(script.thinking === undefined ? {} : { reasoning_content: script.thinking }),
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
    ...(script.noUsage === true ? {} : { usage: usageOf(script, pieces.length, body) }),
    ...(script.extraFields === true ? internal : {})
  }
}

/** The data of every event of a stream, in order; `[DONE]` not among them. */
export const events = (script: Script, body: Body): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  const pieces = piecesOf(script, body["max_tokens"], beginningOf(body))
  const n = countOf(body)
  const event = (choices: ReadonlyArray<unknown>, more = {}) => ({
    ...head(body, "chat.completion.chunk"),
    choices,
    ...more,
    ...(script.extraFields === true ? internal : {})
  })
  const choices = (delta: object, finish: string | null) =>
    Array.from({ length: n }, (_, index) => ({ index, delta, finish_reason: finish }))
  const out: Array<Readonly<Record<string, unknown>>> = [event(choices({ role: "assistant", content: "" }, null))]
  if (script.empty === true) return out.slice(0, 1)
  if (script.thinking !== undefined) out.push(event(choices({ reasoning_content: script.thinking }, null)))
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
  if (wantsUsage && script.noUsage !== true) out.push(event([], { usage: usageOf(script, pieces.length, body) }))
  return out
}

export const openAi: Spoken = {
  unary,
  events: (script, body) => events(script, body).map((data) => ({ data })),
  head: 1,
  error: { data: { error: { message: "overloaded", type: "server_error" } } },
  done: "data: [DONE]\n\n",
  failure: (status) => ({ error: { message: `mock status ${status}`, type: "mock", code: null, param: null } })
}
