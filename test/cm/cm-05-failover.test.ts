import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Redacted, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { Candidate } from "../../schemas/Model.ts"
import type { AttemptLog } from "../../src/providers/AttemptLog.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { Failover } from "../../src/providers/Failover.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import * as Source from "../../src/streams/Source.ts"
import { answer, candidate, cut, fail, model, request, reset, type Step, scripted, status, timeout } from "../support/scripted.ts"

const key = { apiKey: Redacted.make("key") }
const registry = ProviderRegistry.layer(
  new Map([
    ["openai", key],
    ["openrouter", key],
    ["groq", key]
  ])
)

const house = (scripts: Readonly<Record<string, ReadonlyArray<Step>>>) => {
  const { calls, layer } = scripted(scripts)
  const breakers = Breakers.layer({ failures: 5, recoveryMs: 300_000 })
  return { calls, layer: Failover.layer.pipe(Layer.provideMerge(breakers), Layer.provide([layer, registry])) }
}

const two: readonly [Candidate, Candidate] = [candidate("openai"), candidate("openrouter")]
const newLog = (): AttemptLog => ({ attempts: [], current: null })

/** Runs a route to its end, time passing as it needs. */
const run = Effect.fnUntraced(function* (candidates: readonly [Candidate, ...Array<Candidate>], log = newLog()) {
  const failover = yield* Failover
  const fiber = yield* Effect.forkChild(Effect.exit(failover.send({ request: request(), candidates, maxTokens: () => null, log })), {
    startImmediately: true
  })
  for (let i = 0; i < 40; i++) yield* TestClock.adjust(1_000)
  return yield* Fiber.join(fiber)
})

const failure = (exit: Exit.Exit<unknown, { readonly last: unknown }>) => (Exit.isFailure(exit) ? Exit.getCause(exit) : null)

describe("failover", () => {
  const rows: ReadonlyArray<readonly [string, number]> = [
    ["CM-5.1.3 502 from the first provider: the next is called", 502],
    ["CM-5.1.4 503: the next provider", 503],
    ["CM-5.1.5 504: the next provider", 504],
    ["CM-5.1.6 401: the next provider", 401],
    ["CM-5.1.7 402: the next provider", 402],
    ["CM-5.1.8 403: the next provider", 403],
    ["CM-5.1.9 404: the next provider", 404],
    ["500 counts as 502", 500]
  ]
  for (const [title, code] of rows) {
    it.effect(title, () => {
      const { calls, layer } = house({ openai: [fail(status("openai", code))] })
      return Effect.gen(function* () {
        const log = newLog()
        const exit = yield* run(two, log)
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepStrictEqual(calls, ["openai", "openrouter"])
        assert.deepStrictEqual(
          log.attempts.map((attempt) => attempt.status),
          [code, 200]
        )
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("CM-5.1.5 a local timeout: the next provider, and the silent one is not asked again", () => {
    const { calls, layer } = house({
      openai: [fail(timeout("openai"))],
      openrouter: [fail(status("openrouter", 503)), fail(status("openrouter", 503))]
    })
    return Effect.gen(function* () {
      const exit = yield* run([...two, candidate("openai")])
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(calls, ["openai", "openrouter", "openrouter"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("CM-5.1.10 400 goes back at once: one upstream call", () => {
    const { calls, layer } = house({ openai: [fail(status("openai", 400))] })
    return Effect.gen(function* () {
      const exit = yield* run(two)
      assert.deepStrictEqual(calls, ["openai"])
      assert.include(String(failure(exit)), "AllProvidersFailed")
    }).pipe(Effect.provide(layer))
  })

  it.effect("CM-5.1.11 429: the same provider again, growing delays, then 429 to the caller", () => {
    const limited = fail(status("openai", 429))
    const { calls, layer } = house({ openai: [limited, limited, limited, limited] })
    return Effect.gen(function* () {
      const failover = yield* Failover
      const log = newLog()
      const fiber = yield* Effect.forkChild(
        Effect.flip(failover.send({ request: request(), candidates: two, maxTokens: () => null, log })),
        { startImmediately: true }
      )
      assert.strictEqual(calls.length, 1)
      yield* TestClock.adjust(749)
      yield* TestClock.adjust(2_000)
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(calls, ["openai", "openai", "openai"])
      assert.deepInclude(error.last?.reason, { status: 429 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("CM-5.1.11 Retry-After is honoured", () => {
    const { calls, layer } = house({ openai: [fail(status("openai", 429, 3_000))] })
    return Effect.gen(function* () {
      const failover = yield* Failover
      const fiber = yield* Effect.forkChild(failover.send({ request: request(), candidates: two, maxTokens: () => null, log: newLog() }), {
        startImmediately: true
      })
      yield* TestClock.adjust(2_999)
      assert.deepStrictEqual(calls, ["openai"])
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(calls, ["openai", "openai"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("CM-5.1.11 a Retry-After that is too long is not waited for", () => {
    const { calls, layer } = house({ openai: [fail(status("openai", 429, 60_000))] })
    return Effect.gen(function* () {
      const failover = yield* Failover
      const error = yield* Effect.flip(failover.send({ request: request(), candidates: two, maxTokens: () => null, log: newLog() }))
      assert.strictEqual(error.retryAfterMs, 60_000)
      assert.deepStrictEqual(calls, ["openai"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("CM-5.1.12 after a failover the answer shows no trace of the failed attempts", () => {
    const { layer } = house({ openai: [fail(status("openai", 503))], openrouter: [answer("from the second")] })
    return Effect.gen(function* () {
      const exit = yield* run(two)
      assert.isTrue(Exit.isSuccess(exit))
      if (Exit.isSuccess(exit)) {
        assert.strictEqual(exit.value.candidate.provider, "openrouter")
        assert.deepStrictEqual(exit.value.events, [
          { _tag: "Text", choice: 0, text: "from the second" },
          { _tag: "Finish", choice: 0, reason: "stop" }
        ])
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("CM-5.3.4 a provider whose circuit is open is skipped in the chain", () => {
    const { calls, layer } = house({ openai: Array.from({ length: 5 }, () => fail(status("openai", 503))) })
    return Effect.gen(function* () {
      for (let i = 0; i < 5; i++) yield* run(two)
      const before = calls.length
      yield* run(two)
      assert.deepStrictEqual(calls.slice(before), ["openrouter"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a reset before a byte is tried once more at the same provider; a 5xx only where nobody else is left", () => {
    const { calls, layer } = house({ openai: [fail(reset("openai"))], groq: [fail(status("groq", 500)), fail(status("groq", 500))] })
    return Effect.gen(function* () {
      yield* run(two)
      assert.deepStrictEqual(calls.splice(0), ["openai", "openai"])
      yield* run([candidate("groq")])
      assert.deepStrictEqual(calls.splice(0), ["groq", "groq"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("the next model is asked when every provider of the one before failed, also by limits", () => {
    const limited = fail(status("openai", 429, 60_000))
    const { calls, layer } = house({ openai: [limited] })
    return Effect.gen(function* () {
      const other = candidate("groq", model("org/other", ["groq"]))
      const exit = yield* run([...two, other])
      assert.deepStrictEqual(calls, ["openai", "groq"])
      assert.isTrue(Exit.isSuccess(exit))
    }).pipe(Effect.provide(layer))
  })

  it.effect("when every circuit is open nobody is asked and the wait is told", () => {
    const { calls, layer } = house({ groq: Array.from({ length: 10 }, () => fail(timeout("groq"))) })
    return Effect.gen(function* () {
      const only: readonly [Candidate] = [candidate("groq")]
      const failover = yield* Failover
      const ask = Effect.flip(failover.send({ request: request(), candidates: only, maxTokens: () => null, log: newLog() }))
      for (let i = 0; i < 5; i++) yield* ask
      const error = yield* ask
      assert.strictEqual(calls.length, 5)
      assert.isNull(error.last)
      assert.strictEqual(error.retryAfterMs, 300_000)
    }).pipe(Effect.provide(layer))
  })
})

describe("a stream through failover", () => {
  const open = Effect.fnUntraced(function* (log = newLog()) {
    const failover = yield* Failover
    return yield* failover.stream({ request: request({ stream: true }), candidates: two, maxTokens: () => null, log })
  })
  const failuresOf = (provider: string) =>
    Effect.flatMap(Breakers, (breakers) =>
      Effect.map(breakers.states, (states) => states.find((state) => state.provider === provider)?.failures)
    )

  it.effect("completes: whole, and the circuit hears of a success", () => {
    const { layer } = house({ openai: [fail(status("openai", 404)), answer("abc")] })
    return Effect.gen(function* () {
      const opened = yield* open()
      assert.strictEqual(opened.candidate.provider, "openrouter")
      const events = (yield* Stream.runCollect(Source.toStream(opened.source))).flat()
      assert.deepStrictEqual(
        events.map((event) => event._tag),
        ["Text", "Finish"]
      )
      assert.strictEqual(yield* failuresOf("openrouter"), 0)
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("fails before content: the next provider answers", () => {
    const { calls, layer } = house({ openai: [fail(cut("openai"))] })
    return Effect.gen(function* () {
      const opened = yield* open()
      yield* Stream.runDrain(Source.toStream(opened.source))
      assert.deepStrictEqual(calls, ["openai", "openrouter"])
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("breaks midway: the failure is told to the circuit and the text is not begun anew", () => {
    const { calls, layer } = house({ openai: [{ _tag: "Break", text: "half", error: cut("openai") }] })
    return Effect.gen(function* () {
      const log = newLog()
      const opened = yield* open(log)
      const error = yield* Effect.flip(Stream.runDrain(Source.toStream(opened.source)))
      assert.strictEqual(error.provider, "openai")
      assert.deepStrictEqual(calls, ["openai"])
      assert.strictEqual(yield* failuresOf("openai"), 1)
      assert.strictEqual(log.attempts.at(-1)?.error, "answer_cut")
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("a consumer who leaves says nothing about the provider", () => {
    const { layer } = house({ openai: [answer("abc")] })
    return Effect.gen(function* () {
      const scope = yield* Scope.make()
      const opened = yield* Effect.provideService(open(), Scope.Scope, scope)
      yield* Stream.runDrain(Stream.take(Source.toStream(opened.source), 1))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* failuresOf("openai"), 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("a consumer who leaves while the provider is silent frees everything", () => {
    const { calls, layer } = house({ openai: [{ _tag: "Hang" }] })
    return Effect.gen(function* () {
      const log = newLog()
      const fiber = yield* Effect.forkChild(Effect.scoped(open(log)), { startImmediately: true })
      assert.deepStrictEqual(calls, ["openai"])
      assert.strictEqual(log.current?.provider, "openai")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* failuresOf("openai"), 0)
    }).pipe(Effect.provide(layer))
  })
})
