/**
 * Chunks of a stream that differ from one before in nothing but their text: most of them do, and need no parser.
 *
 * @since 0.1.0
 */

/** Whether a text stands in JSON as it is: without quotes, escapes and control characters. */
const isPlain = (text: string): boolean => JSON.stringify(text).length === text.length + 2

/** Padding that OpenAI puts at the end of a chunk, of another length each time. */
const PADDING = ',"obfuscation":"'
const PADDED = /^[\w+/=-]*"\}$/

/** So many chunks in a row that are none of the kind, and no more is learned: this provider's differ in something else. */
const PATIENCE = 8

/**
 * Of one stream: told what a parser read, it knows the next of the kind by what stands before and after the text. Then the
 * rest of it is what the parser read before, whatever that was.
 *
 * @category models
 * @since 0.1.0
 */
export class RepeatedChunk {
  private readonly mark: string
  private before: string | null = null
  private after = ""
  private isPadded = false
  private misses = 0

  /** `field`: the name of the text in such a chunk. */
  constructor(field: string) {
    this.mark = `"${field}":`
  }

  /** The text of a chunk of the kind that was learned; null for any other. */
  textOf(data: string): string | null {
    if (this.before === null || !data.startsWith(this.before)) return null
    const end = this.isPadded ? paddingOf(data) : data.length
    if (end <= this.before.length + this.after.length || !data.endsWith(this.after, end)) return null
    const text = data.slice(this.before.length, end - this.after.length)
    if (!isPlain(text)) return null
    this.misses = 0
    return text
  }

  /** Learns from a chunk in which a parser found this text and nothing else of which anything has to be known. */
  learn(data: string, text: string): void {
    if (this.misses === PATIENCE) return
    this.misses++
    this.before = null
    const at = data.indexOf(this.mark)
    // Where there are two of that name, either may be the one.
    if (at === -1 || data.indexOf(this.mark, at + 1) !== -1) return
    const quote = at + this.mark.length + (data.startsWith(" ", at + this.mark.length) ? 1 : 0)
    if (!data.startsWith(`"${text}"`, quote) || !isPlain(text)) return
    const padding = paddingOf(data)
    this.isPadded = padding < data.length
    this.before = data.slice(0, quote + 1)
    this.after = data.slice(quote + 1 + text.length, padding)
  }
}

/** Where the padding begins; the end of the chunk where it has none. */
const paddingOf = (data: string): number => {
  const at = data.lastIndexOf(PADDING)
  return at !== -1 && PADDED.test(data.slice(at + PADDING.length)) ? at : data.length
}
