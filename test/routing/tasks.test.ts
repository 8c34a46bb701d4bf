/**
 * What models are likely good at, what prompts ask for, and what the general router makes of both.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { shipped } from "../../src/catalog/CatalogData.ts"
import { CatalogListing } from "../../src/catalog/CatalogListing.ts"
import { Resolution } from "../../src/catalog/Resolution.ts"
import { toConversation } from "../../src/http/OpenAiChatConversation.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { classifyGeneral, LOW_CONFIDENCE } from "../../src/routing/GeneralTask.ts"
import { priorOf, qualityFor, scales, taskPriors, tasks } from "../../src/routing/TaskPriors.ts"
import { candidate, model, request } from "../support/scripted.ts"

describe("task priors", () => {
  it("X-16 are measured against the results of the shipped models", () => {
    const results = new Map<string, Array<number>>()
    for (const { model: entry } of shipped().models) {
      for (const [name, value] of Object.entries(entry.benchmarks)) {
        if (value !== null) results.set(name, [...(results.get(name) ?? []), value])
      }
    }
    assert.isAtLeast(results.size, 6)
    for (const [name, all] of results) {
      const sorted = all.toSorted((a, b) => a - b)
      const at = (part: number) => sorted[Math.round(part * (sorted.length - 1))] ?? Number.NaN
      assert.deepStrictEqual(scales[name], [at(0.1), at(0.9)], name)
    }
  })

  it("X-16 every task has one of its own where a benchmark speaks of it, else null", () => {
    assert.deepStrictEqual(
      Object.values(taskPriors({ benchmarks: {} })),
      tasks.map(() => null)
    )
    assert.strictEqual(priorOf({ benchmarks: { swe_bench: 77.8, humaneval: 45.1, mmlu: 1 } }, "code"), 0.667)
    assert.strictEqual(priorOf({ benchmarks: { swe_bench: null, humaneval: 99 } }, "code"), 1)
    assert.isNull(priorOf({ benchmarks: { swe_bench: 77.8 } }, "translation"))
    for (const { model: entry } of shipped().models) {
      for (const prior of Object.values(taskPriors(entry))) if (prior !== null) assert.isTrue(prior >= 0 && prior <= 1, entry.id)
    }
    assert.strictEqual(qualityFor(70, { benchmarks: {} }, "code"), 70)
    assert.strictEqual(qualityFor(70, { benchmarks: { swe_bench: 99 } }, "code"), 75)
    assert.strictEqual(qualityFor(70, { benchmarks: { swe_bench: 1 } }, "code"), 65)
  })
})

describe("what a prompt asks for", () => {
  for (const [text, category] of [
    ["Translate this letter into French", "translation"],
    ["Please summarize the following report", "summarization"],
    ["Write a function that sorts a list", "code_generation"],
    ["Extract the invoice number", "extraction"],
    ["Write a short story about a fox", "creative_writing"],
    ["Calculate the area, then solve for x", "math_calculation"],
    ["Who was the first person on the moon?", "simple_qa"]
  ] as const) {
    it(`X-16 “${text}” is ${category}`, () => {
      const told = classifyGeneral(text)
      assert.strictEqual(told?.category, category)
      assert.isAtLeast(told?.confidence ?? 0, LOW_CONFIDENCE)
    })
  }

  it("X-16 is not known where words say nothing, or say two things", () => {
    assert.isNull(classifyGeneral("hello there"))
    assert.isNull(classifyGeneral("untranslated, preextracted"))
    assert.isBelow(classifyGeneral("translate the poem")?.confidence ?? 1, LOW_CONFIDENCE)
  })
})

const listed = [
  model("org/coder", ["groq"], { benchmarks: { swe_bench: 78, mmlu: 70 } }),
  model("org/scholar", ["groq"], { benchmarks: { swe_bench: 62, mmlu: 89 } })
]

const world = Resolution.layer.pipe(
  Layer.provideMerge(CatalogListing.layer),
  Layer.provideMerge(
    Catalog.layerFrom(() => ({ aliases: new Map(), models: listed.map((entry) => ({ model: entry, pricing: candidate("x").pricing })) }))
  ),
  Layer.provideMerge(Breakers.layer({ failures: 5, recoveryMs: 1_000 })),
  Layer.provideMerge(ProviderRegistry.layer(new Map([["groq", { apiKey: Redacted.make("key") }]])))
)

const routed = (text: string) =>
  Effect.flatMap(Resolution, (resolution) => {
    const body = { messages: [{ role: "user", content: text }] }
    return resolution.resolve(request({ model: "router:general:quality", body, conversation: () => toConversation(body) }))
  })

describe("the general router", () => {
  it.effect("X-16 takes the model that is better at what is asked, where that is known for sure", () =>
    Effect.gen(function* () {
      const code = yield* routed("Write a function that sorts a list")
      assert.deepInclude(code.routing, { model: "org/coder", task_category: "code_generation" })
      const question = yield* routed("Who was the first person on the moon?")
      assert.deepInclude(question.routing, { model: "org/scholar", task_category: "simple_qa" })
      const unsure = yield* routed("hello")
      assert.deepInclude(unsure.routing, { model: "org/scholar", quality: 75.5 })
      assert.isUndefined(unsure.routing?.task_category)
    }).pipe(Effect.provide(world))
  )

  it.effect("X-16 the list shows what models are likely good at", () =>
    Effect.gen(function* () {
      const row = yield* (yield* CatalogListing).one("org/coder")
      assert.deepStrictEqual(row?.["task_priors"], {
        code: 1,
        reasoning: null,
        creative_writing: null,
        summarization: 0.097,
        translation: 0.097,
        extraction: null,
        simple_qa: 0.097
      })
    }).pipe(Effect.provide(world))
  )
})
