import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { none } from "../../schemas/Usage.ts"
import { PassiveHealth } from "../../src/health/PassiveHealth.ts"
import * as RoutingHealth from "../../src/health/RoutingHealth.ts"
import type { Attempt } from "../../src/providers/AttemptLog.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { Latencies } from "../../src/routing/Latencies.ts"
import { LiveHealth } from "../../src/routing/LiveHealth.ts"
import { attempt, outcomes, tell } from "../support/outcomes.ts"
import { request } from "../support/scripted.ts"

const layer = PassiveHealth.layer({ windowMs: 600_000 }).pipe(Layer.provideMerge(outcomes))

const times = (count: number, attempts: ReadonlyArray<Attempt>) => Effect.repeat(tell(attempts), { times: count - 1 })

describe("passive health", () => {
  it.effect("CM-11.4 every request adds a record for each provider that was asked: how it went, and how long it took", () =>
    Effect.gen(function* () {
      const health = yield* PassiveHealth
      assert.isNull(health.provider("groq"))
      yield* times(6, [attempt("groq", "status_503"), attempt("together", null, 200)])
      yield* times(2, [attempt("groq", null, 50)])
      assert.deepInclude(health.provider("groq"), { successes: 2, failures: 6, uptime: 0.25, consecutiveFailures: 0 })
      assert.deepInclude(health.provider("together"), { successes: 6, failures: 0, uptime: 1, latencyP50: 200 })
      assert.deepInclude(health.model("together", "org/model"), { successes: 6 })
      assert.isNull(health.model("together", "org/other"))
      assert.deepStrictEqual(
        health.models().map(({ model, provider }) => `${provider} ${model}`),
        ["together org/model", "groq org/model"]
      )
    }).pipe(Effect.provide(layer))
  )

  it.effect("limits and callers' mistakes are counted and say nothing of how well a provider works", () =>
    Effect.gen(function* () {
      const health = yield* PassiveHealth
      yield* times(9, [attempt("groq", "status_429")])
      yield* times(9, [attempt("groq", "status_400"), attempt("groq", "status_404"), attempt("groq", "answer_not_continued")])
      assert.deepInclude(health.provider("groq"), { successes: 0, failures: 0, limited: 9, refused: 27, uptime: null })
      for (const error of ["status_401", "status_500", "status_529", "timeout_idle", "connection_failed", "answer_cut"]) {
        yield* tell([attempt("groq", error)])
      }
      assert.deepInclude(health.provider("groq"), { failures: 6, uptime: 0, consecutiveFailures: 6 })
    }).pipe(Effect.provide(layer))
  )

  it.effect("what is older than the window is forgotten; too little says nothing", () =>
    Effect.gen(function* () {
      const health = yield* PassiveHealth
      yield* times(4, [attempt("groq", "status_503")])
      assert.deepInclude(health.provider("groq"), { failures: 4, uptime: null })
      yield* TestClock.adjust(300_000)
      yield* times(4, [attempt("groq", null, 80)])
      assert.deepInclude(health.provider("groq"), { uptime: 0.5, latencyP50: 80 })
      yield* TestClock.adjust(310_000)
      assert.deepInclude(health.provider("groq"), { successes: 4, failures: 0, uptime: null, latencyP50: 80 })
      yield* TestClock.adjust(310_000)
      assert.deepInclude(health.provider("groq"), { successes: 0, failures: 0, latencyP50: null })
    }).pipe(Effect.provide(layer))
  )

  it.effect("medians: of whole answers, of first contents and of tokens a second, each for itself", () =>
    Effect.gen(function* () {
      const health = yield* PassiveHealth
      for (const ms of [900, 100, 300]) yield* tell([attempt("groq", null, ms)], { usage: { ...none, output: ms } })
      assert.deepInclude(health.provider("groq"), { latencyP50: 300, firstChunkP50: null, tokensPerSecondP50: 300 })
      for (const ms of [9, 1, 3]) yield* tell([attempt("groq", null, ms)], { request: request({ stream: true }) })
      assert.deepInclude(health.provider("groq"), { latencyP50: 300, firstChunkP50: 3 })
      for (let i = 0; i < 200; i++) yield* tell([attempt("groq", null, 7)])
      assert.deepInclude(health.provider("groq"), { latencyP50: 7 })
    }).pipe(Effect.provide(layer))
  )

  const breakers = Breakers.layer({ failures: 5, recoveryMs: 60_000 })
  const routing = Effect.map(Layer.build(RoutingHealth.layer), (services) => ({
    live: Context.get(services, LiveHealth),
    p50: Context.get(services, Latencies)
  }))

  it.effect("routing reads it: the model's own figures, the provider's where too little is known of it", () =>
    Effect.gen(function* () {
      const { live, p50 } = yield* routing
      yield* times(6, [attempt("groq", "status_503")])
      yield* times(6, [{ ...attempt("groq", null, 40), model: "org/other" }])
      assert.deepInclude(live("org/model", "groq"), { uptime: 0, calls: 6, latencyP50: null })
      assert.deepInclude(live("org/other", "groq"), { uptime: 1, calls: 6, latencyP50: 40 })
      assert.deepInclude(live("org/unasked", "groq"), { uptime: 0.5, calls: 12, latencyP50: null })
      assert.isNull(live("org/model", "together").uptime)
      assert.strictEqual(p50("org/other", "groq"), 40)
    }).pipe(Effect.scoped, Effect.provide([layer, breakers]))
  )

  it.effect("an outage is the circuit's to judge: while it is not closed, and of the time before it closed, routing is told nothing", () =>
    Effect.gen(function* () {
      const { live } = yield* routing
      const health = yield* PassiveHealth
      const circuits = yield* Breakers
      yield* times(30, [attempt("groq", "status_503")])
      assert.deepInclude(live("org/model", "groq"), { uptime: 0, calls: 30 })
      for (let i = 0; i < 5; i++) yield* (yield* circuits.permit("groq"))?.tell("failure") ?? Effect.void
      assert.deepInclude(live("org/model", "groq"), { uptime: null, calls: 0 })
      yield* TestClock.adjust(60_000)
      yield* (yield* circuits.permit("groq"))?.tell("success") ?? Effect.void
      assert.deepInclude(live("org/model", "groq"), { uptime: null, calls: 0 })
      yield* TestClock.adjust(60_000)
      yield* times(10, [attempt("groq", "status_503")])
      assert.deepInclude(live("org/model", "groq"), { uptime: 0, calls: 10 })
      assert.deepInclude(health.provider("groq"), { failures: 40 })
    }).pipe(Effect.scoped, Effect.provide([layer, breakers, Logger.layer([])]))
  )
})
