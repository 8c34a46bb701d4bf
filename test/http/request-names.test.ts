/**
 * Names of requests.
 */

import { randomFillSync } from "node:crypto"
import { assert, it } from "@effect/vitest"
import { RANDOM_BYTES, RequestNames } from "../../src/http/RequestNames.ts"

const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const taker = (fill: () => Uint8Array) => {
  const names = new RequestNames()
  return (now: number): string => {
    const name = names.next(now)
    if (name !== null) return name
    names.fill(fill())
    return names.next(now) ?? ""
  }
}

const timeOf = (name: string): number => Number.parseInt(name.slice(0, 8) + name.slice(9, 13), 16)

it("are UUIDs of version 7, each after the one before it, also within a millisecond and when the clock goes back", () => {
  const next = taker(() => randomFillSync(new Uint8Array(RANDOM_BYTES)))
  let last = ""
  for (let n = 0; n < 200_000; n++) {
    const now = 1_700_000_000_000 + Math.floor(n / 100) - (n % 7 === 0 ? 5 : 0)
    const name = next(now)
    if (!form.test(name)) assert.fail(`${name} is no UUID`)
    if (!(name > last)) assert.fail(`${name} does not come after ${last}`)
    last = name
  }
  assert.strictEqual(timeOf(last), 1_700_000_000_000 + 1_999)
})

it("count on where their lowest digits are full", () => {
  const next = taker(() => new Uint8Array(RANDOM_BYTES).fill(0xff))
  assert.strictEqual(next(1_000).slice(14, 28), "77ff-bfff-7fff")
  let full = ""
  for (let n = 0; n < 0x80_00; n++) full = next(1_000)
  assert.strictEqual(full.slice(14, 28), "77ff-bfff-ffff")
  const after = next(1_000)
  assert.strictEqual(after.slice(14, 28), "7800-8000-0000")
  assert.strictEqual(timeOf(after), 1_000)
})

it("end in what is left to chance", () => {
  const next = taker(() => randomFillSync(new Uint8Array(RANDOM_BYTES)))
  const tails = new Set(Array.from({ length: 5_000 }, () => next(1_000).slice(28)))
  assert.isAbove(tails.size, 4_990)
})
