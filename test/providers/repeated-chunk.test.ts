import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import { StreamDecoder } from "../../src/providers/protocols/OpenAiChatCodec.ts"
import { RepeatedChunk } from "../../src/providers/protocols/RepeatedChunk.ts"

const push = (decoder: StreamDecoder, data: string): ReadonlyArray<InferenceEvent> =>
  decoder.push(new TextEncoder().encode(`data: ${data}\n\n`)).events

/** What a decoder makes of each chunk that has seen none before: it has to parse it. */
const parsed = (chunks: ReadonlyArray<string>) => chunks.flatMap((data) => push(new StreamDecoder(), data))

const together = (chunks: ReadonlyArray<string>) => {
  const decoder = new StreamDecoder()
  return chunks.flatMap((data) => push(decoder, data))
}

interface Made {
  readonly text: string
  readonly index: number
  readonly form: string
  readonly padding: number
}

const chunkOf = ({ form, index, padding, text }: Made): string => {
  const delta =
    form === "role"
      ? { role: "assistant", content: text }
      : form === "thought"
        ? { content: null, reasoning_content: text }
        : form === "both"
          ? { reasoning: text, content: text }
          : form === "call"
            ? { tool_calls: [{ index: 0, id: "c", function: { name: "f", arguments: `{"content":${JSON.stringify(text)}}` } }] }
            : { content: text }
  const choice = { index, delta, logprobs: form === "logprobs" ? { content: [] } : null, finish_reason: null }
  const padded = padding === 0 ? {} : { obfuscation: "aB3".repeat(padding) }
  const usage = form === "usage" ? { usage: { prompt_tokens: 3, completion_tokens: text.length } } : { usage: null }
  const body = { id: "x", choices: [choice], ...usage, ...padded }
  return form === "spaced" ? JSON.stringify(body, null, 1).replaceAll("\n", " ") : JSON.stringify(body)
}

describe("chunks that repeat one before", () => {
  const Chunk = Schema.Struct({
    text: Schema.Union([
      Schema.String,
      Schema.Literals(["a", "word ", 'say "', "back\\slash", "zeile\n", "ü🌍", '","obfuscation":"x"}', ""])
    ]),
    index: Schema.Literals([0, 0, 0, 1]),
    form: Schema.Literals(["plain", "plain", "plain", "role", "thought", "both", "call", "logprobs", "usage", "spaced"]),
    padding: Schema.Literals([0, 0, 1, 2])
  })
  it.prop("are read as a parser reads them", [Schema.Array(Chunk)], ([made]) => {
    const texts = (events: ReadonlyArray<InferenceEvent>) => events.filter(({ _tag }) => _tag !== "ToolCallStart")
    const chunks = made.map(chunkOf)
    assert.deepStrictEqual(texts(together(chunks)), texts(parsed(chunks)))
  })

  it("are known by what stands around the text, padding aside", () => {
    const repeated = new RepeatedChunk("content")
    const chunk = (text: string, padding: string) => `{"delta":{"content": "${text}"},"finish_reason":null,"obfuscation":"${padding}"}`
    assert.isNull(repeated.textOf(chunk("one", "x")), "nothing was learned")
    repeated.learn(chunk("one", "x"), "one")
    assert.strictEqual(repeated.textOf(chunk("two ", "yyyy")), "two ")
    assert.strictEqual(repeated.textOf(chunk("grüße 🌍", "")), "grüße 🌍")
    assert.isNull(repeated.textOf(chunk("", "yyyy")), "no text")
    assert.isNull(repeated.textOf(chunk('a"b', "y")), "more than a text")
    assert.isNull(repeated.textOf(chunk("a\\nb", "y")), "an escape")
    assert.isNull(repeated.textOf(chunk("a", "y").replace("null", '"stop"')), "the end")
  })

  it("are not read once their choice has ended", () => {
    const decoder = new StreamDecoder()
    push(decoder, chunkOf({ text: "a", index: 0, form: "plain", padding: 0 }))
    push(decoder, '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
    assert.deepStrictEqual(push(decoder, chunkOf({ text: "b", index: 0, form: "plain", padding: 0 })), [])
  })
})
