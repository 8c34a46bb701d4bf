import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type SseEvent, SseParser } from "../../src/streams/Sse.ts"

const parse = (chunks: ReadonlyArray<Uint8Array>): ReadonlyArray<SseEvent> => {
  const parser = new SseParser()
  return [...chunks.flatMap((chunk) => parser.push(chunk)), ...parser.end()]
}

const bytes = (text: string) => new TextEncoder().encode(text)
const message = (data: string): SseEvent => ({ event: "", data })

describe("server-sent events", () => {
  const cases: ReadonlyArray<readonly [string, string, ReadonlyArray<SseEvent>]> = [
    ["LF", "data: a\n\ndata: b\n\n", [message("a"), message("b")]],
    ["CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", [message("a"), message("b")]],
    ["CR", "data: a\r\rdata: b\r\r", [message("a"), message("b")]],
    ["comments", ": keep-alive\n\n:x\ndata: a\n\n", [message("a")]],
    ["several data lines", "data: a\ndata: b\n\n", [message("a\nb")]],
    ["names", "event: ping\ndata: {}\n\n", [{ event: "ping", data: "{}" }]],
    ["no space, no colon, other fields", "data:a\nid: 7\nretry: 10\ndata\n\n", [message("a\n")]],
    ["a byte order mark", "\uFEFFdata: a\n\n", [message("a")]],
    ["a last event without its blank line", "data: a\n\ndata: b", [message("a"), message("b")]],
    ["a name without data", "event: x\n\ndata: a\n\n", [message("a")]]
  ]
  for (const [name, text, expected] of cases) {
    it(`takes ${name}`, () => assert.deepStrictEqual(parse([bytes(text)]), expected))
    it(`takes ${name}, byte by byte`, () => assert.deepStrictEqual(parse([...bytes(text)].map((byte) => Uint8Array.of(byte))), expected))
  }

  const Lines = Schema.Array(
    Schema.Literals(["data: ü€😀", "data: x", "data:", "event: e", ": c", "", "", "\r", "data: a\rdata: b\r", "id: 1"])
  )
  it.prop(
    "gives the same events however the bytes are cut",
    [Lines, Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))],
    ([lines, cuts]) => {
      const whole = bytes(lines.join("\n"))
      const chunks: Array<Uint8Array> = []
      let at = 0
      for (let i = 0; at < whole.length; i++) {
        const size = cuts[i % Math.max(1, cuts.length)] ?? 1
        chunks.push(whole.slice(at, at + size))
        at += size
      }
      assert.deepStrictEqual(parse(chunks), parse([whole]))
    }
  )

  it("stops at an event that has no end", () => {
    const parser = new SseParser()
    for (let i = 0; i < 10; i++) parser.push(bytes("x".repeat(1_024 * 1_024)))
    assert.isTrue(parser.overflowed)
    assert.deepStrictEqual(parser.push(bytes("\n\ndata: a\n\n")), [])
  })
})
