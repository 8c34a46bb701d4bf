import { assert, describe, it } from "@effect/vitest"
import { estimateTokens } from "../../schemas/Usage.ts"
import { Meter } from "../../src/streams/Meter.ts"

describe("token estimation", () => {
  it("CM-14.1 400 characters are 100 tokens, empty text none", () => {
    assert.strictEqual(estimateTokens(400), 100)
    assert.strictEqual(estimateTokens(401), 101)
    assert.strictEqual(estimateTokens(0), 0)
  })

  it("CM-14.2 the meter estimates what passed until the provider gives figures", () => {
    const meter = new Meter(25)
    meter.feed([{ _tag: "Text", choice: 0, text: "x".repeat(40) }])
    meter.feed([{ _tag: "Reasoning", choice: 0, text: "y".repeat(8) }])
    assert.deepInclude(meter.usage(), { input: 25, output: 10, reasoning: 2, source: "estimated" })
    const usage = {
      input: 1,
      cachedRead: 2,
      cacheWrite: 3,
      output: 4,
      reasoning: 5,
      images: 0,
      audioSeconds: 0,
      source: "provider" as const
    }
    meter.feed([{ _tag: "Usage", usage }])
    assert.deepStrictEqual(meter.usage(), usage)
  })
})
