/**
 * What the mock answers in the Anthropic protocol: plain values, no sockets.
 */
import type { Script } from "./Script.ts"
import { type Body, beginningOf, cutInto, internal, piecesOf, type Spoken, type StreamEvent } from "./Spoken.ts"

const usageOf = (script: Script, pieces: number): Readonly<Record<string, unknown>> =>
  script.usage ?? { input_tokens: 10, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: pieces }

const toolsOf = (script: Script, body: Body): Script["toolCalls"] => {
  if (script.toolCalls !== undefined) return script.toolCalls
  const choice = body["tool_choice"]
  // A forced tool is used: what is scripted as text becomes its input.
  const forced = typeof choice === "object" && choice !== null && "type" in choice && choice.type === "tool" && "name" in choice
  return forced ? [{ name: String(choice.name), arguments: script.text ?? "{}" }] : undefined
}

const parsed = (text: string): unknown => JSON.parse(text === "" ? "{}" : text)

const blocksOf = (script: Script, body: Body): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  if (script.empty === true) return []
  const thoughts = [
    ...(script.thinking === undefined ? [] : [{ type: "thinking", thinking: script.thinking, signature: "sig-1" }]),
    ...(script.redactedThinking === undefined ? [] : [{ type: "redacted_thinking", data: script.redactedThinking }])
  ]
  const tools = toolsOf(script, body)
  if (tools !== undefined) {
    return [
      ...thoughts,
      ...tools.map((call, i) => ({ type: "tool_use", id: `toolu_${i}`, name: call.name, input: parsed(call.arguments) }))
    ]
  }
  return [...thoughts, { type: "text", text: piecesOf(script, body["max_tokens"], beginningOf(body)).join("") }]
}

const stopOf = (script: Script, body: Body): string => script.finish ?? (toolsOf(script, body) === undefined ? "end_turn" : "tool_use")

const stopSequence = (script: Script) => script.stopSequence ?? null

const unary = (script: Script, body: Body): Body => ({
  id: "msg_mock",
  type: "message",
  role: "assistant",
  model: body["model"],
  content: blocksOf(script, body),
  stop_reason: stopOf(script, body),
  stop_sequence: stopSequence(script),
  ...(script.noUsage === true ? {} : { usage: usageOf(script, piecesOf(script, body["max_tokens"], beginningOf(body)).length) }),
  ...(script.extraFields === true ? internal : {})
})

const named = (event: string, more: Readonly<Record<string, unknown>>): StreamEvent => ({ event, data: { type: event, ...more } })

/** One block: its start, its deltas and its stop. */
const block = (index: number, start: object, deltas: ReadonlyArray<object>): ReadonlyArray<StreamEvent> => [
  named("content_block_start", { index, content_block: start }),
  ...deltas.map((delta) => named("content_block_delta", { index, delta })),
  named("content_block_stop", { index })
]

const contentOf = (script: Script, body: Body): ReadonlyArray<StreamEvent> => {
  const events: Array<StreamEvent> = []
  let index = 0
  if (script.thinking !== undefined) {
    const deltas = [
      ...cutInto(script.thinking, 4).map((thinking) => ({ type: "thinking_delta", thinking })),
      { type: "signature_delta", signature: "sig-1" }
    ]
    events.push(...block(index++, { type: "thinking", thinking: "", signature: "" }, deltas))
  }
  if (script.redactedThinking !== undefined)
    events.push(...block(index++, { type: "redacted_thinking", data: script.redactedThinking }, []))
  const tools = toolsOf(script, body)
  if (tools === undefined) {
    const deltas = piecesOf(script, body["max_tokens"], beginningOf(body)).map((text) => ({ type: "text_delta", text }))
    return [...events, ...block(index, { type: "text", text: "" }, deltas)]
  }
  tools.forEach((call, i) => {
    const deltas = ["", ...cutInto(call.arguments, 4)].map((partial_json) => ({ type: "input_json_delta", partial_json }))
    events.push(...block(index++, { type: "tool_use", id: `toolu_${i}`, name: call.name, input: {} }, deltas))
  })
  return events
}

const events = (script: Script, body: Body): ReadonlyArray<StreamEvent> => {
  const usage = usageOf(script, piecesOf(script, body["max_tokens"], beginningOf(body)).length)
  const message = {
    id: "msg_mock",
    type: "message",
    role: "assistant",
    model: body["model"],
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { ...usage, output_tokens: 1 },
    ...(script.extraFields === true ? internal : {})
  }
  const begun = named("message_start", { message: script.noUsage === true ? { ...message, usage: undefined } : message })
  if (script.empty === true) return [begun]
  const delta = { stop_reason: stopOf(script, body), stop_sequence: stopSequence(script) }
  const last = named("message_delta", { delta, ...(script.noUsage === true ? {} : { usage }) })
  const [first, ...rest] = contentOf(script, body)
  return [
    begun,
    ...(first === undefined ? [] : [first]),
    named("ping", {}),
    ...rest,
    last,
    ...(script.noDone === true ? [] : [named("message_stop", {})])
  ]
}

export const anthropic: Spoken = {
  unary,
  events,
  head: 3,
  error: named("error", { error: { type: "overloaded_error", message: "Overloaded" } }),
  done: "",
  failure: (status) => ({ type: "error", error: { type: "mock", message: `mock status ${status}` }, request_id: "req_mock" })
}
