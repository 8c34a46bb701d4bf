/**
 * From a provider's bytes to the caller's: the transport replaced, everything between real.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import { events } from "../../bench/mock/OpenAi.ts"
import type { Script } from "../../bench/mock/Script.ts"
import type { InferenceEvent } from "../../schemas/Inference.ts"
import * as OpenAiChatEdge from "../../src/http/OpenAiChatEdge.ts"
import * as AttemptLog from "../../src/providers/AttemptLog.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { Failover } from "../../src/providers/Failover.ts"
import { ProviderAdapters } from "../../src/providers/ProviderAdapters.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import * as OpenAiAdapter from "../../src/providers/protocols/OpenAiAdapter.ts"
import { fromSend, type TransportRequest } from "../../src/providers/Transport.ts"
import { Meter } from "../../src/streams/Meter.ts"
import * as Source from "../../src/streams/Source.ts"
import { sourceOf } from "../support/bytes.ts"
import { candidate, model, request } from "../support/scripted.ts"

const TEXT = "Grüße 🌍 an alle — und “Anführung”, 三个字, e\u0301."

const body = { model: "m", stream: true, stream_options: { include_usage: true }, messages: [{ role: "user", content: "hi" }] }
const encode = (text: string) => new TextEncoder().encode(text)
const bytesOf = (script: Script, of: Readonly<Record<string, unknown>>, end = "data: [DONE]\n\n") =>
  encode(
    events(script, of)
      .map((event) => `data: ${JSON.stringify(event)}\n\n`)
      .join("") + end
  )

/** Pieces of the given sizes, again and again. */
const cut = (bytes: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const out: Array<Uint8Array> = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % Math.max(1, sizes.length)] ?? 7
    out.push(bytes.slice(at, at + size))
    at += size
  }
  return out
}

type Answer = (sent: Readonly<Record<string, unknown>>) => ReadonlyArray<Uint8Array>

/** Two providers of one model, each answering with bytes; what the caller reads, and what was metered. */
const read = (first: Answer, second: Answer) => {
  const send = (asked: TransportRequest) => {
    const sent: Readonly<Record<string, unknown>> = JSON.parse(String(asked.body))
    const pieces = asked.url.includes("first") ? first(sent) : second(sent)
    return Effect.succeed({ status: 200, headers: {}, body: sourceOf(pieces) })
  }
  const adapter = OpenAiAdapter.make(fromSend(send))
  const settings = (name: string) => ({ apiKey: Redacted.make("key"), baseUrl: `http://${name}/v1` })
  const layer = Failover.layer.pipe(
    Layer.provide([
      Breakers.layer({ failures: 5, recoveryMs: 1_000 }),
      Layer.succeed(ProviderAdapters, { for: () => adapter }),
      ProviderRegistry.layer(
        new Map([
          ["groq", settings("first")],
          ["together", settings("second")]
        ])
      )
    ])
  )
  const of = model("org/open", ["groq", "together"], { supports: { ...model("", []).supports, prefill: true } })
  const asked = request({ body, stream: true, includeUsage: true })
  return Effect.gen(function* () {
    const failover = yield* Failover
    const candidates = [candidate("groq", of), candidate("together", of)] as const
    const opened = yield* failover.stream({ request: asked, candidates, maxTokens: () => null, log: AttemptLog.make() })
    const meter = new Meter(5)
    const out = OpenAiChatEdge.edge.encodeStream({
      requestId: "r",
      createdAt: 0,
      model: of.id,
      request: asked,
      usage: () => meter.usage()
    })
    let written = ""
    const seen: Array<InferenceEvent> = []
    yield* Stream.runForEach(Source.toStream(opened.source), (batch) =>
      Effect.sync(() => {
        meter.feed(batch)
        seen.push(...batch)
        written += out.encode(batch)
      })
    )
    written += out.end()
    const said = seen.map((event) => (event._tag === "Text" ? event.text : "")).join("")
    return { written, said, usage: meter.usage(), finishes: seen.filter((event) => event._tag === "Finish").length }
  }).pipe(Effect.scoped, Effect.provide(layer))
}

const never: Answer = () => {
  throw new Error("nobody else is asked")
}

const Sizes = Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 60 })))
const Place = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))

describe("the whole line of a stream", () => {
  const script: Script = { text: TEXT, chunks: 9 }
  const all = bytesOf(script, body)

  it.effect.prop("writes the same bytes however the provider's are cut, also inside a character", [Sizes], ([sizes]) =>
    Effect.gen(function* () {
      const whole = yield* read(() => [all], never)
      assert.deepStrictEqual(yield* read(() => cut(all, sizes), never), whole)
      assert.strictEqual(whole.said, TEXT)
    })
  )

  it.effect("passes no event after [DONE], and needs none when there was a finish reason", () =>
    Effect.gen(function* () {
      const whole = yield* read(() => [all], never)
      const late = bytesOf({ text: "late" }, body, "")
      assert.deepStrictEqual(yield* read(() => [all, late], never), whole)
      assert.deepStrictEqual(yield* read(() => [bytesOf(script, body, "")], never), whole)
      assert.strictEqual(whole.finishes, 1)
    })
  )

  it.effect.prop("says the same at whatever byte the provider breaks off", [Place, Sizes], ([place, sizes]) =>
    Effect.gen(function* () {
      const at = place % all.length
      const second: Answer = (sent) => cut(bytesOf(script, sent), sizes)
      const rescued = yield* read(() => cut(all.slice(0, at), sizes), second)
      assert.strictEqual(rescued.said, TEXT)
      assert.strictEqual(rescued.finishes, 1)
    })
  )
})
