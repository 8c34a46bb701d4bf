/**
 * Streams that break off after content has left, and what the next provider makes of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Stream } from "effect"
import type { InferenceEvent, InferenceRequest } from "../../schemas/Inference.ts"
import type { Candidate } from "../../schemas/Model.ts"
import { ProviderAnswer, ProviderError } from "../../schemas/Provider.ts"
import { none } from "../../schemas/Usage.ts"
import * as AttemptLog from "../../src/providers/AttemptLog.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { canContinue, continueRequest, wholeUsage } from "../../src/providers/Continuation.ts"
import { Failover } from "../../src/providers/Failover.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import * as Source from "../../src/streams/Source.ts"
import { candidate, cut, finish, model, request, type Step, scripted, status, text, timeout } from "../support/scripted.ts"

const slugs = ["groq", "together", "fireworks"]
const key = { apiKey: Redacted.make("key") }
const supports = { ...model("org/open", []).supports, prefill: true }
const open = model("org/open", slugs, { supports })
const [groq, together, fireworks] = [candidate("groq", open), candidate("together", open), candidate("fireworks", open)]
const three: readonly [Candidate, ...Array<Candidate>] = [groq, together, fireworks]

const house = (scripts: Readonly<Record<string, ReadonlyArray<Step>>>) => {
  const { calls, layer, requests } = scripted(scripts)
  const registry = ProviderRegistry.layer(new Map(slugs.map((slug) => [slug, key])))
  const breakers = Breakers.layer({ failures: 5, recoveryMs: 300_000 })
  return { calls, requests, layer: Failover.layer.pipe(Layer.provideMerge(breakers), Layer.provide([layer, registry])) }
}

const broken = (provider: string, ...pieces: ReadonlyArray<InferenceEvent>): Step => ({
  _tag: "Events",
  batches: pieces.map((piece) => [piece] as const),
  error: cut(provider)
})
const whole = (...pieces: ReadonlyArray<string>): Step => ({
  _tag: "Events",
  batches: [...pieces.map((piece) => [text(piece)] as const), [finish()]]
})

const usual = request({ stream: true, body: { messages: [{ role: "user", content: "tell" }] } })

/** Reads a stream to its end: its text, its events, how it failed, and what was written down. */
const readAll = Effect.fnUntraced(function* (of: InferenceRequest, candidates: typeof three) {
  const failover = yield* Failover
  const log = AttemptLog.make()
  const opened = yield* failover.stream({ request: of, candidates, maxTokens: () => null, log })
  const events: Array<InferenceEvent> = []
  const error = yield* Stream.runForEach(Source.toStream(opened.source), (batch) => Effect.sync(() => events.push(...batch))).pipe(
    Effect.as(null),
    Effect.catch((failure: ProviderError) => Effect.succeed(failure))
  )
  const said = events.flatMap((event) => (event._tag === "Text" ? [event.text] : [])).join("")
  return { opened, events, error, said, log, finishes: events.filter((event) => event._tag === "Finish").length }
})
const read = (of = usual, candidates = three) => Effect.scoped(readAll(of, candidates))

const failuresOf = (provider: string) =>
  Effect.flatMap(Breakers, (breakers) =>
    Effect.map(breakers.states, (states) => states.find((state) => state.provider === provider)?.failures)
  )

describe("a stream that breaks off", () => {
  it.effect("is continued by the next provider of the model: one text, one finish reason, each circuit told its own", () => {
    const { calls, layer, requests } = house({
      groq: [broken("groq", text("The quick "), text("brown"))],
      together: [whole(" fox", " jumps.")]
    })
    return Effect.gen(function* () {
      const { error, finishes, log, opened, said } = yield* read()
      assert.isNull(error)
      assert.strictEqual(said, "The quick brown fox jumps.")
      assert.strictEqual(finishes, 1)
      assert.deepStrictEqual(calls, ["groq", "together"])
      assert.deepStrictEqual(requests[1]?.request.body["messages"], [
        { role: "user", content: "tell" },
        { role: "assistant", content: "The quick brown" }
      ])
      assert.deepStrictEqual(requests[1]?.request.conversation().turns.at(-1), {
        role: "assistant",
        parts: [{ _tag: "Text", text: "The quick brown" }]
      })
      assert.strictEqual(opened.candidate.provider, "groq")
      assert.strictEqual(log.current?.provider, "together")
      assert.deepStrictEqual(
        log.attempts.map((attempt) => [attempt.provider, attempt.error]),
        [
          ["groq", "answer_cut"],
          ["together", null]
        ]
      )
      assert.strictEqual(yield* failuresOf("groq"), 1)
      assert.strictEqual(yield* failuresOf("together"), 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("several deaths in a row are survived as long as candidates are left", () => {
    const { layer, requests } = house({
      groq: [broken("groq", text("one "))],
      together: [broken("together", text("two "))],
      fireworks: [whole("three")]
    })
    return Effect.gen(function* () {
      const { error, log, said } = yield* read()
      assert.isNull(error)
      assert.strictEqual(said, "one two three")
      assert.deepInclude(requests[2]?.request.body["messages"], { role: "assistant", content: "one two" })
      assert.deepStrictEqual(
        log.attempts.map((attempt) => attempt.error),
        ["answer_cut", "answer_cut", null]
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("fails with the last failure when nobody is left, and never ends as if whole", () => {
    const { layer } = house({
      groq: [broken("groq", text("one "))],
      together: [{ _tag: "Fail", error: status("together", 503) }],
      fireworks: [broken("fireworks", text("two "))]
    })
    return Effect.gen(function* () {
      const { error, finishes, log, said } = yield* read()
      assert.strictEqual(error?.provider, "fireworks")
      assert.strictEqual(said, "one two ")
      assert.strictEqual(finishes, 0)
      assert.deepStrictEqual(
        log.attempts.map((attempt) => attempt.error),
        ["answer_cut", "status_503", "answer_cut"]
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("a provider that begins the text anew is cut to its rest, one that says something else is passed over", () => {
    const { layer } = house({
      groq: [broken("groq", text("The quick brown fox jumps over"))],
      together: [whole("The quick brown fox ", "sleeps all day.")],
      fireworks: [whole("The quick brown fox jumps over", " the dog.")]
    })
    return Effect.gen(function* () {
      const { error, log, said } = yield* read()
      assert.isNull(error)
      assert.strictEqual(said, "The quick brown fox jumps over the dog.")
      assert.deepStrictEqual(
        log.attempts.map((attempt) => attempt.error),
        ["answer_cut", "answer_not_continued", null]
      )
      assert.strictEqual(yield* failuresOf("together"), 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("a provider that finds nothing to add has ended the answer", () => {
    const empty = new ProviderError({ provider: "together", reason: new ProviderAnswer({ fault: "empty", message: "" }) })
    const { layer } = house({
      groq: [broken("groq", text("All said."))],
      together: [{ _tag: "Events", batches: [[finish()]], error: empty }]
    })
    return Effect.gen(function* () {
      const { error, finishes, said } = yield* read()
      assert.isNull(error)
      assert.strictEqual(said, "All said.")
      assert.strictEqual(finishes, 1)
      assert.strictEqual(yield* failuresOf("together"), 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("what breaks after the finish reason breaks nothing", () => {
    const { calls, layer } = house({ groq: [broken("groq", text("All said."), finish())] })
    return Effect.gen(function* () {
      const { error, said } = yield* read()
      assert.isNull(error)
      assert.strictEqual(said, "All said.")
      assert.deepStrictEqual(calls, ["groq"])
      assert.strictEqual(yield* failuresOf("groq"), 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("white space that was all is sent again by anybody, as nothing has to be continued", () => {
    const plain = model("org/plain", slugs)
    const { layer, requests } = house({ groq: [broken("groq", text("\n"))], together: [whole("\nHello")] })
    return Effect.gen(function* () {
      const { said } = yield* read(usual, [candidate("groq", plain), candidate("together", plain)])
      assert.strictEqual(said, "\nHello")
      assert.deepStrictEqual(requests[1]?.request.body, usual.body)
    }).pipe(Effect.provide(layer))
  })

  const start = (name: string): InferenceEvent => ({ _tag: "ToolCallStart", choice: 0, index: 0, id: "call_0", name })
  const refused: ReadonlyArray<readonly [string, InferenceRequest, ReadonlyArray<InferenceEvent>]> = [
    ["a tool call half way", usual, [text("Let me look. "), start("look")]],
    ["thoughts before the text", usual, [{ _tag: "Reasoning", choice: 0, text: "hm" }, text("So ")]],
    ["a refusal", usual, [{ _tag: "Refusal", choice: 0, text: "I will not" }]],
    ["figures for each token", usual, [{ _tag: "Text", choice: 0, text: "So ", logprobs: {} }]],
    ["several answers at once", { ...usual, choices: 2 }, [text("So ")]],
    ["an answer that must be JSON", request({ ...usual, body: { ...usual.body, response_format: { type: "json_object" } } }), [text("{")]],
    ["an answer too long to be handed on", usual, [text("x".repeat(200_000)), text("y".repeat(200_000))]]
  ]
  for (const [what, of, events] of refused) {
    it.effect(`${what} cannot be continued: the failure is told, nobody else is asked`, () => {
      const { calls, layer } = house({ groq: [broken("groq", ...events)] })
      return Effect.gen(function* () {
        const conversing = { ...of, conversation: request({ body: of.body }).conversation }
        const { error, finishes } = yield* read(conversing)
        assert.strictEqual(error?.provider, "groq")
        assert.strictEqual(finishes, 0)
        assert.deepStrictEqual(calls, ["groq"])
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("a model that takes no beginning, or another model, is not asked", () => {
    const closed = model("org/closed", slugs)
    const { calls, layer } = house({ groq: [broken("groq", text("one "))] })
    return Effect.gen(function* () {
      const { error } = yield* read(usual, [candidate("groq", closed), candidate("together", closed), fireworks])
      assert.strictEqual(error?.provider, "groq")
      assert.deepStrictEqual(calls, ["groq"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a provider that stalled midway is let go and not asked again", () => {
    const { calls, layer } = house({
      groq: [{ _tag: "Events", batches: [[text("one ")]], error: timeout("groq") }],
      together: [whole("two")]
    })
    return Effect.gen(function* () {
      const { said } = yield* read(usual, [groq, groq, together])
      assert.strictEqual(said, "one two")
      assert.deepStrictEqual(calls, ["groq", "together"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("thoughts of whoever continues are left out, figures are those of the whole", () => {
    const usage = { ...none, input: 103, output: 5, reasoning: 7, source: "provider" as const }
    const { layer } = house({
      groq: [broken("groq", text("x".repeat(40)))],
      together: [
        { _tag: "Events", batches: [[{ _tag: "Reasoning", choice: 0, text: "hm" }], [text(" more"), finish(), { _tag: "Usage", usage }]] }
      ]
    })
    return Effect.gen(function* () {
      const { events } = yield* read(request({ ...usual, promptCharacters: 360, conversation: usual.conversation }))
      assert.notInclude(
        events.map((event) => event._tag),
        "Reasoning"
      )
      const figures = events.flatMap((event) => (event._tag === "Usage" ? [event.usage] : []))
      assert.deepStrictEqual(figures, [{ ...usage, input: 93, output: 15, source: "estimated" }])
    }).pipe(Effect.provide(layer))
  })
})

describe("the request for the rest", () => {
  const bounded = request({
    maxTokens: 100,
    body: { max_tokens: 100, max_completion_tokens: 100, messages: [{ role: "user", content: "tell" }] }
  })

  it("is bounded by what remains, and shows no white space at the end", () => {
    const next = continueRequest(bounded, `${"x".repeat(38)}\n\n`, "groq")
    assert.strictEqual(next.maxTokens, 90)
    assert.deepInclude(next.body, { max_tokens: 90, max_completion_tokens: 90 })
    assert.deepInclude(next.body["messages"], { role: "assistant", content: "x".repeat(38) })
    assert.strictEqual(continueRequest(bounded, "x".repeat(4_000), "groq").maxTokens, 1)
    assert.isUndefined(continueRequest(usual, "x", "groq").body["max_tokens"])
  })

  it("marks the beginning where a provider wants that", () => {
    assert.deepInclude(continueRequest(bounded, "So", "mistral").body["messages"], { role: "assistant", content: "So", prefix: true })
    assert.deepInclude(continueRequest(bounded, "So", "moonshot").body["messages"], { role: "assistant", content: "So", partial: true })
  })

  it("goes on after a beginning of the caller's own, in every protocol", () => {
    const own = request({
      body: {
        messages: [
          { role: "user", content: "tell" },
          { role: "assistant", content: "Once " }
        ]
      }
    })
    assert.deepStrictEqual(continueRequest(own, "upon", "groq").body["messages"], [
      { role: "user", content: "tell" },
      { role: "assistant", content: "Once upon" }
    ])
    assert.deepStrictEqual(continueRequest(own, "upon", "groq").conversation().turns.length, 2)
    const parts = request({ body: { messages: [{ role: "assistant", content: [{ type: "text", text: "Once " }] }] } })
    assert.deepStrictEqual(continueRequest(parts, "upon", "groq").body["messages"], [
      {
        role: "assistant",
        content: [
          { type: "text", text: "Once " },
          { type: "text", text: "upon" }
        ]
      }
    ])
    const responses = request({ protocol: "openai-responses", body: { input: "tell", max_output_tokens: 50 }, maxTokens: 50 })
    assert.deepStrictEqual(continueRequest(responses, "Once upon", "groq").body, {
      input: [
        { role: "user", content: "tell" },
        { role: "assistant", content: "Once upon" }
      ],
      max_output_tokens: 47
    })
  })

  it("goes to no provider that would begin a new message", () => {
    assert.isTrue(canContinue(groq, "So"))
    assert.isFalse(canContinue(candidate("deepseek", open), "So"))
    assert.isTrue(canContinue(candidate("deepseek", open), " \n"))
  })

  it("its figures are those of the whole answer: what was read of the answer is output, what was repeated is none", () => {
    const usage = { ...none, input: 20, cachedRead: 50, output: 5, source: "provider" as const }
    const figures = wholeUsage(usage, request({ promptCharacters: 40 }), { sent: "x".repeat(400), repeated: 0 })
    assert.deepStrictEqual(figures, { ...usage, input: 0, cachedRead: 10, output: 105, source: "estimated" })
    const uncounted = wholeUsage({ ...usage, input: 10, cachedRead: 0 }, request({ promptCharacters: 40 }), {
      sent: "x".repeat(400),
      repeated: 8
    })
    assert.deepInclude(uncounted, { input: 10, output: 103 })
  })
})
