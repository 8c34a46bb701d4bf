/**
 * What is kept of models at providers, and what of it is forgotten.
 */
import { assert, it } from "@effect/vitest"
import { RecentModels } from "../../src/health/RecentModels.ts"
import { RunningMedian } from "../../src/health/RunningMedian.ts"

it("the longest unused is forgotten first, and is new when it comes again", () => {
  let made = 0
  const recent = new RecentModels(3, () => ++made)
  const names = () => recent.all().map(({ model, provider }) => `${provider} ${model}`)
  assert.deepStrictEqual([recent.use("a", "x"), recent.use("a", "y"), recent.use("b", "x"), recent.use("a", "x")], [1, 2, 3, 1])
  assert.deepStrictEqual(names(), ["a y", "b x", "a x"])
  recent.use("b", "x")
  recent.use("b", "x")
  recent.use("c", "z")
  assert.deepStrictEqual(names(), ["a x", "b x", "c z"])
  assert.isUndefined(recent.get("a", "y"))
  assert.strictEqual(recent.use("a", "y"), 5)
  assert.isUndefined(recent.get("a", "x"))
  assert.deepStrictEqual(names(), ["b x", "c z", "a y"])
})

it("a median is that of the latest figures within the window, as sorting them would have it", () => {
  const median = new RunningMedian()
  const figures: Array<{ readonly at: number; readonly value: number }> = []
  let seed = 7
  for (let at = 0; at < 2_000; at++) {
    seed = (seed * 48_271) % 2_147_483_647
    figures.push({ at, value: seed % 50 })
    median.add(at, seed % 50)
    const window = at % 3 === 0 ? 1_000 : 40
    if (at % 5 !== 0) continue
    const now = at + (at % 50 === 0 ? 39 : 0)
    const seen = median.read(now, window)
    // What was once found to be too old is forgotten.
    if (window === 40) figures.splice(0, figures.length, ...figures.slice(-65).filter((figure) => figure.at > now - window))
    const sorted = figures
      .slice(-65)
      .map(({ value }) => value)
      .sort((a, b) => a - b)
    assert.strictEqual(seen, sorted.length < 3 ? null : (sorted[Math.floor((sorted.length - 1) / 2)] ?? null))
  }
})
