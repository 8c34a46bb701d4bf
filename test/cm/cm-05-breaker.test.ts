import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Breakers } from "../../src/providers/Breakers.ts"

const layer = Breakers.layer({ failures: 5, recoveryMs: 300_000 })

/** Calls a provider and tells how it went; false when the circuit kept the call away. */
const call = Effect.fnUntraced(function* (provider: string, outcome: "success" | "failure" | "ignored") {
  const breakers = yield* Breakers
  const permit = yield* breakers.permit(provider)
  if (permit !== null) yield* permit.tell(outcome)
  return permit !== null
})

const times = (count: number, provider: string, outcome: "success" | "failure") =>
  Effect.repeat(call(provider, outcome), { times: count - 1 })

const stateOf = Effect.fnUntraced(function* (provider: string) {
  const breakers = yield* Breakers
  return (yield* breakers.states).find((breaker) => breaker.provider === provider)
})

describe("circuit breaker", () => {
  it.effect("CM-5.3.1 a provider never seen is closed", () =>
    Effect.gen(function* () {
      const breakers = yield* Breakers
      assert.deepStrictEqual(yield* breakers.states, [])
      assert.isNotNull(yield* breakers.permit("a"))
      assert.deepInclude(yield* stateOf("a"), { state: "closed", failures: 0, opened_at: null, retry_at: null })
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.3.2 the 5th consecutive failure opens the circuit", () =>
    Effect.gen(function* () {
      yield* times(5, "a", "failure")
      assert.deepInclude(yield* stateOf("a"), {
        state: "open",
        failures: 5,
        opened_at: "1970-01-01T00:00:00.000Z",
        retry_at: "1970-01-01T00:05:00.000Z"
      })
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.3.3 after 4 consecutive failures it is still closed", () =>
    Effect.gen(function* () {
      yield* times(4, "a", "failure")
      assert.deepInclude(yield* stateOf("a"), { state: "closed", failures: 4 })
      assert.isTrue(yield* call("a", "ignored"))
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.3.4 an open circuit lets no call through", () =>
    Effect.gen(function* () {
      yield* times(5, "a", "failure")
      assert.isFalse(yield* call("a", "success"))
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.3.5 at 299 s it is open, at 300 s half open, with one probe at a time", () =>
    Effect.gen(function* () {
      const breakers = yield* Breakers
      yield* times(5, "a", "failure")
      yield* TestClock.adjust(299_000)
      assert.isNull(yield* breakers.permit("a"))
      assert.deepInclude(yield* stateOf("a"), { state: "open" })
      yield* TestClock.adjust(1_000)
      assert.deepInclude(yield* stateOf("a"), { state: "half_open" })
      const probe = yield* breakers.permit("a")
      assert.isTrue(probe?.probe)
      assert.isNull(yield* breakers.permit("a"))
      yield* probe?.tell("ignored") ?? Effect.void
      assert.isNotNull(yield* breakers.permit("a"))
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.3.6 one success in half open closes", () =>
    Effect.gen(function* () {
      yield* times(5, "a", "failure")
      yield* TestClock.adjust(300_000)
      yield* call("a", "success")
      assert.deepInclude(yield* stateOf("a"), { state: "closed", failures: 0 })
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.3.7 one failure in half open opens again, and the 300 s start again", () =>
    Effect.gen(function* () {
      yield* times(5, "a", "failure")
      yield* TestClock.adjust(300_000)
      yield* call("a", "failure")
      assert.deepInclude(yield* stateOf("a"), { state: "open", opened_at: "1970-01-01T00:05:00.000Z" })
      yield* TestClock.adjust(299_000)
      assert.isFalse(yield* call("a", "success"))
      yield* TestClock.adjust(1_000)
      assert.isTrue(yield* call("a", "success"))
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.3.8 a success resets the count", () =>
    Effect.gen(function* () {
      yield* times(4, "a", "failure")
      yield* call("a", "success")
      yield* times(4, "a", "failure")
      assert.deepInclude(yield* stateOf("a"), { state: "closed", failures: 4 })
    }).pipe(Effect.provide(layer))
  )

  it.effect("CM-5.3.9 each provider has a circuit of its own", () =>
    Effect.gen(function* () {
      yield* times(2, "b", "failure")
      yield* times(5, "a", "failure")
      assert.deepInclude(yield* stateOf("a"), { state: "open" })
      assert.deepInclude(yield* stateOf("b"), { state: "closed", failures: 2 })
    }).pipe(Effect.provide(layer))
  )

  it.effect("calls admitted before the circuit opened change nothing afterwards", () =>
    Effect.gen(function* () {
      const breakers = yield* Breakers
      const late = yield* breakers.permit("a")
      yield* times(5, "a", "failure")
      yield* late?.tell("success") ?? Effect.void
      assert.deepInclude(yield* stateOf("a"), { state: "open" })
      yield* breakers.reset("a")
      assert.deepInclude(yield* stateOf("a"), { state: "closed", failures: 0 })
    }).pipe(Effect.provide(layer))
  )
})
