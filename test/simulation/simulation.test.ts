/**
 * The ledger in virtual time: thousands of histories with everything that can go wrong, each decided by its seed.
 *
 * A failing seed is played again alone with `SIMULATION_SEED=… npm test -- test/simulation`; `SIMULATION_COUNT` plays more.
 */
import { assert, describe, it } from "@effect/vitest"
import { type Mutant, simulate } from "./History.ts"

const only = process.env["SIMULATION_SEED"]
const count = Number(process.env["SIMULATION_COUNT"] ?? 10_000)

/** Lets the test's runner breathe. */
const breathe = () => new Promise((resolve) => setImmediate(resolve))

describe("the ledger in simulated time", () => {
  it(`keeps its invariants in ${only === undefined ? `${count} histories` : `the history of seed ${only}`}`, async () => {
    let [requests, served, wrong] = [0, 0, 0]
    const first = only === undefined ? 1 : Number(only)
    const last = only === undefined ? count : first
    for (let seed = first; seed <= last; seed++) {
      const verdict = simulate(seed, {}, only === undefined ? undefined : (what) => console.log(what))
      assert.deepStrictEqual(verdict.violations, [], `seed ${seed}; again: SIMULATION_SEED=${seed} npm test -- test/simulation`)
      requests += verdict.requests
      served += verdict.served
      wrong += verdict.wrongRefusals
      if (seed % 100 === 0) await breathe()
    }
    if (only !== undefined) return
    // A simulation in which nothing happens proves nothing.
    assert.isAbove(requests, count * 10)
    assert.isAbove(served, requests * 0.4)
    assert.isBelow(wrong, requests * 0.005, "402 though the money was there")
  }, 600_000)

  it("plays the same history again from the same seed", () => {
    for (const seed of [7, 77, 777]) assert.deepStrictEqual(simulate(seed), simulate(seed))
    assert.notStrictEqual(simulate(7).trace, simulate(8).trace)
  })

  const mutants: ReadonlyArray<readonly [string, Mutant]> = [
    ["no fence", { noFence: true }],
    ["no batch number", { noBatchNumber: true }],
    ["no unique request id", { noUniqueRid: true }],
    ["an unbounded late charge", { unboundedLateCharge: true }],
    ["leases reclaimed too early", { reclaimAtTtl: true }],
    ["no deadline", { noDeadline: true }],
    ["the monotonic clock alone", { monotonicOnly: true }],
    ["an end told before its commit", { endBeforeCommit: true }],
    ["a hold freed early", { holdFreedEarly: true }],
    ["a journal that keeps nothing", { journalForgets: true }]
  ]
  for (const [name, mutant] of mutants) {
    it(`would notice ${name}`, async () => {
      for (let seed = 1; seed <= 6_000; seed++) {
        if (simulate(seed, mutant).violations.length > 0) return
        if (seed % 100 === 0) await breathe()
      }
      assert.fail("6,000 histories passed")
    }, 120_000)
  }
})
