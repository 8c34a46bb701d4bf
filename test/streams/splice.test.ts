import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Splice } from "../../src/streams/Splice.ts"

/** What the caller reads when `sent` goes on in pieces of another answer; null when that is another text. */
const joined = (sent: string, pieces: ReadonlyArray<string>): string | null => {
  const splice = new Splice(sent)
  const rest = [...pieces.map((piece) => splice.push(piece)), splice.end()].join("")
  return splice.isRestart ? null : sent + rest
}

/** Pieces of the given sizes, again and again. */
const pieces = (text: string, sizes: ReadonlyArray<number>): ReadonlyArray<string> => {
  const out: Array<string> = []
  for (let at = 0, i = 0; at < text.length; i++) {
    const size = sizes[i % Math.max(1, sizes.length)] ?? 3
    out.push(text.slice(at, at + size))
    at += size
  }
  return out
}

describe("splice", () => {
  const cases: ReadonlyArray<readonly [string, string, string, string | null]> = [
    ["goes on in the middle of a sentence", "The quick brown", " fox jumps.", "The quick brown fox jumps."],
    ["goes on in the middle of a word", "The qui", "ck brown", "The quick brown"],
    ["white space that was sent comes once", "The quick ", " brown fox", "The quick brown fox"],
    ["white space that was sent and is not said again", "The quick ", "brown fox", "The quick brown fox"],
    ["the rest of a paragraph break", "One.\n", "\n\nTwo.", "One.\n\nTwo."],
    ["begins the text anew", "The quick brown", "The quick brown fox", "The quick brown fox"],
    ["begins the text anew after white space", "The quick brown ", "\n The quick brown fox", "The quick brown fox"],
    ["begins a short text anew", "Hello", "Hello world", "Hello world"],
    ["begins a text anew and has no more", "The quick brown", "The quick brown", "The quick brown"],
    ["takes up the last word", "The quick brown", "brown fox", "The quick brown fox"],
    ["takes up half a line", "It was late. The quick brown", " The quick brown fox", "It was late. The quick brown fox"],
    ["takes up a line without the break before it", "a: 1\nsome words her", "some words here\n", "a: 1\nsome words here\n"],
    ["says a word twice", "That is what he had", " had to do", "That is what he had had to do"],
    ["draws a line longer", "=====", "=====\nTitle", "=====\nTitle"],
    ["says a syllable again in the middle of a word", "哈哈", "大笑", "哈哈大笑"],
    ["has nothing to add", "The end.", "", "The end."],
    ["was white space only", "\n\n", "\n\nHello", "\n\nHello"],
    ["begins anew and says something else", "The quick brown fox jumps over it", "The quick brown fox sleeps.", null],
    ["begins a short text anew and says something else", "The quick brown", "The quick red", null],
    ["begins anew and ends before", "The quick brown fox jumps over it", "The quick brown fox jumps", null],
    [
      "begins with the same word by chance",
      "The fox jumps over the dog.",
      " The dog sleeps.",
      "The fox jumps over the dog. The dog sleeps."
    ],
    ["brings the next line of a table", "| a | b |\n| - | - |\n| 1 | 2 |\n", "| 3 | 4 |\n", "| a | b |\n| - | - |\n| 1 | 2 |\n| 3 | 4 |\n"]
  ]
  for (const [name, sent, continuation, expected] of cases) {
    for (const size of [1, 3, 1_000]) {
      it(`${name} (in pieces of ${size})`, () => assert.strictEqual(joined(sent, pieces(continuation, [size])), expected))
    }
  }

  it("once joined, everything passes as it comes", () => {
    const splice = new Splice("The quick brown")
    assert.strictEqual(splice.push(" fox"), " fox")
    assert.strictEqual(splice.push("The quick brown"), "The quick brown")
    assert.strictEqual(splice.end(), "")
  })

  const Words = Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99_999 })))
  const Sizes = Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 7 })))
  const spaces = [" ", " ", " ", "\n", "\n\n", ", ", ". "]
  const textOf = (numbers: ReadonlyArray<number>) => numbers.map((n, i) => `w${i}x${n}${spaces[n % spaces.length]}`).join("")

  it.prop(
    "wherever a text breaks off, its continuation and its repetition make it whole, however they are cut",
    [Words, Sizes, Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 }))],
    ([numbers, sizes, point]) => {
      const text = textOf(numbers)
      const at = 1 + (point % text.length)
      const sent = text.slice(0, at)
      assert.strictEqual(joined(sent, pieces(text.slice(sent.trimEnd().length), sizes)), text)
      assert.strictEqual(joined(sent, pieces(text, sizes)), text)
    }
  )
})
