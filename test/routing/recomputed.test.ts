/**
 * What routers choose from the shipped catalog, worked out again from the data file alone, in other words than the code's.
 */
import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { CatalogListing } from "../../src/catalog/CatalogListing.ts"
import { Resolution } from "../../src/catalog/Resolution.ts"
import { toConversation } from "../../src/http/OpenAiChatConversation.ts"
import { Breakers } from "../../src/providers/Breakers.ts"
import { ProviderRegistry } from "../../src/providers/ProviderRegistry.ts"
import { Latencies } from "../../src/routing/Latencies.ts"
import { request } from "../support/scripted.ts"

interface Price {
  readonly prompt: string
  readonly completion: string
}
interface Row {
  readonly id: string
  readonly modality: string
  readonly contextLength: number
  readonly free: boolean
  readonly deprecated?: boolean
  readonly tier?: number
  readonly benchmarks: Readonly<Record<string, number | null>>
  readonly supports: { readonly tools: boolean; readonly reasoning: boolean }
  readonly pricing: Price | null
  readonly providers: ReadonlyArray<{ readonly slug: string; readonly pricing?: Price }>
}

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const data: ReadonlyArray<Row> = JSON.parse(readFileSync(join(root, "src", "catalog", "models.json"), "utf8"))

/** USD per million tokens, two of input to one of output. */
const blend = (price: Price) => (2 * Number(price.prompt) * 1e6 + Number(price.completion) * 1e6) / 3
const percentages = ["swe_bench", "mmlu", "humaneval", "math", "gpqa", "mmlu_pro", "livebench"]

/** Milliseconds by the name alone, for two thirds of the models. */
const p50Of = (id: string): number | null => {
  const sum = [...id].reduce((all, char) => (all * 31 + char.charCodeAt(0)) % 9_973, 7)
  return sum % 3 === 0 ? null : 200 + (sum % 4_000)
}

/** Everything that the data needs only openai, anthropic, groq, fireworks and mistral for: each model at the first of these it lists. */
const slugs = ["openai", "anthropic", "groq", "fireworks", "mistral"]
const chatModels = data.flatMap((row) => {
  const [from = "", to = ""] = row.modality.split("->")
  if (row.free || row.deprecated === true || !to.split("+").includes("text") || from.startsWith("audio")) return []
  // Of providers outside the chain the model's own order counts; fireworks is of the chain.
  const ours = ["openai", "anthropic", "fireworks", ...row.providers.map(({ slug }) => slug)].find(
    (slug) => slugs.includes(slug) && row.providers.some((provider) => provider.slug === slug)
  )
  const price = row.providers.find(({ slug }) => slug === ours)?.pricing ?? row.pricing
  if (ours === undefined || price === null) return []
  const known = percentages.flatMap((name) => row.benchmarks[name] ?? [])
  const quality = known.length === 0 ? 50 : known.reduce((sum, value) => sum + value, 0) / known.length
  const p50 = p50Of(row.id)
  return [{ row, quality, blended: blend(price), p50 }]
})
type Known = (typeof chatModels)[number]

const world = Resolution.layer.pipe(
  Layer.provide(Layer.succeed(Latencies, p50Of)),
  Layer.provideMerge(CatalogListing.layer),
  Layer.provideMerge(Catalog.layer),
  Layer.provideMerge(Breakers.layer({ failures: 1, recoveryMs: 60_000 })),
  Layer.provideMerge(ProviderRegistry.layer(new Map(slugs.map((slug) => [slug, { apiKey: Redacted.make("key") }]))))
)

const order = (name: string, content: string) =>
  Effect.flatMap(Resolution, (resolution) => {
    const body = { messages: [{ role: "user", content }] }
    return Effect.map(resolution.resolve(request({ model: name, body, conversation: () => toConversation(body) })), ({ routing }) =>
      routing === null ? [] : [routing.model, ...routing.alternatives]
    )
  })

/** The three first by a figure, the least first; then the cheaper, then by name. */
const three = (models: ReadonlyArray<Known>, figure: (known: Known) => number) =>
  models
    .map((known) => ({ known, figure: figure(known) }))
    .toSorted((a, b) =>
      a.figure === b.figure ? a.known.blended - b.known.blended || (a.known.row.id < b.known.row.id ? -1 : 1) : a.figure < b.figure ? -1 : 1
    )
    .slice(0, 3)
    .map(({ known }) => known.row.id)

/** A price in the code router's own units may differ in the last place of a double. */
const rounded = (value: number) => Math.round(value * 1e9) / 1e9

describe("choices recomputed from the data", () => {
  it.effect("CM-4.1.4 CM-4.1.5 CM-4.1.6 CM-4.1.7 the general router, in each mode, with the two next best", () =>
    Effect.gen(function* () {
      assert.isAbove(chatModels.length, 60)
      assert.deepStrictEqual(
        yield* order("router:general:quality", "hello"),
        three(chatModels, ({ quality }) => -quality)
      )
      assert.deepStrictEqual(
        yield* order("router:general:cost", "hello"),
        three(chatModels, ({ blended, quality }) => (quality < 60 ? Number.POSITIVE_INFINITY : blended))
      )
      assert.deepStrictEqual(
        yield* order("router:general:latency", "hello"),
        three(chatModels, ({ p50 }) => p50 ?? Number.POSITIVE_INFINITY)
      )
      const span = (values: ReadonlyArray<number>) => [Math.min(...values), Math.max(...values)] as const
      const [worst, best] = span(chatModels.map(({ quality }) => quality))
      const [cheap, dear] = span(chatModels.map(({ blended }) => blended))
      const [fast, slow] = span(chatModels.flatMap(({ p50 }) => p50 ?? []))
      assert.deepStrictEqual(
        yield* order("router:general:balanced", "hello"),
        three(
          chatModels,
          ({ blended, p50, quality }) =>
            -rounded(
              (0.5 * (quality - worst)) / (best - worst) +
                (0.3 * (dear - blended)) / (dear - cheap) +
                0.2 * (p50 === null ? 0.5 : (slow - p50) / (slow - fast))
            )
        )
      )
    }).pipe(Effect.provide(world))
  )

  const prompts = [
    ["fix a typo in the readme", "simple_code", 4, 4],
    ["explain what does this regex match", "code_explanation", 3, 4],
    ["write a function that sorts a list", "code_generation", 3, 3],
    ["there is an error: it is not working and will crash", "debugging", 2, 2],
    ["refactor and simplify this", "refactoring", 2, 2],
    ["design a scalable microservice system", "architecture", 1, 1],
    ["build it end-to-end and from scratch, a multi-step job", "agentic", 1, 1]
  ] as const

  const tierOf = ({ row }: Known): number => {
    if (row.tier !== undefined) return row.tier
    const swe = row.benchmarks["swe_bench"] ?? null
    return swe === null ? 4 : swe >= 70 ? 1 : swe >= 55 ? 2 : swe >= 35 ? 3 : 4
  }

  const isGoodAt = ({ row }: Known, category: string): boolean => {
    const of = (name: string) => row.benchmarks[name] ?? 0
    if (category === "code_generation" || category === "simple_code") return of("humaneval") >= 85
    if (category === "debugging" || category === "refactoring") return of("swe_bench") >= 50
    if (category === "agentic") return of("swe_bench") >= 65 && row.supports.tools
    return row.supports.reasoning && of("gpqa") >= 65
  }

  for (const [text, category, byDefault, weakest] of prompts) {
    it.effect(`CM-4.2.5 CM-4.2.7 the code router for “${text}”, in each mode`, () =>
      Effect.gen(function* () {
        const allowed = chatModels.filter((known) => tierOf(known) <= weakest)
        assert.deepStrictEqual((yield* order("router:code:price", text))[0], three(allowed, ({ blended }) => blended)[0], "price")
        for (const [mode, tier] of [
          ["auto", byDefault],
          ["quality", Math.max(1, byDefault - 1)],
          ["agentic", 1]
        ] as const) {
          // The tier asked for, else the next stronger one that has somebody.
          const within = [tier, ...Array.from({ length: tier - 1 }, (_, i) => tier - 1 - i)]
            .map((wanted) => chatModels.filter((known) => tierOf(known) === wanted))
            .find((models) => models.length > 0)
          const score = (known: Known): number =>
            (isGoodAt(known, category) ? 2 : 0) +
            (isGoodAt(known, "code_generation") ? 0.5 : 0) +
            (isGoodAt(known, "debugging") ? 0.5 : 0) +
            (mode === "auto" ? 0 : 0.05 * (known.row.benchmarks["swe_bench"] ?? 0))
          const expected = three(within ?? [], (known) => -rounded(score(known)))[0]
          assert.deepStrictEqual((yield* order(`router:code:${mode}`, text))[0], expected, mode)
        }
      }).pipe(Effect.provide(world))
    )
  }
})
