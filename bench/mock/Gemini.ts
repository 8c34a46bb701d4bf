/**
 * What the mock answers in the Gemini protocol: plain values, no sockets.
 */
import type { Script } from "./Script.ts"
import { type Body, beginningOf, cutInto, internal, piecesOf, type Spoken, type StreamEvent } from "./Spoken.ts"

const isRecord = (value: unknown): value is Body => typeof value === "object" && value !== null

const configOf = (body: Body): Body => (isRecord(body["generationConfig"]) ? body["generationConfig"] : {})

const usageOf = (script: Script, pieces: number) =>
  script.usage ?? { promptTokenCount: 10, candidatesTokenCount: pieces, totalTokenCount: 10 + pieces }

const thoughtsOf = (script: Script): ReadonlyArray<Body> =>
  script.thinking === undefined ? [] : cutInto(script.thinking, 4).map((text) => ({ text, thought: true }))

/** The parts that carry the answer, one a chunk; a signature comes with the first call, or with the last text. */
const partsOf = (script: Script, body: Body): ReadonlyArray<Body> => {
  if (script.toolCalls !== undefined) {
    return script.toolCalls.map((call, i) => ({
      functionCall: { name: call.name, args: JSON.parse(call.arguments === "" ? "{}" : call.arguments) },
      ...(script.thinking !== undefined && i === 0 ? { thoughtSignature: "c2ln" } : {})
    }))
  }
  const pieces = piecesOf(script, configOf(body)["maxOutputTokens"], beginningOf(body))
  return pieces.map((text, i) => ({
    text,
    ...(script.thinking !== undefined && i === pieces.length - 1 ? { thoughtSignature: "c2ln" } : {})
  }))
}

const countOf = (body: Body): number => {
  const count = configOf(body)["candidateCount"]
  return typeof count === "number" ? count : 1
}

const answerOf = (script: Script, body: Body, parts: ReadonlyArray<Body>, finishReason: string | null) => ({
  candidates: Array.from({ length: countOf(body) }, (_, index) => ({
    index,
    content: { role: "model", parts },
    ...(finishReason === null ? {} : { finishReason }),
    ...(finishReason !== null && script.safetyRatings !== undefined ? { safetyRatings: script.safetyRatings } : {}),
    ...(finishReason !== null && configOf(body)["responseLogprobs"] === true
      ? {
          logprobsResult: {
            chosenCandidates: [{ token: "word0", tokenId: 7, logProbability: -0.1 }],
            topCandidates: [{ candidates: [{ token: "word0", tokenId: 7, logProbability: -0.1 }] }]
          }
        }
      : {})
  })),
  modelVersion: "mock-model",
  responseId: "mock-1",
  ...(script.extraFields === true ? internal : {})
})

const blocked = (script: Script) => ({
  promptFeedback: {
    blockReason: script.blockReason,
    ...(script.safetyRatings === undefined ? {} : { safetyRatings: script.safetyRatings })
  },
  usageMetadata: { promptTokenCount: 10, totalTokenCount: 10 }
})

const withUsage = (script: Script, body: Body) =>
  script.noUsage === true
    ? {}
    : { usageMetadata: usageOf(script, piecesOf(script, configOf(body)["maxOutputTokens"], beginningOf(body)).length) }

const unary = (script: Script, body: Body): Body => {
  if (script.blockReason !== undefined) return blocked(script)
  if (script.empty === true) return { candidates: [], ...withUsage(script, body) }
  return {
    ...answerOf(script, body, [...thoughtsOf(script), ...partsOf(script, body)], script.finish ?? "STOP"),
    ...withUsage(script, body)
  }
}

const events = (script: Script, body: Body): ReadonlyArray<StreamEvent> => {
  if (script.blockReason !== undefined) return [{ data: blocked(script) }]
  if (script.empty === true) return [{ data: { usageMetadata: { promptTokenCount: 10 } } }]
  const all = [...thoughtsOf(script), ...partsOf(script, body)]
  const chunks: Array<StreamEvent> = all.map((part) => ({ data: answerOf(script, body, [part], null) }))
  return [...chunks, { data: { ...answerOf(script, body, [{ text: "" }], script.finish ?? "STOP"), ...withUsage(script, body) } }]
}

export const gemini: Spoken = {
  unary,
  events,
  head: 0,
  error: { data: { error: { code: 503, message: "The model is overloaded.", status: "UNAVAILABLE" } } },
  done: "",
  failure: (status) => ({ error: { code: status, message: `mock status ${status}`, status: "MOCK" } })
}
