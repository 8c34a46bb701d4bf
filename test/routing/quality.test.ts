/**
 * Quality as it is lived: benchmark scores, shifted by what becomes of the calls, of everybody and of one account.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { InferenceRequest } from "../../schemas/Inference.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { CatalogListing } from "../../src/catalog/CatalogListing.ts"
import { Resolution } from "../../src/catalog/Resolution.ts"
import * as SignalWatch from "../../src/health/SignalWatch.ts"
import * as AttemptLog from "../../src/providers/AttemptLog.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { Failover } from "../../src/providers/Failover.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { StructuredAnswers } from "../../src/providers/StructuredAnswers.ts"
import { arrives, livedQuality, QualitySignals, type Signals } from "../../src/routing/QualitySignals.ts"
import { JsonSchemas } from "../../src/streams/JsonSchemas.ts"
import * as Source from "../../src/streams/Source.ts"
import { attempt, caller, outcomes, tell } from "../support/outcomes.ts"
import { answer, candidate, model, request, type Step, scripted } from "../support/scripted.ts"

const faultless: Signals = { calls: 1_000, success: 1, retry: 0, format: 1 }

describe("quality out of benchmarks and signals", () => {
  const everybody = (signals: Partial<Signals>, p50: number | null = null) =>
    livedQuality(80, { everybody: { ...faultless, ...signals }, own: null }, p50)

  it("X-17 without signals, with few calls and with faultless ones it is the benchmarks' alone", () => {
    assert.strictEqual(livedQuality(80, { everybody: null, own: null }, 29_000), 80)
    assert.strictEqual(everybody({ calls: 20, success: 0 }), 80)
    assert.strictEqual(everybody({}), 80)
    assert.strictEqual(everybody({ retry: null, format: null }, 500), 80)
  })

  it("X-17 failures, retries, broken form and slow answers each take something away, more the more there are of them", () => {
    for (const [some, more] of [
      [everybody({ success: 0.9 }), everybody({ success: 0.5 })],
      [everybody({ retry: 0.1 }), everybody({ retry: 0.5 })],
      [everybody({ format: 0.9 }), everybody({ format: 0.5 })],
      [everybody({}, 4_000), everybody({}, 20_000)]
    ] as const) {
      assert.isBelow(some, 80)
      assert.isBelow(more, some)
    }
    assert.isBelow(everybody({ success: 0.5 }), everybody({ success: 0.5, calls: 40 }))
  })

  it.effect.prop(
    "X-17 whatever is seen, never more than a quarter is taken away and nothing is added",
    [Schema.Struct({ calls: Schema.Natural, success: Schema.Natural, retry: Schema.Natural, format: Schema.Natural, p50: Schema.Natural })],
    ([drawn]) =>
      Effect.sync(() => {
        const share = (n: number) => (n % 101) / 100
        const signals = { calls: drawn.calls, success: share(drawn.success), retry: share(drawn.retry), format: share(drawn.format) }
        const quality = livedQuality(80, { everybody: signals, own: null }, drawn.p50)
        assert.isAtMost(quality, 80)
        assert.isAtLeast(quality, 60)
        assert.strictEqual(livedQuality(80, { everybody: signals, own: null }, drawn.p50), quality)
        const own = livedQuality(80, { everybody: null, own: signals }, drawn.p50)
        assert.isAtMost(own, 80)
        assert.isAtLeast(own, 72)
      })
  )

  it("X-18 what an account sees better or worse than everybody moves it by at most a tenth", () => {
    const ill = { ...faultless, success: 0.5 }
    const usual = everybody({ success: 0.5 })
    assert.isAbove(livedQuality(80, { everybody: ill, own: faultless }, null), usual)
    assert.strictEqual(livedQuality(80, { everybody: ill, own: ill }, null), usual)
    assert.isBelow(livedQuality(80, { everybody: ill, own: { ...ill, success: 0 } }, null), usual)
    assert.strictEqual(livedQuality(80, { everybody: null, own: { ...ill, calls: 10, success: 0 } }, null), 80)
    assert.strictEqual(arrives({ calls: 9, success: null, retry: null, format: null }, null), 1)
  })
})

const listed = [
  model("org/best", ["groq"], { benchmarks: { mmlu: 80 } }),
  model("org/next", ["groq"], { benchmarks: { mmlu: 75 } }),
  model("org/last", ["groq"], { benchmarks: { mmlu: 40 } })
]

const world = Resolution.layer.pipe(
  Layer.provideMerge(CatalogListing.layer),
  Layer.provideMerge(SignalWatch.layer),
  Layer.provideMerge(outcomes),
  Layer.provideMerge(
    Catalog.layerFrom(() => ({ aliases: new Map(), models: listed.map((entry) => ({ model: entry, pricing: candidate("x").pricing })) }))
  ),
  Layer.provideMerge(Breakers.layer({ failures: 1_000, recoveryMs: 1_000 })),
  Layer.provideMerge(ProviderRegistry.layer(new Map([["groq", { apiKey: Redacted.make("key") }]])))
)

const of = (accountId: string) => ({ caller: { ...caller, accountId } })
const best = (error: string | null = null) => ({ ...attempt("groq", error), model: "org/best" })

const resolved = (accountId: string | null = null) =>
  Effect.flatMap(Resolution, (resolution) => resolution.resolve(request({ model: "router:general:quality" }), accountId))
const chosen = (accountId: string | null = null) => Effect.map(resolved(accountId), ({ candidates }) => candidates[0].model.id)

describe("the general router", () => {
  it.effect("X-17 prefers the next best when the best one fails, and says its quality; in time that is forgotten", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* chosen(), "org/best")
      yield* Effect.repeat(tell([best("status_503")]), { times: 19 })
      assert.strictEqual(yield* chosen(), "org/best", "twenty calls are too few")
      yield* Effect.repeat(tell([best("status_503")]), { times: 39 })
      const { routing } = yield* resolved()
      assert.strictEqual(routing?.model, "org/next")
      assert.deepStrictEqual(routing?.alternatives, ["org/best", "org/last"])
      assert.strictEqual(routing?.quality, 75)
      yield* TestClock.adjust(1_800_000)
      assert.strictEqual(yield* chosen(), "org/best")
    }).pipe(Effect.provide(world))
  )

  it.effect(
    "X-17 minds answers that were not in the form asked for, and calls that had to be repeated; not limits nor callers' mistakes",
    () =>
      Effect.gen(function* () {
        yield* Effect.repeat(tell([best("status_400")]), { times: 199 })
        yield* Effect.repeat(tell([best("status_429")]), { times: 199 })
        yield* Effect.repeat(tell([{ ...best(), inForm: true }]), { times: 99 })
        const signals = yield* QualitySignals
        assert.deepStrictEqual(signals("org/best", "groq", null).everybody, { calls: 100, success: 1, retry: 0, format: 1 })
        assert.strictEqual(yield* chosen(), "org/best")
        yield* Effect.repeat(
          tell([
            { ...best(), inForm: false },
            { ...best(), inForm: false }
          ]),
          { times: 199 }
        )
        const after = signals("org/best", "groq", null).everybody
        assert.closeTo(after?.format ?? 1, 0.2, 1e-9)
        assert.closeTo(after?.retry ?? 0, 2 / 3, 1e-9)
        assert.strictEqual(yield* chosen(), "org/next")
      }).pipe(Effect.provide(world))
  )

  it.effect("X-18 an account whose calls fail gets the next best, others and nobody known do not", () =>
    Effect.gen(function* () {
      yield* Effect.repeat(tell([best()], of("lucky")), { times: 999 })
      yield* Effect.repeat(tell([best("status_503")], of("unlucky")), { times: 99 })
      assert.strictEqual(yield* chosen("unlucky"), "org/next")
      assert.strictEqual(yield* chosen("lucky"), "org/best")
      assert.strictEqual(yield* chosen("other"), "org/best")
      assert.strictEqual(yield* chosen(), "org/best")
    }).pipe(Effect.provide(world))
  )

  const Story = Schema.Array(
    Schema.Struct({ account: Schema.Literals(["a", "b", "c"]), model: Schema.Natural, ok: Schema.Boolean, inForm: Schema.Boolean })
  )
  it.effect.prop("X-18 what one account sees of models is never another's, whatever the others do", [Story], ([story]) =>
    Effect.gen(function* () {
      const attemptOf = (entry: (typeof story)[number]) => ({
        ...attempt("groq", entry.ok ? null : "status_503"),
        model: `org/m${entry.model % 50}`,
        ...(entry.ok ? { inForm: entry.inForm } : {})
      })
      const seenBy = (told: typeof story) =>
        Effect.gen(function* () {
          for (const entry of told) yield* tell([attemptOf(entry)], of(entry.account))
          const signals = yield* QualitySignals
          return Array.from({ length: 50 }, (_, at) => signals(`org/m${at}`, "groq", "a").own)
        }).pipe(Effect.provide(SignalWatch.layer.pipe(Layer.provideMerge(outcomes)), { local: true }))
      assert.deepStrictEqual(yield* seenBy(story), yield* seenBy(story.filter(({ account }) => account === "a")))
    })
  )

  it.effect("X-18 of accounts and of their models only so many are kept, and nobody without an account is one", () =>
    Effect.gen(function* () {
      const signals = yield* QualitySignals
      yield* tell([best()], of("first"))
      for (let i = 0; i < 40; i++) yield* tell([{ ...best(), model: `org/m${i}` }], of("busy"))
      assert.isNull(signals("org/m0", "groq", "busy").own)
      assert.isNotNull(signals("org/m39", "groq", "busy").own)
      assert.isNotNull(signals("org/best", "groq", "first").own)
      for (let i = 0; i < 2_000; i++) yield* tell([best()], of(`account-${i}`))
      assert.isNull(signals("org/best", "groq", "first").own)
      yield* tell([best()], { caller: { ...caller, accountId: "anonymous", isAnonymous: true } })
      assert.isNull(signals("org/best", "groq", "anonymous").own)
    }).pipe(Effect.provide(world))
  )
})

describe("the form of answers", () => {
  const asked = (more: Partial<InferenceRequest> = {}) => request({ body: { response_format: { type: "json_object" } }, ...more })
  const schema = { type: "json_schema", json_schema: { name: "n", schema: { type: "object" } } }
  const attempts = (step: Step, of: InferenceRequest) => {
    const log = AttemptLog.make()
    const failover = { request: of, candidates: [candidate("groq")] as const, maxTokens: () => null, log }
    const { layer } = scripted({ groq: [step] })
    return Effect.gen(function* () {
      const answers = yield* StructuredAnswers
      if (of.stream)
        yield* Effect.ignore(Effect.flatMap(answers.stream(failover), ({ source }) => Stream.runDrain(Source.toStream(source))))
      else yield* Effect.ignore(answers.send(failover))
      return log.attempts.map(({ error, inForm }) => [error, inForm])
    }).pipe(
      Effect.scoped,
      Effect.provide(
        StructuredAnswers.layer.pipe(
          Layer.provide(Failover.layer),
          Layer.provide([
            layer,
            Layer.succeed(JsonSchemas, {
              check: (_, value) => (typeof value === "object" ? null : { path: "", message: "no object" })
            }),
            Breakers.layer({ failures: 5, recoveryMs: 1_000 }),
            ProviderRegistry.layer(new Map([["groq", { apiKey: Redacted.make("key") }]]))
          ])
        )
      )
    )
  }

  it.effect("X-17 is noted on the call that gave it: kept, broken, mended; whole and in pieces", () =>
    Effect.gen(function* () {
      for (const stream of [false, true]) {
        assert.deepStrictEqual(yield* attempts(answer("{}"), asked({ stream })), [[null, true]])
        assert.deepStrictEqual(yield* attempts(answer("no"), asked({ stream })), [[null, false]])
        assert.deepStrictEqual(yield* attempts(answer("no"), request({ stream })), [[null, undefined]])
      }
      const mended = yield* attempts(answer("no"), request({ body: { response_format: schema } }))
      assert.deepStrictEqual(mended, [
        [null, false],
        [null, false]
      ])
    })
  )
})
