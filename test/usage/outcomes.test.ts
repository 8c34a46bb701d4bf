/**
 * How ends of requests are told.
 */
import { assert, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { zero } from "../../schemas/Money.ts"
import { none } from "../../schemas/Usage.ts"
import { among, type Outcome } from "../../src/usage/Outcomes.ts"
import { caller } from "../support/outcomes.ts"
import { candidate, request } from "../support/scripted.ts"

const outcome: Outcome = {
  caller,
  request: request(),
  rid: "r",
  clientRequestId: null,
  candidate: candidate("groq"),
  attempts: [],
  routing: null,
  usage: none,
  cost: zero,
  outcome: "ok",
  status: 200,
  startedAt: 0,
  endedAt: 1,
  timeToFirstChunkMs: null
}

it.effect("everybody is told at once, also after one that throws, and what a listener gives to be done is done", () =>
  Effect.gen(function* () {
    const done = yield* Deferred.make<string>()
    const heard: Array<string> = []
    const outcomes = yield* among([
      () => {
        throw new Error("a listener that breaks")
      },
      ({ rid }) => Deferred.succeed(done, rid),
      () => Effect.die("what was given breaks"),
      ({ rid }) => {
        heard.push(rid)
      }
    ])
    outcomes.tell(outcome)
    assert.deepStrictEqual(heard, ["r"])
    assert.strictEqual(yield* Deferred.await(done), "r")
  })
)

it.effect("whoever has subscribed is told until the Scope closes", () =>
  Effect.gen(function* () {
    const heard: Array<string> = []
    const outcomes = yield* among([])
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* outcomes.subscribe(({ rid }) => {
          heard.push(rid)
        })
        outcomes.tell(outcome)
        yield* outcomes.publish({ ...outcome, rid: "published" })
      })
    )
    outcomes.tell({ ...outcome, rid: "late" })
    assert.deepStrictEqual(heard, ["r", "published"])
  })
)
