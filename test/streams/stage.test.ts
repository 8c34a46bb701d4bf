/**
 * A stage of a stream and its five ends.
 */
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { joined, type Steps, stage, type Watching } from "../../src/streams/Stage.ts"

const steps = (seen: Array<string>, more: Partial<Steps<number, string, string, string>> = {}): Steps<number, string, string, string> => ({
  each: Arr.map(String),
  end: Effect.sync(() => {
    seen.push("end")
    return "last"
  }),
  failed: (error) =>
    Effect.sync(() => {
      seen.push(error)
      return "failed"
    }),
  ...more
})

describe("a stage", () => {
  it.effect("maps what comes in the groups that it comes in, and ends once", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const groups: Array<ReadonlyArray<string>> = []
      const all = Stream.concat(Stream.fromArray([1, 2]), Stream.fromArray([3]))
      yield* Stream.runForEachArray(stage(all, steps(seen)), (group) => Effect.sync(() => groups.push([...group])))
      assert.deepStrictEqual(groups, [["1", "2"], ["3"], ["last"]])
      assert.deepStrictEqual(seen, ["end"])
    })
  )

  it.effect("an empty one has its end; an end may give nothing", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      assert.deepStrictEqual(yield* Stream.runCollect(stage(Stream.empty, steps(seen))), ["last"])
      assert.deepStrictEqual(yield* Stream.runCollect(stage(Stream.make(1), steps(seen, { end: Effect.succeed(null) }))), ["1"])
    })
  )

  it.effect("a failure has an end of its own, which may fail itself; a defect has none", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const broken = Stream.concat(Stream.make(1), Stream.fail("broken"))
      assert.deepStrictEqual(yield* Stream.runCollect(stage(broken, steps(seen))), ["1", "failed"])
      assert.deepStrictEqual(seen, ["broken"])
      const again = stage(broken, steps(seen, { failed: (error) => Effect.fail(`${error} again`) }))
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(again)), "broken again")
      const exit = yield* Effect.exit(Stream.runDrain(stage(Stream.die("defect"), steps(seen))))
      assert.isTrue(Exit.hasDies(exit))
      assert.deepStrictEqual(seen, ["broken"])
    })
  )

  it.effect("one that stalls, and whose caller leaves, has no end and lets go what is above", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const stalled = yield* Deferred.make<void>()
      const above = Stream.concat(
        Stream.make(1),
        Stream.fromEffect(Effect.andThen(Deferred.succeed(stalled, undefined), Effect.never))
      ).pipe(Stream.ensuring(Effect.sync(() => seen.push("let go"))))
      const fiber = yield* Effect.forkChild(Stream.runDrain(stage(above, steps(seen))), { startImmediately: true })
      yield* Deferred.await(stalled)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(seen, ["let go"])
    })
  )

  it.effect("two joined are one after the other: each sees what passes, and both see to the end, whatever it is", () =>
    Effect.gen(function* () {
      const run = (stream: Stream.Stream<number, string>, endsWith: Effect.Effect<void, string> = Effect.void) => {
        const seen: Array<string> = []
        const watching: Watching<number, string> = {
          each: (pieces) => {
            seen.push(...pieces.map((piece) => `watched ${piece}`))
            return pieces
          },
          end: Effect.andThen(
            Effect.sync(() => seen.push("watched end")),
            endsWith
          ),
          failed: (error) =>
            Effect.andThen(
              Effect.sync(() => seen.push(`watched ${error}`)),
              Effect.fail(error)
            )
        }
        return Effect.map(Stream.runCollect(stage(stream, joined(watching, steps(seen)))), (given) => ({ given, seen }))
      }
      assert.deepStrictEqual(yield* run(Stream.make(1)), { given: ["1", "last"], seen: ["watched 1", "watched end", "end"] })
      const broken = Stream.concat(Stream.make(1), Stream.fail("broken"))
      assert.deepStrictEqual(yield* run(broken), { given: ["1", "failed"], seen: ["watched 1", "watched broken", "broken"] })
      const late = yield* run(Stream.make(1), Effect.fail("too late"))
      assert.deepStrictEqual(late, { given: ["1", "failed"], seen: ["watched 1", "watched end", "too late"] })
    })
  )
})
