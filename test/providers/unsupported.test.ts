import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { Failover } from "../../src/providers/Failover.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { candidate, fail, request, type Step, scripted, status } from "../support/scripted.ts"

const key = { apiKey: Redacted.make("key") }
const registry = ProviderRegistry.layer(
  new Map([
    ["openai", key],
    ["openrouter", key]
  ])
)

const house = (unsupported: Readonly<Record<string, string>>, scripts: Readonly<Record<string, ReadonlyArray<Step>>> = {}) => {
  const { calls, layer } = scripted(scripts, unsupported)
  const breakers = Breakers.layer({ failures: 1, recoveryMs: 300_000 })
  return { calls, layer: Failover.layer.pipe(Layer.provideMerge(breakers), Layer.provide([layer, registry])) }
}

const ask = (more: Partial<InferenceRequest> = {}) =>
  Effect.flatMap(Failover, (failover) =>
    failover.send({
      request: request(more),
      candidates: [candidate("openai"), candidate("openrouter")],
      maxTokens: () => null,
      log: { attempts: [], current: null }
    })
  )

describe("what a provider cannot do", () => {
  it.effect("passes the provider over and says nothing of its health", () => {
    const { calls, layer } = house({ openai: "logprobs" })
    return Effect.gen(function* () {
      assert.strictEqual((yield* ask()).candidate.provider, "openrouter")
      assert.deepStrictEqual(calls, ["openrouter"])
      assert.deepStrictEqual(
        (yield* (yield* Breakers).states).filter((breaker) => breaker.state !== "closed"),
        []
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("is the caller's mistake when nobody else can", () => {
    const { calls, layer } = house({ openai: "logprobs", openrouter: "seed" })
    return Effect.gen(function* () {
      const { last } = yield* Effect.flip(ask())
      assert.deepStrictEqual(calls, [])
      assert.deepInclude(last?.reason, { status: 400, code: "UNSUPPORTED_PARAMETER", param: "logprobs" })
    }).pipe(Effect.provide(layer))
  })

  it.effect("is left out when the caller says so", () => {
    const { calls, layer } = house({ openai: "logprobs" })
    return Effect.gen(function* () {
      assert.strictEqual((yield* ask({ dropUnsupported: true })).candidate.provider, "openai")
      assert.deepStrictEqual(calls, ["openai"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("yields to the failure of a provider that could", () => {
    const { layer } = house({ openai: "logprobs" }, { openrouter: [fail(status("openrouter", 401))] })
    return Effect.gen(function* () {
      const { last } = yield* Effect.flip(ask())
      assert.deepInclude(last?.reason, { status: 401 })
      // The circuit of the one that could is open now: waiting may help, so it is not called the caller's mistake.
      assert.isNull((yield* Effect.flip(ask())).last)
    }).pipe(Effect.provide(layer))
  })
})
