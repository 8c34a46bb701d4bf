import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Utf8Encoder } from "../../src/streams/Utf8.ts"

const Pieces = Schema.Array(Schema.String)

describe("text to bytes", () => {
  it.effect.prop("are those of UTF-8, and stay so whatever comes after", [Pieces], ([pieces]) =>
    Effect.sync(() => {
      const utf8 = new Utf8Encoder()
      const all = [...pieces, "é".repeat(5_000), "🌍 ".repeat(40), "x".repeat(20_000), ...pieces]
      const encoded = all.map((text) => utf8.encode(text))
      for (let i = 0; i < 500; i++) utf8.encode("something else that may not be written over the others")
      assert.deepStrictEqual(
        encoded.map((bytes) => new TextDecoder().decode(bytes)),
        all.map((text) => text.toWellFormed())
      )
    })
  )
})
