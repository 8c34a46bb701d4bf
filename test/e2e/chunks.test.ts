/**
 * What a chunk of a stream costs besides itself: nothing that is counted, traced or decoded by a schema.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Metric, Tracer } from "effect"
import { HttpEffect } from "effect/http"
import { vi } from "vitest"
import { type MockProvider, startMockProvider } from "../../bench/MockProvider.ts"
import * as Embedded from "../../layers/Embedded.ts"
import { App } from "../../src/http/App.ts"
import { temporaryDirectory } from "../support/server.ts"

const counted = vi.hoisted(() => ({ decodes: 0, spans: 0, metrics: 0 }))

vi.mock("effect", async (original) => {
  const effect = await original<typeof import("effect")>()
  const isDecoder = (name: string): boolean => /^(decode|encode)(Unknown)?(Sync|Exit|Effect|Option|Result|Promise)$/.test(name)
  const counting = (made: unknown): unknown =>
    typeof made !== "function"
      ? made
      : (...given: ReadonlyArray<unknown>): unknown => {
          counted.decodes++
          return Reflect.apply(made, undefined, given)
        }
  const wrapped = Object.entries(effect.Schema).map(([name, value]: [string, unknown]) => [
    name,
    isDecoder(name) && typeof value === "function"
      ? (...given: ReadonlyArray<unknown>): unknown => counting(Reflect.apply(value, undefined, given))
      : value
  ])
  return { ...effect, Schema: Object.fromEntries(wrapped) }
})

/** Counts what is updated, by whatever has found its series here. */
class CountingRegistry extends Map {
  override set(key: string, series: Metric.Metric.Metadata<unknown, unknown>) {
    const { hooks } = series
    const counting: typeof hooks = {
      get: hooks.get,
      update: (input, context) => {
        counted.metrics++
        hooks.update(input, context)
      },
      modify: (input, context) => {
        counted.metrics++
        hooks.modify(input, context)
      }
    }
    return super.set(key, { ...series, hooks: counting })
  }
}

const tracer = Tracer.make({
  span: (options) => {
    counted.spans++
    return new Tracer.NativeSpan(options)
  }
})

const watched = Layer.mergeAll(
  Layer.succeed(Tracer.Tracer, tracer),
  Layer.succeed(Metric.MetricRegistry, new CountingRegistry()),
  Logger.layer([])
)

const FEW = 2
const MANY = 200

describe("a stream's chunks", () => {
  const directory = temporaryDirectory()
  let mock: MockProvider
  let stop: () => Promise<void>
  let ask: (body: unknown) => Promise<string>

  beforeAll(async () => {
    mock = await startMockProvider()
    const app = Embedded.layerApp({
      dataDir: directory.path,
      adminApiKey: "admin-key",
      providers: { openai: { apiKey: "sk-openai", baseUrl: mock.url } }
    })
    const toHandler = (built: Context.Context<App>) => Effect.succeed(Context.get(built, App))
    const { dispose, handler } = HttpEffect.toWebHandlerLayerWith(Layer.provideMerge(app, watched), { toHandler })
    stop = dispose
    const send = (path: string, key: string, body: unknown) =>
      handler(
        new Request(`http://sluice${path}`, {
          method: "POST",
          headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
          body: JSON.stringify(body)
        })
      )
    const user = JSON.parse(await (await send("/admin/users", "admin-key", { email: "ada@example.com", plan: "dev" })).text())
    ask = async (body) => {
      const response = await send("/v1/chat/completions", user.api_key, body)
      const text = await response.text()
      if (response.status !== 200) throw new Error(text)
      return text
    }
  }, 60_000)

  afterAll(async () => {
    await stop()
    await mock.close()
    directory.remove()
  })

  /** What one answer in so many pieces is counted as. */
  const streamed = async (chunks: number) => {
    const before = { ...counted }
    mock.script({ text: "word ".repeat(chunks), chunks, usage: { prompt_tokens: 7, completion_tokens: 9, total_tokens: 16 } })
    const text = await ask({ model: "openai/gpt-4o-mini", stream: true, messages: [{ role: "user", content: "hi" }] })
    assert.isAtLeast(text.split("\n\n").filter((event) => event.includes('"content":"')).length, chunks)
    return {
      spans: counted.spans - before.spans,
      metrics: counted.metrics - before.metrics,
      decodes: counted.decodes - before.decodes
    }
  }

  it("make no span, update no metric and are decoded by no schema: two hundred cost what two do", async () => {
    // What is made once only is made by the first.
    await streamed(FEW)
    const few = await streamed(FEW)
    const many = await streamed(MANY)
    assert.isAbove(few.spans, 0)
    assert.isAbove(few.metrics, 0)
    assert.isAbove(counted.decodes, 0)
    // Work off the path, as of the database, falls now into the one, now into the other.
    for (const kind of ["spans", "metrics", "decodes"] as const) assert.isBelow(Math.abs(many[kind] - few[kind]), MANY / 10, kind)
  }, 60_000)
})
